//! The largest σ₁ of many complex matrices, from above: Schatten norms of order 2, 4, 8, …, refined where the maximum
//! may be.

use super::Found;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, c64};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Squarings after which an order suffices: S_2048 exceeds σ₁ by a factor of n^(1/2048) at most.
const LAST: i32 = 10;

/// One matrix: its norm of order 2^(level + 1), and the Gram matrix that it comes from.
struct Candidate {
    bound: f64,
    level: i32,
    which: usize,
    /// `power`·2^`exponent` = (A*A)^(2^(level − 1)); none at level 0.
    power: Option<Mat<c64>>,
    exponent: f64,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Candidate {}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.total_cmp(&other.bound)
    }
}

/// Bounds σ₁ of matrices `outs × ins` that lie one after the other, row by row; also the multiplications used, of which the
/// first norm of order 4 of each is free. Rounding is left to the caller.
pub fn largest(
    values: &[c64],
    outs: usize,
    ins: usize,
    budget: f64,
    keep_going: KeepGoing<'_>,
) -> Result<(Found, f64), Stopped> {
    let small = outs.min(ins);
    let squaring = 4.0 * (small as f64).powi(3);
    let mut heap: BinaryHeap<Candidate> = values
        .chunks_exact(outs * ins)
        .enumerate()
        .map(|(which, a)| {
            let bound = a.iter().map(c64::norm_sqr).sum::<f64>().sqrt();
            Candidate { bound, level: 0, which, power: None, exponent: 0.0 }
        })
        .collect();
    let mut used = 0.0;
    while let Some(top) = heap.pop() {
        check(keep_going)?;
        let last = top.level >= LAST || top.bound == 0.0;
        if last || (top.level > 0 && used + squaring > budget) {
            // σ₁ is at least the norm divided by n^(1/order).
            let low = top.bound / (small as f64).powf(0.5f64.powi(top.level + 1));
            return Ok((Found { low, high: top.bound }, used));
        }
        if top.level > 0 {
            used += squaring;
        }
        let a = &values[top.which * outs * ins..(top.which + 1) * outs * ins];
        heap.push(refined(top, MatRef::from_row_major_slice(a, outs, ins)));
    }
    Ok((Found { low: 0.0, high: 0.0 }, used))
}

/// The next norm: (A*A)^(2^level) from the one before, scaled by a power of two.
fn refined(of: Candidate, a: MatRef<'_, c64>) -> Candidate {
    let n = a.nrows().min(a.ncols());
    let mut next = Mat::<c64>::zeros(n, n);
    let one = c64::new(1.0, 0.0);
    match &of.power {
        Some(power) => matmul(next.as_mut(), Accum::Replace, power.as_ref(), power.as_ref(), one, Par::Seq),
        None if a.ncols() <= a.nrows() => matmul(next.as_mut(), Accum::Replace, a.adjoint(), a, one, Par::Seq),
        None => matmul(next.as_mut(), Accum::Replace, a, a.adjoint(), one, Par::Seq),
    }
    let norm = next.norm_l2();
    if norm == 0.0 || !norm.is_finite() {
        return Candidate { level: LAST, ..of };
    }
    let shift = norm.log2().floor();
    let scale = 2f64.powf(-shift);
    for j in 0..n {
        next.col_as_slice_mut(j).iter_mut().for_each(|x| *x *= scale);
    }
    let exponent = 2.0 * of.exponent + shift;
    let level = of.level + 1;
    let bound = (((norm * scale).log2() + exponent) * 0.5f64.powi(level)).exp2();
    // A norm of higher order is not larger; rounding might say otherwise.
    Candidate { bound: bound.min(of.bound), level, which: of.which, power: Some(next), exponent }
}
