//! One pass over the entries of a matrix: a few rows at a time, in stripes of rows on the threads of a job.

use super::{Ask, ProbeError};
use crate::model::Stored;
use rayon::prelude::*;
use std::ops::Range;

/// Entries taken in together: decoded, they stay in the nearest caches while several kernels go over them.
const BLOCK: usize = 1 << 13;
/// Entries between two questions whether to go on.
const ASK_EVERY: usize = 1 << 18;
/// Height of the tallest tile: no tile lies in two stripes.
const ALIGN: usize = 32;
/// Fewer entries are not worth a second thread.
const ALONE: usize = 1 << 15;

/// Divides `0..count` into at most one range a thread, each but the last a multiple of `align` long.
pub fn divide(count: usize, align: usize, threads: usize) -> Vec<Range<usize>> {
    let each = count.div_ceil(threads.max(1)).next_multiple_of(align.max(1)).max(1);
    (0..count).step_by(each).map(|from| from..(from + each).min(count)).collect()
}

/// Runs `work` on each range, side by side where there are several; results in the order of the ranges.
pub fn side_by_side<T: Send>(
    ranges: Vec<Range<usize>>,
    work: impl Fn(Range<usize>) -> Result<T, ProbeError> + Sync,
) -> Result<Vec<T>, ProbeError> {
    if ranges.len() < 2 {
        return ranges.into_iter().map(&work).collect();
    }
    ranges.into_par_iter().map(&work).collect()
}

/// Takes all rows in, in stripes: each begins with `new(rows of the stripe)`, and `take(state, first row, entries)` gets
/// whole rows in order. Returns the states in the order of their rows; at least one.
pub fn pass<T: Send>(
    entries: &Stored,
    ask: &Ask,
    new: impl Fn(Range<usize>) -> T + Sync,
    take: impl Fn(&mut T, usize, &[f32]) + Sync,
) -> Result<Vec<T>, ProbeError> {
    let [rows, cols] = entries.shape();
    let threads = if rows * cols < ALONE { 1 } else { ask.threads };
    let mut ranges = divide(rows, ALIGN, threads);
    if ranges.is_empty() {
        ranges.push(0..0);
    }
    let together = (BLOCK / cols.max(1)).max(1);
    let every = (ASK_EVERY / (together * cols).max(1)).max(1);
    side_by_side(ranges, |range| {
        let (mut state, mut buffer) = (new(range.clone()), Vec::new());
        for (i, from) in range.clone().step_by(together).enumerate() {
            if i.is_multiple_of(every) && !(ask.keep_going)() {
                return Err(ProbeError::Stopped);
            }
            let count = together.min(range.end - from);
            take(&mut state, from, entries.rows(from, count, &mut buffer));
        }
        Ok(state)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matrix;

    #[test]
    fn every_row_comes_once_and_in_order_on_any_number_of_threads() {
        let (rows, cols) = (1000, 77);
        let matrix = Matrix::new(rows, cols, (0..rows * cols).map(|i| i as f32).collect()).unwrap();
        let entries = Stored::from(matrix.clone());
        for threads in [1, 2, 3, 64] {
            let ask = Ask { keep_going: &|| true, threads };
            let seen = pass(
                &entries,
                &ask,
                |_| Vec::new(),
                |state: &mut Vec<f32>, from, some| {
                    assert_eq!(some[0], (from * cols) as f32);
                    state.extend(some);
                },
            );
            assert!(seen.unwrap().concat() == matrix.data, "{threads}");
        }
        let stopped = Ask { keep_going: &|| false, threads: 2 };
        assert_eq!(pass(&entries, &stopped, |_| (), |(), _, _| ()), Err(ProbeError::Stopped));
        assert_eq!(divide(100, 32, 3), [0..64, 64..100]);
        assert!(divide(0, 32, 3).is_empty());
    }
}
