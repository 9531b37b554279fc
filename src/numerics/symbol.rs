//! Upper bound on the supremum of a convolution's symbol, and with it on the operator norm for every image size.
//!
//! The symbol is F(ω) = Σ K_ab e^{i(aω₁+bω₂)}, an outputs × inputs matrix. Its norm is the largest |u*F(ω)v| over unit
//! vectors: a trigonometric polynomial with kh × kw terms, whose maximum is at most 1/cos(π(k−1)/2N) an axis times that
//! over N equidistant frequencies (Ehlich and Zeller 1964). The values on the grid come from fast Fourier transforms.
//! Where a group has one input or one output, F(ω) is a vector and its norm a sum of squares. Otherwise σ₁ is bounded
//! by Schatten norms of growing order (Gram iteration; Delattre et al. 2023), and only at frequencies that may still
//! hold the maximum. Grids and orders are refined while the budget lasts; every intermediate result is a bound.

use super::conv::Kernel;
use super::{KeepGoing, Stopped, interrupt::check};
use faer::c64;
use fft::Fft;

mod fft;
mod schatten;

/// Grid points per tap and axis, refined step by step.
const DENSITIES: [usize; 6] = [2, 4, 8, 16, 32, 64];
/// Refinement stops when the bound is this close to the largest norm found on a grid.
const CLOSE: f64 = 5e-4;
/// Complex numbers that the values of one group on a grid may take.
const MOST: usize = 1 << 22;
/// Bytes that [`bound`] takes at most: the values, and as much again for their Gram matrices.
pub const WORKSPACE: u64 = 2 * 16 * MOST as u64;
/// Unit roundoff.
const U: f64 = f64::EPSILON / 2.0;

/// What a grid says of one group.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// No more than the supremum, but for rounding: says which groups need a finer grid, no part of the bound.
    low: f64,
    /// The supremum is not above this.
    high: f64,
}

/// A number that σ₁(F(ω)) exceeds at no frequency, rounding included; `None` where even the coarsest grid takes more than
/// `budget` multiplications. Bounds the operator for every image size, zero or circular padding,
/// stride and dilation, as long as circular padding repeats no output ([`super::conv::repeats`]).
pub fn bound(k: &Kernel, budget: f64, keep_going: KeepGoing<'_>) -> Result<Option<f64>, Stopped> {
    Ok(bracket(k, budget, keep_going)?.map(|b| b.1))
}

/// The same, preceded by a number that the supremum is not below but for rounding.
pub fn bracket(k: &Kernel, budget: f64, keep_going: KeepGoing<'_>) -> Result<Option<(f64, f64)>, Stopped> {
    let mut found = vec![Found { low: 0.0, high: f64::INFINITY }; k.groups];
    let mut left = budget;
    for density in DENSITIES {
        let grid = Grid::new(k, density);
        let low = found.iter().map(|f| f.low).fold(0.0, f64::max);
        let open: Vec<usize> = (0..k.groups).filter(|&g| found[g].high > low * (1.0 + CLOSE)).collect();
        let cost = open.len() as f64 * grid.cost(k);
        if open.is_empty() || cost > left || grid.count() * k.per_group() * k.inp > MOST {
            break;
        }
        left -= cost;
        for (done, &g) in open.iter().enumerate() {
            check(keep_going)?;
            let share = left / (open.len() - done) as f64;
            let (new, used) = grid.measure(k, g, share, keep_going)?;
            left -= used;
            found[g] = Found { low: found[g].low.max(new.low), high: found[g].high.min(new.high) };
        }
    }
    let most = |of: fn(&Found) -> f64| found.iter().map(of).fold(0.0, f64::max);
    let (low, high) = (most(|f| f.low), most(|f| f.high));
    Ok(high.is_finite().then_some((low, high)))
}

/// Equidistant frequencies along both axes; of each pair ω, −ω, whose norms are equal, one.
struct Grid {
    nh: usize,
    nw: usize,
    along_h: Fft,
    along_w: Fft,
}

