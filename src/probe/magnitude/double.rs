//! Magnitudes of a tensor of doubles: sorted as they are, so that nothing is rounded to `f32`.

use super::{Magnitude, ProbeError, QUANTILES, RATIOS, around, between, pq};
use crate::model::Stored;
use crate::numerics::norms::Sums;
use crate::probe::Ask;
use crate::probe::bins;
use crate::treat::Treatment;

/// Entries between two questions whether to go on.
const ASK_EVERY: usize = 1 << 18;

/// Measures a tensor of doubles; `None` for other types.
pub(super) fn magnitude(entries: &Stored, ask: &Ask) -> Option<Result<Magnitude, ProbeError>> {
    let doubles = entries.doubles()?;
    Some(measured(entries, doubles, ask))
}

fn measured(
    entries: &Stored,
    doubles: impl Iterator<Item = (usize, usize, f64)>,
    ask: &Ask,
) -> Result<Magnitude, ProbeError> {
    let [rows, cols] = entries.shape();
    let mut sums = Sums { row_squares: vec![0.0; rows], ..Sums::new(cols) };
    let mut row_sums = vec![0f64; rows];
    let mut sorted = Vec::with_capacity(rows * cols);
    for (i, (r, c, w)) in doubles.enumerate() {
        if i % ASK_EVERY == 0 && !(ask.keep_going)() {
            return Err(ProbeError::Stopped);
        }
        let (size, square) = (w.abs(), w * w);
        row_sums[r] += size;
        sums.row_squares[r] += square;
        sums.abs[c] += size;
        sums.squares[c] += square;
        sorted.push(size);
    }
    sums.largest_row = row_sums.into_iter().fold(0.0, f64::max);
    sorted.sort_unstable_by(f64::total_cmp);
    if !(ask.keep_going)() {
        return Err(ProbeError::Stopped);
    }
    let mut out = Magnitude::default().with(sums);
    out.zeros = sorted.partition_point(|w| *w == 0.0) as u64;
    out.min_nonzero = sorted.get(out.zeros as usize).copied().unwrap_or(0.0);
    out.max = sorted.last().copied().unwrap_or(0.0);
    out.sum_roots = sorted.iter().map(|w| w.sqrt()).sum();
    out.pq_index = pq::index(out.sum_roots, out.sum_abs, out.entries);
    let energy = |ratio: f64| {
        let removed = Treatment::removed(ratio, out.entries) as usize;
        sorted[..removed.min(sorted.len())].iter().map(|w| w * w).sum::<f64>()
    };
    out.prune_error = RATIOS.iter().map(|&p| (p, out.relative(energy(p)))).collect();
    let nth = |k: u64| sorted.get(k as usize - 1).copied().unwrap_or(0.0);
    out.quantiles = QUANTILES.iter().map(|&q| (q, between(q, out.entries, around(q, out.entries).map(nth)))).collect();
    let mut counter = bins::Counter::new();
    sorted.chunks(1 << 12).for_each(|some| counter.add(&some.iter().map(|w| *w as f32).collect::<Vec<_>>()));
    // Entries that `f32` has no number for count as what they are elsewhere: zeros.
    out.bins = counter.finish(false);
    Ok(out)
}
