//! What pruning makes of a spectrum, before the exact run: while the ratio moves, from the entries as they are stored,
//! those below the threshold left out on the way, started from what the last ratio gave. Patterns are applied to a copy.

use super::prune::prune;
use crate::known::Known;
use crate::model::{Layer, Matrix, Stored};
use crate::numerics::density::{density, largest};
use crate::numerics::gram::{Held, Sparse};
use crate::numerics::subspace::{Subspace, WIDTH};
use crate::numerics::{KeepGoing, Stopped};
use crate::probe::Spectrum;
use crate::probe::sketch::sparse;
use crate::treat::{Criterion, Pattern, Treatment};
use std::sync::Arc;

/// An estimate of the pruned spectrum, better and better.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The treatment it is of.
    pub treatment: Treatment,
    /// ‖Ŵ‖₂.
    pub norm: Known,
    /// The sketched spectrum, its first values replaced by better ones where these are known.
    pub spectrum: Option<Spectrum>,
    /// How many of the first values come from a subspace and are good to about a percent.
    pub sharp: usize,
}

/// What one ratio leaves for the next: where the largest singular vectors were.
#[derive(Debug, Default)]
pub struct Warm {
    vector: Vec<f32>,
    subspace: Option<Subspace>,
}

/// Previews a pruning; of single entries those of magnitude up to `threshold` are removed. First the norm, then the density of the
/// spectrum, then its first values. `tell` gets each as it comes; `wanted` is asked between the rungs and within the
/// later ones, so that the norm at least is told of every ratio begun.
pub fn preview(
    layer: &Layer,
    entries: &Stored,
    (treatment, threshold): (Treatment, f32),
    warm: &mut Warm,
    (keep_going, wanted): (KeepGoing<'_>, KeepGoing<'_>),
    tell: &dyn Fn(Arc<Preview>),
) -> Result<(), Stopped> {
    let pruned = pattern_applied(layer, entries, treatment, keep_going)?;
    let matrix = match &pruned {
        Some(pruned) => Sparse::new(Held::F32(&pruned.data), pruned.rows, pruned.cols),
        None => sparse(entries, threshold),
    };
    let (norm, vector) = largest(&matrix, &warm.vector, keep_going)?;
    warm.vector = vector;
    let mut found = Preview { treatment, norm: Known::estimate(norm), spectrum: None, sharp: 0 };
    tell(Arc::new(found.clone()));
    let going = || keep_going() && wanted();
    let mut sketched = density(&matrix, &going)?;
    sketched.largest = sketched.largest.max(norm);
    let curve = sketched.values();
    let make = |curve| Spectrum::estimated(curve, layer.rows(), layer.cols(), layer.dtype.epsilon());
    found.spectrum = Some(make(curve.clone()));
    tell(Arc::new(found.clone()));
    if layer.full_rank() <= 4 * WIDTH {
        // The exact values come sooner.
        return Ok(());
    }
    let mut block = |from: usize, out: &mut [f32]| {
        if let Some(pruned) = &pruned {
            out.copy_from_slice(&pruned.data[from * pruned.cols..][..out.len()]);
            return;
        }
        entries.rows_into(from, out);
        out.iter_mut().for_each(|w| *w = if w.abs() > threshold { *w } else { 0.0 });
    };
    let subspace = warm.subspace.get_or_insert_with(|| Subspace::new(layer.cols()));
    let first = subspace.values(layer.rows(), &mut block, &going)?;
    let mut curve = curve;
    found.sharp = sharpen(&mut curve.sigma, &first);
    found.spectrum = Some(make(curve));
    tell(Arc::new(found));
    Ok(())
}

/// The matrix pruned in a pattern; `None` for single entries, which need no copy.
fn pattern_applied(
    layer: &Layer,
    entries: &Stored,
    treatment: Treatment,
    keep_going: KeepGoing<'_>,
) -> Result<Option<Matrix>, Stopped> {
    let Some(how) =
        treatment.prune.filter(|p| p.pattern != Pattern::Unstructured || p.criterion != Criterion::Magnitude)
    else {
        return Ok(None);
    };
    let [rows, cols] = entries.shape();
    let mut data = vec![0f32; rows * cols];
    entries.rows_into(0, &mut data);
    let mut matrix = Matrix { rows, cols, data };
    // What cannot be done is told by the exact run.
    prune(&mut matrix, layer, how, keep_going).map_err(|_| Stopped)?;
    Ok(Some(matrix))
}

/// Puts the first values of a subspace, which are never too large, in the place of a sketch's; those that lie deeper in
/// the bulk only where the sketch is lower. How many may have been replaced.
fn sharpen(sigma: &mut [f64], first: &[f64]) -> usize {
    // The last values of a subspace are the least known: half of them are used, half of these without question.
    let first = &first[..first.len() / 2];
    let mut above = f64::INFINITY;
    for (i, s) in sigma.iter_mut().enumerate() {
        let found = first.get(i).copied().unwrap_or(0.0);
        *s = if 2 * i < first.len() { found } else { s.max(found).min(above) };
        above = *s;
    }
    first.len()
}

#[cfg(test)]
mod tests;
