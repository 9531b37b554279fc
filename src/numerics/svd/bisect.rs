//! Values by bisection in `f64`, many at a time (Demmel, Dhillon and Ren 1995): the singular values of a bidiagonal, and
//! whatever else can be counted below a point.

use super::isa::{Isa, Kernel};
use super::real::Real;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use rayon::prelude::*;
use std::ops::Range;

/// Values that are bisected together.
pub const LANES: usize = 32;

/// Pivots are kept at least this large where [`inverse`] is used, in matrices of norm at most 1.
pub const PIVOT: f64 = 1e-30;

/// 1/d to 47 bits, for 1e-37 < |d| < 1e37: from a division in `f32` and one of Newton's steps, in half the time of a
/// division in `f64`. For values that are wanted to `f32`'s accuracy.
#[inline(always)]
pub fn inverse<const FMA: bool>(d: f64) -> f64 {
    let rough = f64::from(1.0 / d as f32);
    let left = if FMA { (-d).mul_add(rough, 2.0) } else { 2.0 - d * rough };
    rough * left
}

/// Values that can be counted.
pub trait Counted: Sync {
    /// No value lies outside.
    fn bounds(&self) -> (f64, f64);
    /// For each of the points, the number of values below it.
    fn below(&self, points: &[f64; LANES]) -> [u32; LANES];
}

/// The values numbered `wanted` from the smallest, ascending, to within `tolerance`. With `parallel`, over the threads of the
/// current pool.
pub fn ascending(
    of: &impl Counted,
    wanted: Range<usize>,
    tolerance: f64,
    parallel: bool,
    keep_going: KeepGoing<'_>,
) -> Result<Vec<f64>, Stopped> {
    let (mut low, mut high) = start(of, wanted.clone(), parallel);
    check(keep_going)?;
    let refine = |(i, (low, high)): (usize, (&mut [f64], &mut [f64]))| -> Result<(), Stopped> {
        check(keep_going)?;
        bisect(of, wanted.start + i * LANES, (low, high), tolerance);
        Ok(())
    };
    if parallel {
        low.par_chunks_mut(LANES).zip(high.par_chunks_mut(LANES)).enumerate().try_for_each(refine)?;
    } else {
        low.chunks_mut(LANES).zip(high.chunks_mut(LANES)).enumerate().try_for_each(refine)?;
    }
    Ok(low.iter().zip(&high).map(|(l, h)| f64::midpoint(*l, *h)).collect())
}

/// Brackets from a grid: counting at as many points as values places every value between two of them.
fn start(of: &impl Counted, wanted: Range<usize>, parallel: bool) -> (Vec<f64>, Vec<f64>) {
    let (bottom, top) = of.bounds();
    let points = wanted.len().next_multiple_of(LANES);
    let grid: Vec<f64> = (0..points).map(|i| bottom + (top - bottom) * (i + 1) as f64 / points as f64).collect();
    let (chunks, _) = grid.as_chunks::<LANES>();
    let counts: Vec<u32> = if parallel {
        chunks.par_iter().flat_map_iter(|x| of.below(x)).collect()
    } else {
        chunks.iter().flat_map(|x| of.below(x)).collect()
    };
    let place = |i: usize| counts.partition_point(|&c| c <= i as u32);
    let low = wanted.clone().map(|i| place(i).checked_sub(1).map_or(bottom, |p| grid[p])).collect();
    let high = wanted.map(|i| grid.get(place(i)).copied().unwrap_or(top)).collect();
    (low, high)
}

/// Halves the brackets of neighbouring values until they are narrow; `first` is the number (from 0, ascending) of the
/// first.
fn bisect(of: &impl Counted, first: usize, (low, high): (&mut [f64], &mut [f64]), tolerance: f64) {
    let mut x = [0f64; LANES];
    loop {
        let mut widest = 0f64;
        for (k, (l, h)) in low.iter().zip(high.iter()).enumerate() {
            x[k] = f64::midpoint(*l, *h);
            widest = widest.max(h - l);
        }
        if widest <= tolerance {
            return;
        }
        let counts = of.below(&x);
        for (k, (l, h)) in low.iter_mut().zip(high.iter_mut()).enumerate() {
            if counts[k] > (first + k) as u32 {
                *h = x[k];
            } else {
                *l = x[k];
            }
        }
    }
}

