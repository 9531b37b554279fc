//! One layer as it runs: its matrix, or the parts of a treated one.

use crate::model::Matrix;
use crate::treat::Parts;
use candle_core::{Device, Result, Tensor};

/// What a layer multiplies with.
#[derive(Debug, Clone)]
enum Form {
    /// `out_features` × `in_features`.
    Dense(Tensor),
    /// Up (outputs × r), down (r × inputs), and what is added to their product.
    Factors { up: Tensor, down: Tensor, entries: Option<Tensor> },
}

/// A layer that multiplies.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name, for errors.
    pub name: String,
    /// Added to its output.
    pub bias: Option<Tensor>,
    original: Tensor,
    form: Form,
}

impl Site {
    /// A dense layer.
    pub fn new(name: String, weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { name, bias, form: Form::Dense(weight.clone()), original: weight }
    }

    /// `out_features`.
    pub fn rows(&self) -> usize {
        self.original.dims().first().copied().unwrap_or(0)
    }

    /// Runs as these parts from now on; says what does not fit.
    pub fn swap(&mut self, parts: &Parts) -> std::result::Result<Result<()>, String> {
        let (rows, columns) = self.original.dims2().unwrap_or_default();
        let fits = |m: &Matrix, r: usize, c: usize| m.rows == r && m.cols == c && m.data.len() == r * c;
        let entries = parts.entries.as_ref().is_none_or(|e| fits(e, rows, columns));
        let factors =
            parts.factors.as_ref().is_none_or(|[up, down]| fits(up, rows, up.cols) && fits(down, up.cols, columns));
        if !entries || !factors || (parts.entries.is_none() && parts.factors.is_none()) {
            return Err(format!("{}: parts that do not form a {rows} × {columns} matrix", self.name));
        }
        Ok(self.place(parts))
    }

    fn place(&mut self, parts: &Parts) -> Result<()> {
        let device = self.original.device();
        let entries = parts.entries.as_ref().map(|e| tensor(e, device)).transpose()?;
        self.form = match (&parts.factors, entries) {
            // A rank of 0 leaves nothing to multiply with.
            (Some([up, down]), entries) if up.cols > 0 => {
                Form::Factors { up: tensor(up, device)?, down: tensor(down, device)?, entries }
            }
            (_, Some(entries)) => Form::Dense(entries),
            (_, None) => Form::Dense(self.original.zeros_like()?),
        };
        Ok(())
    }

    /// What it multiplies with.
    pub fn parts(&self) -> Vec<&Tensor> {
        match &self.form {
            Form::Dense(weight) => vec![weight],
            Form::Factors { up, down, entries } => [up, down].into_iter().chain(entries).collect(),
        }
    }

    /// Runs as it is stored again.
    pub fn restore(&mut self) {
        self.form = Form::Dense(self.original.clone());
    }

    /// y = W x for each row x, rows × `in_features` to rows × `out_features`, without the bias. With `part` only those
    /// outputs: the first of them, and how many.
    pub fn product(&self, x: &Tensor, part: Option<(usize, usize)>) -> Result<Tensor> {
        let of = |w: &Tensor| match part {
            Some((first, count)) => w.narrow(0, first, count),
            None => Ok(w.clone()),
        };
        match &self.form {
            Form::Dense(w) => x.matmul(&of(w)?.t()?),
            Form::Factors { up, down, entries } => {
                let y = x.matmul(&down.t()?)?.matmul(&of(up)?.t()?)?;
                match entries {
                    Some(e) => y + x.matmul(&of(e)?.t()?)?,
                    None => Ok(y),
                }
            }
        }
    }
}

/// A matrix as a tensor.
pub fn tensor(matrix: &Matrix, device: &Device) -> Result<Tensor> {
    Tensor::from_slice(&matrix.data, (matrix.rows, matrix.cols), device)
}