impl Grid {
    fn new(k: &Kernel, density: usize) -> Self {
        let points = |taps: usize| if taps > 1 { (density * taps).next_power_of_two() } else { 1 };
        let (nh, nw) = (points(k.kh), points(k.kw));
        Self { nh, nw, along_h: Fft::new(nh), along_w: Fft::new(nw) }
    }
    /// Columns of the grid that are evaluated.
    fn columns(&self) -> usize {
        self.nw / 2 + 1
    }
    /// Frequencies that are evaluated.
    fn count(&self) -> usize {
        self.nh * self.columns()
    }
    /// Multiplications for the transforms of a group and its first Schatten norm.
    fn cost(&self, k: &Kernel) -> f64 {
        let (points, pairs) = ((self.nh * self.nw) as f64, (k.per_group() * k.inp) as f64);
        let small = k.per_group().min(k.inp) as f64;
        let products = if small > 1.0 { self.count() as f64 * pairs * small * 4.0 } else { 0.0 };
        points * pairs * (points.log2() + 4.0) + products
    }
    /// The supremum over all frequencies divided by the maximum over the grid is at most this.
    fn excess(&self, k: &Kernel) -> f64 {
        let axis = |taps: usize, n: usize| (std::f64::consts::PI * (taps - 1) as f64 / (2.0 * n as f64)).cos();
        1.0 / (axis(k.kh.max(1), self.nh) * axis(k.kw.max(1), self.nw))
    }

    /// Evaluates the transform of one kernel slice and calls `each(frequency, value)`.
    fn transform(&self, taps: &[f32], k: &Kernel, buffer: &mut Vec<c64>, mut each: impl FnMut(usize, c64)) {
        let (nh, nw) = (self.nh, self.nw);
        buffer.clear();
        buffer.resize(nh * nw, c64::new(0.0, 0.0));
        for (row, some) in taps.chunks_exact(k.kw).enumerate() {
            let line = &mut buffer[row * nw..(row + 1) * nw];
            line.iter_mut().zip(some).for_each(|(x, w)| *x = c64::new(f64::from(*w), 0.0));
            self.along_w.process(line);
        }
        let mut column = vec![c64::new(0.0, 0.0); nh];
        for q in 0..self.columns() {
            (0..nh).for_each(|p| column[p] = buffer[p * nw + q]);
            self.along_h.process(&mut column);
            column.iter().enumerate().for_each(|(p, x)| each(q * nh + p, *x));
        }
    }

    /// Bounds one group, using at most about `budget` multiplications beyond [`Self::cost`]; also what was used.
    fn measure(
        &self,
        k: &Kernel,
        group: usize,
        budget: f64,
        keep_going: KeepGoing<'_>,
    ) -> Result<(Found, f64), Stopped> {
        let (outs, ins, taps) = (k.per_group(), k.inp, k.kh * k.kw);
        let data = &k.data[group * outs * ins * taps..(group + 1) * outs * ins * taps];
        let mut buffer = Vec::new();
        // What rounding in the transforms can do to the norm of F.
        let energy: f64 = data.iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
        let depth = ((self.nh * self.nw) as f64).log2() + 4.0;
        let slack = 16.0 * U * depth * (taps as f64 * energy).sqrt();
        let wide = |top: f64, relative: f64| (top * (1.0 + relative) + slack) * self.excess(k) * (1.0 + 8.0 * U);
        if outs.min(ins) <= 1 {
            let mut squares = vec![0f64; self.count()];
            for (pair, slice) in data.chunks_exact(taps).enumerate() {
                if pair.is_multiple_of(16) {
                    check(keep_going)?;
                }
                self.transform(slice, k, &mut buffer, |f, x| squares[f] += x.norm_sqr());
            }
            let top = squares.into_iter().fold(0.0, f64::max).sqrt();
            let relative = 4.0 * U * (outs * ins + 4) as f64;
            return Ok((Found { low: top, high: wide(top, relative) }, 0.0));
        }
        let pairs = outs * ins;
        let mut values = vec![c64::new(0.0, 0.0); self.count() * pairs];
        for (pair, slice) in data.chunks_exact(taps).enumerate() {
            if pair.is_multiple_of(16) {
                check(keep_going)?;
            }
            self.transform(slice, k, &mut buffer, |f, x| values[f * pairs + pair] = x);
        }
        let (found, used) = schatten::largest(&values, outs, ins, budget, keep_going)?;
        let relative = 16.0 * U * (outs.max(ins) as f64 + 100.0).powi(2);
        Ok((Found { low: found.low, high: wide(found.high, relative) }, used))
    }
}

#[cfg(test)]
mod tests;
