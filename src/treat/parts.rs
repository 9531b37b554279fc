//! A treated layer as it would run: two factors, single entries, or both.

use super::{Factors, Prune, Treatment, low_rank, prune, quantise};
use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::probe::ProbeError;

/// What the treated layer computes: y = (up·down + entries)·x, what is missing left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// `[up, down]`, outputs × r and r × inputs.
    pub factors: Option<[Matrix; 2]>,
    /// Outputs × inputs: the whole matrix, or what pruning left beside the factors.
    pub entries: Option<Matrix>,
}

impl Parts {
    /// Ŵ: the parts as one matrix of `rows` × `cols`.
    pub fn multiplied(&self, rows: usize, cols: usize) -> Matrix {
        let product = self.factors.as_ref().map(|[up, down]| up.view().dot(&down.view()).into_raw_vec_and_offset().0);
        let data = match (product, &self.entries) {
            (Some(mut product), Some(entries)) => {
                product.iter_mut().zip(&entries.data).for_each(|(p, e)| *p += e);
                product
            }
            (Some(product), None) => product,
            (None, Some(entries)) => entries.data.clone(),
            (None, None) => vec![0.0; rows * cols],
        };
        Matrix { rows, cols, data }
    }
}

/// Treats the matrix and keeps factors apart. Spatial-wise factors are two convolutions, not two products: they are
/// multiplied out.
pub fn parts(
    layer: &Layer,
    matrix: &Matrix,
    treatment: Treatment,
    keep_going: KeepGoing<'_>,
) -> Result<Parts, ProbeError> {
    let rank = match treatment.rank {
        Some(rank) if treatment.form != Factors::Spatial && rank > 0 => rank,
        _ => {
            let entries = super::treated(layer, matrix, treatment, keep_going)?;
            return Ok(Parts { factors: None, entries: Some(entries) });
        }
    };
    let pair = low_rank::pair(layer, matrix, treatment.form, rank, treatment.quantise, keep_going)?;
    let entries = match treatment.prune {
        None => None,
        Some(how) => {
            let mut rest = beside(layer, matrix, &pair, how, keep_going)?;
            if let Some(how) = treatment.quantise {
                quantise::quantise(&mut rest, how, keep_going)?;
            }
            Some(rest)
        }
    };
    Ok(Parts { factors: Some(pair), entries })
}

/// What pruning leaves of what two factors leave.
pub fn beside(
    layer: &Layer,
    matrix: &Matrix,
    [up, down]: &[Matrix; 2],
    how: Prune,
    keep_going: KeepGoing<'_>,
) -> Result<Matrix, ProbeError> {
    let base = low_rank::multiplied(up, down);
    let mut rest = matrix.clone();
    rest.data.iter_mut().zip(&base.data).for_each(|(w, b)| *w -= b);
    prune::remove(&mut rest, layer, how, keep_going)?;
    Ok(rest)
}
