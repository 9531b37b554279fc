//! What a layer hears: means and second moments of its input, summed up as tokens go by.

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, MatMut, MatRef, Par};

/// Rows that are widened to `f64` and multiplied together: a few megabytes for the widest layers.
const BLOCK: usize = 256;

/// A value that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("column {column} holds a value that is not finite")]
pub struct NotFinite {
    /// Where, as far as it is known: the first column with such a value.
    pub column: usize,
}

/// Moments of rows x of `columns` numbers: E\[x xᵀ\] or only its diagonal, E\[x\], E|x|.
///
/// Products and sums are in `f64` throughout: after T rows the error of an entry is at most about T·1.1e-16 of E|xᵢxⱼ|,
/// so that the Gram matrix stays positive semidefinite to some 1e-13 of its trace, which products in `f32` would not
/// keep. Of the symmetric matrix only the lower half is computed.
#[derive(Debug, Clone)]
pub struct Moments {
    columns: usize,
    rows: u64,
    /// Sums of x xᵀ, column after column, of which only the lower half counts; empty for the diagonal alone.
    gram: Vec<f64>,
    /// Sums of x², kept apart where there is no Gram matrix.
    squares: Vec<f64>,
    sum: Vec<f64>,
    abs: Vec<f64>,
    /// Rows being multiplied.
    block: Vec<f64>,
}

impl Moments {
    /// Of inputs of so many columns; with more than `limit` only the diagonal of E\[x xᵀ\] is kept. The Gram matrix
    /// takes 8·columns² bytes.
    pub fn new(columns: usize, limit: usize) -> Self {
        let whole = columns <= limit;
        Self {
            columns,
            rows: 0,
            gram: vec![0.0; if whole { columns * columns } else { 0 }],
            squares: vec![0.0; if whole { 0 } else { columns }],
            sum: vec![0.0; columns],
            abs: vec![0.0; columns],
            block: Vec::new(),
        }
    }

    /// Adds rows that lie one after another.
    pub fn add(&mut self, rows: &[f32]) -> Result<(), NotFinite> {
        let columns = self.columns.max(1);
        for block in rows.chunks(BLOCK * columns) {
            for row in block.chunks_exact(columns) {
                for ((sum, abs), &x) in self.sum.iter_mut().zip(&mut self.abs).zip(row) {
                    *sum += f64::from(x);
                    *abs += f64::from(x).abs();
                }
                for (square, &x) in self.squares.iter_mut().zip(row) {
                    *square += f64::from(x) * f64::from(x);
                }
            }
            // Sums of finite f32 stay finite in f64: what is not was not.
            if let Some(column) = self.abs.iter().position(|a| !a.is_finite()) {
                return Err(NotFinite { column });
            }
            self.multiply(block);
        }
        self.rows += (rows.len() / columns) as u64;
        Ok(())
    }

    /// Adds sums over so many rows that were made elsewhere: products as rows or columns of a symmetric matrix, or
    /// squares where only the diagonal is kept.
    pub(super) fn add_sums(&mut self, rows: u64, products: &[f64], sum: &[f64], abs: &[f64]) {
        let add = |to: &mut Vec<f64>, from: &[f64]| to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(if self.gram.is_empty() { &mut self.squares } else { &mut self.gram }, products);
        add(&mut self.sum, sum);
        add(&mut self.abs, abs);
        self.rows += rows;
    }

    /// Adds the products of a block's rows to the lower half.
    fn multiply(&mut self, block: &[f32]) {
        let n = self.columns;
        if self.gram.is_empty() {
            return;
        }
        self.block.clear();
        self.block.extend(block.iter().map(|&x| f64::from(x)));
        let x = MatRef::from_column_major_slice(&self.block, n, block.len() / n);
        let into = MatMut::from_column_major_slice_mut(&mut self.gram, n, n);
        let (whole, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
        matmul(into, lower, Accum::Add, x, whole, x.transpose(), whole, 1.0, Par::rayon(0));
    }

    /// Columns of the input.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows added: tokens, or positions of a convolution.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether there is more than the diagonal.
    pub fn has_gram(&self) -> bool {
        !self.gram.is_empty()
    }

    /// A row of E\[x xᵀ\]; empty where there is only the diagonal, or no such row.
    pub fn gram_row(&self, row: usize) -> Vec<f64> {
        if !self.has_gram() || row >= self.columns {
            return Vec::new();
        }
        let n = self.columns;
        let at = |column: usize| self.gram[row.min(column) * n + row.max(column)];
        (0..n).map(|column| self.share(at(column))).collect()
    }

    /// E\[x²\].
    pub fn diagonal(&self) -> Vec<f64> {
        let (sums, step) = if self.has_gram() { (&self.gram, self.columns + 1) } else { (&self.squares, 1) };
        sums.iter().step_by(step).map(|&s| self.share(s)).collect()
    }

    /// E\[x\].
    pub fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|&s| self.share(s)).collect()
    }

    /// E|x|.
    pub fn abs_mean(&self) -> Vec<f64> {
        self.abs.iter().map(|&s| self.share(s)).collect()
    }

    /// A sum over all rows as a mean; 0 before the first.
    fn share(&self, sum: f64) -> f64 {
        sum / self.rows.max(1) as f64
    }
}

#[cfg(test)]
mod tests;