/// B = bidiagonal with diagonal `q^½` and superdiagonal `e^½`, by a power of two so that no value is above 1.
struct Bidiagonal {
    q: Vec<f64>,
    e: Vec<f64>,
    top: f64,
    scale: f64,
    isa: Isa,
    /// Whether `f32`'s accuracy will do.
    coarse: bool,
}

impl Counted for Bidiagonal {
    fn bounds(&self) -> (f64, f64) {
        (0.0, self.top)
    }

    fn below(&self, x: &[f64; LANES]) -> [u32; LANES] {
        if self.coarse {
            self.isa.run(Count::<true> { b: self, x })
        } else {
            self.isa.run(Count::<false> { b: self, x })
        }
    }
}

/// Counts, for each of the points x, the singular values below it: the negative pivots of BᵀB − x²I in the
/// differential stationary form, which keeps small values accurate.
struct Count<'a, const COARSE: bool> {
    b: &'a Bidiagonal,
    x: &'a [f64; LANES],
}

impl<const COARSE: bool> Kernel for Count<'_, COARSE> {
    type Output = [u32; LANES];
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [u32; LANES] {
        let mut shift = [0f64; LANES];
        let mut t = [0f64; LANES];
        let mut count = [0f64; LANES];
        for k in 0..LANES {
            shift[k] = self.x[k] * self.x[k];
            t[k] = -shift[k];
        }
        for (&q, &e) in self.b.q.iter().zip(&self.b.e) {
            for k in 0..LANES {
                let d = q + t[k];
                let least = if COARSE { PIVOT } else { 1e-300 };
                let d = if d.abs() < least { -least } else { d };
                count[k] += if d < 0.0 { 1.0 } else { 0.0 };
                let ratio = if COARSE { e * inverse::<FMA>(d) } else { e / d };
                t[k] = if FMA { t[k].mul_add(ratio, -shift[k]) } else { t[k] * ratio - shift[k] };
            }
        }
        count.map(|c| c as u32)
    }
}

/// All singular values of a bidiagonal, descending. With `parallel`, over the threads of the current pool.
pub fn values<T: Real>(
    diagonal: &[T],
    above: &[T],
    isa: Isa,
    parallel: bool,
    keep_going: KeepGoing<'_>,
) -> Result<Vec<f64>, Stopped> {
    let n = diagonal.len();
    let b = bidiagonal(diagonal, above, isa);
    if n == 0 || b.top == 0.0 {
        return Ok(vec![0.0; n]);
    }
    let mut sigma = ascending(&b, 0..n, b.top * T::BISECTION, parallel, keep_going)?;
    // Counts of values that are equal up to rounding need not be in order.
    sigma.sort_unstable_by(|a, b| b.total_cmp(a));
    sigma.iter_mut().for_each(|s| *s /= b.scale);
    Ok(sigma)
}

fn bidiagonal<T: Real>(diagonal: &[T], above: &[T], isa: Isa) -> Bidiagonal {
    // ‖B‖₂ ≤ √(‖B‖₁‖B‖∞) ≤ the largest |d| + |e| of neighbours.
    let side = |i: usize| above.get(i).map_or(0.0, |x| x.wide().abs());
    let reach = |(i, d): (usize, &T)| d.wide().abs() + side(i).max(if i > 0 { side(i - 1) } else { 0.0 });
    let top = diagonal.iter().enumerate().map(reach).fold(0.0, f64::max) * (1.0 + 1e-6);
    let scale = if top > 0.0 { 2f64.powf(-top.log2().ceil()) } else { 1.0 };
    let square = |x: &T| (x.wide() * scale).powi(2);
    let mut e: Vec<f64> = above.iter().map(square).collect();
    e.push(0.0);
    let q = diagonal.iter().map(square).collect();
    Bidiagonal { q, e, top: top * scale, scale, isa, coarse: T::COARSE }
}
