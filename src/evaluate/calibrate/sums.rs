//! Moments summed up on a GPU: what a layer hears stays there, and only the sums come back.

use crate::evaluate::device;
use crate::evaluate::moments::{Moments, NotFinite};
use candle_core::{DType, Device, Result, Tensor};

/// Sums over rows, all in `f64`, as [`Moments`] keeps them.
pub struct Sums {
    /// Σ x xᵀ, or Σ x² where only the diagonal is kept.
    products: Tensor,
    plain: Tensor,
    abs: Tensor,
    rows: u64,
}

impl Sums {
    /// Nothing summed up yet. `None` on a CPU, where [`Moments`] sums up itself, and where the sums would leave less
    /// than a quarter of the GPU's memory for running the model.
    pub fn new(moments: &Moments, device: &Device) -> Option<Self> {
        let [free, all] = device::memory(device)?;
        let columns = moments.columns();
        let whole = moments.has_gram();
        let bytes = 8 * columns * if whole { columns } else { 1 };
        if bytes + all / 4 > free {
            return None;
        }
        let zeros = |rows: usize| Tensor::zeros((rows, columns), DType::F64, device).ok();
        let products = zeros(if whole { columns } else { 1 })?;
        Some(Self { products, plain: zeros(1)?, abs: zeros(1)?, rows: 0 })
    }

    /// Adds rows; the first column with a value that is not finite, if there is one.
    pub fn add(&mut self, x: &Tensor) -> Result<Option<NotFinite>> {
        let x = x.to_dtype(DType::F64)?;
        self.plain = (&self.plain + x.sum_keepdim(0)?)?;
        self.abs = (&self.abs + x.abs()?.sum_keepdim(0)?)?;
        let products = if self.products.dim(0)? == 1 { x.sqr()?.sum_keepdim(0)? } else { x.t()?.matmul(&x)? };
        self.products = (&self.products + products)?;
        self.rows += x.dim(0)? as u64;
        let abs = self.abs.flatten_all()?.to_vec1::<f64>()?;
        Ok(abs.iter().position(|a| !a.is_finite()).map(|column| NotFinite { column }))
    }

    /// Adds all of it to moments of as many columns.
    pub fn into(self, moments: &mut Moments) -> Result<()> {
        let numbers = |t: Tensor| t.flatten_all()?.to_vec1::<f64>();
        moments.add_sums(self.rows, &numbers(self.products)?, &numbers(self.plain)?, &numbers(self.abs)?);
        Ok(())
    }
}
