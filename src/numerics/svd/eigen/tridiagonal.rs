//! Leading eigenvalues and eigenvectors of a symmetric tridiagonal matrix, in `f64`.

use super::super::bisect::{Counted, LANES, PIVOT, ascending, inverse};
use super::super::isa::{Isa, Kernel};
use super::super::real::Real;
use crate::numerics::detach::detached;
use crate::numerics::{KeepGoing, Stopped};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, Par, Side};
use std::ops::Range;

/// Entries of a vector that count as zero: products with them would be subnormal in `f32`, many times slower.
const VANISHED: f64 = 1e-25;
/// Smallest part of a vector, of length 1, outside the span of those before it: below that, too little of it is its own.
const OWN: f64 = 1e-2;
/// Vectors that are computed together.
const TOGETHER: usize = 16;

/// A symmetric tridiagonal matrix.
pub struct Tridiagonal {
    /// By a power of two, so that the norm is at most 1.
    diagonal: Vec<f64>,
    beside: Vec<f64>,
    scale: f64,
    /// To within so many parts of the norm values are found.
    tolerance: f64,
    /// Whether `f32`'s accuracy will do.
    coarse: bool,
    isa: Isa,
}

impl Tridiagonal {
    /// With the n entries of its diagonal and the n − 1 beside it, which were computed in `T`; `None` where one is not finite.
    pub fn new<T: Real>(mut diagonal: Vec<f64>, mut beside: Vec<f64>, isa: Isa) -> Option<Self> {
        let at = |i: usize| beside.get(i).map_or(0.0, |x| x.abs());
        // No eigenvalue is larger (Gershgorin).
        let reach = |(i, d): (usize, &f64)| d.abs() + at(i) + if i > 0 { at(i - 1) } else { 0.0 };
        let norm =
            diagonal.iter().enumerate().map(reach).fold(0.0, |most, r| if r > most || r.is_nan() { r } else { most });
        if !norm.is_finite() {
            return None;
        }
        let scale = if norm > 0.0 { 2f64.powf(-norm.log2().ceil()) } else { 1.0 };
        diagonal.iter_mut().chain(&mut beside).for_each(|x| *x *= scale);
        Some(Self { diagonal, beside, scale, tolerance: if T::COARSE { 1e-11 } else { 4e-15 }, coarse: T::COARSE, isa })
    }

    /// The eigenvalues numbered `wanted` from the smallest, ascending.
    pub fn values(&self, wanted: Range<usize>, keep_going: KeepGoing<'_>) -> Result<Vec<f64>, Stopped> {
        let found = ascending(self, wanted, self.tolerance, false, keep_going)?;
        Ok(found.into_iter().map(|x| x / self.scale).collect())
    }

    /// The eigenvectors of the eigenvalues `of`, orthonormal; `None` where some lie so close together that their vectors are
    /// not independent.
    pub fn vectors(&self, of: &[f64]) -> Option<Mat<f64>> {
        let n = self.diagonal.len();
        let mut out = Mat::<f64>::zeros(n, of.len());
        let mut work = Work { down: vec![[0.0; TOGETHER]; n], up: vec![[0.0; TOGETHER]; n], twist: [0; TOGETHER] };
        for (at, some) in of.chunks(TOGETHER).enumerate() {
            let mut shifts = [some[0]; TOGETHER];
            shifts[..some.len()].copy_from_slice(some);
            self.isa.run(Twisted { t: self, shifts: shifts.map(|x| x * self.scale), work: &mut work });
            for lane in 0..some.len() {
                work.vector(lane, out.col_as_slice_mut(at * TOGETHER + lane));
            }
        }
        // In `f32` about as orthonormal as the reflectors; in `f64` far below what is promised.
        orthonormal(out, self.tolerance * 1e4)
    }

    /// The `count` leading eigenvectors, from all of them.
    pub fn decomposed(&self, count: usize, keep_going: KeepGoing<'_>) -> Result<Option<Mat<f64>>, Stopped> {
        let n = self.diagonal.len();
        let whole = Mat::<f64>::from_fn(n, n, |i, j| match i.abs_diff(j) {
            0 => self.diagonal[i],
            1 => self.beside[i.min(j)],
            _ => 0.0,
        });
        let found = detached(n.pow(3), keep_going, move || whole.self_adjoint_eigen(Side::Lower)).ok_or(Stopped)?;
        Ok(found.ok().map(|found| Mat::from_fn(n, count, |i, j| found.U()[(i, n - 1 - j)])))
    }
}

impl Counted for Tridiagonal {
    fn bounds(&self) -> (f64, f64) {
        (-1.0, 1.0)
    }

    fn below(&self, points: &[f64; LANES]) -> [u32; LANES] {
        if self.coarse {
            self.isa.run(Count::<true> { t: self, points })
        } else {
            self.isa.run(Count::<false> { t: self, points })
        }
    }
}

/// A pivot that can be divided by: as if an entry of the diagonal, of a matrix of norm at most 1, were changed by 1e-30.
#[inline(always)]
fn pivot(x: f64) -> f64 {
    if x.abs() < PIVOT { -PIVOT } else { x }
}

/// Counts the negative pivots of T − xI (Sylvester's law of inertia).
struct Count<'a, const COARSE: bool> {
    t: &'a Tridiagonal,
    points: &'a [f64; LANES],
}

impl<const COARSE: bool> Kernel for Count<'_, COARSE> {
    type Output = [u32; LANES];
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [u32; LANES] {
        let mut count = [0f64; LANES];
        // What the entry before takes off the next pivot.
        let mut taken = [0f64; LANES];
        for (i, &d) in self.t.diagonal.iter().enumerate() {
            let e = self.t.beside.get(i).copied().unwrap_or(0.0);
            let square = e * e;
            for k in 0..LANES {
                let p = pivot(d - self.points[k] - taken[k]);
                count[k] += if p < 0.0 { 1.0 } else { 0.0 };
                taken[k] = if COARSE { square * inverse::<FMA>(p) } else { square / p };
            }
        }
        count.map(|c| c as u32)
    }
}

/// What the factorisations of T − λI leave for several λ.
struct Work {
    /// eᵢ/pᵢ of the pivots from the top.
    down: Vec<[f64; TOGETHER]>,
    /// eᵢ₋₁/pᵢ of the pivots from the bottom.
    up: Vec<[f64; TOGETHER]>,
    /// Where the two meet.
    twist: [usize; TOGETHER],
}

impl Work {
    /// The vector of one λ, of length 1: 1 at the twist, from there on by the ratios of neighbours.
    fn vector(&self, lane: usize, into: &mut [f64]) {
        let twist = self.twist[lane];
        let flushed = |x: f64| if x.abs() < VANISHED { 0.0 } else { x };
        into[twist] = 1.0;
        for i in (0..twist).rev() {
            into[i] = flushed(-self.down[i][lane] * into[i + 1]);
        }
        for i in twist + 1..into.len() {
            into[i] = flushed(-self.up[i][lane] * into[i - 1]);
        }
        let largest = into.iter().fold(0f64, |most, x| most.max(x.abs()));
        let squares: f64 = into.iter().map(|x| (x / largest).powi(2)).sum();
        let scale = 1.0 / (largest * squares.sqrt());
        into.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Factors T − λI from the top and from the bottom, and takes the meeting point whose pivot is smallest: what the vector leaves
/// of (T − λI)z is that pivot (Parlett and Dhillon 1997).
struct Twisted<'a> {
    t: &'a Tridiagonal,
    shifts: [f64; TOGETHER],
    work: &'a mut Work,
}

impl Kernel for Twisted<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { t, shifts, work } = self;
        let n = t.diagonal.len();
        let beside = |i: usize| t.beside.get(i).copied().unwrap_or(0.0);
        // What the entry before takes off the next pivot.
        let mut taken = [0f64; TOGETHER];
        for i in (0..n).rev() {
            let e = if i > 0 { beside(i - 1) } else { 0.0 };
            for k in 0..TOGETHER {
                let p = pivot(t.diagonal[i] - shifts[k] - taken[k]);
                work.up[i][k] = e / p;
                taken[k] = e * (e / p);
            }
        }
        taken = [0.0; TOGETHER];
        let mut smallest = [f64::INFINITY; TOGETHER];
        let mut twist = [0f64; TOGETHER];
        for i in 0..n {
            let e = beside(i);
            let place = i as f64;
            for k in 0..TOGETHER {
                let above = t.diagonal[i] - shifts[k] - taken[k];
                let below = if i + 1 < n { e * work.up[i + 1][k] } else { 0.0 };
                let middle = (above - below).abs();
                twist[k] = if middle < smallest[k] { place } else { twist[k] };
                smallest[k] = if middle < smallest[k] { middle } else { smallest[k] };
                let p = pivot(above);
                work.down[i][k] = e / p;
                taken[k] = e * (e / p);
            }
        }
        work.twist = twist.map(|i| i as usize);
    }
}

/// The columns, of length 1, made orthonormal without changing what the first of them span (Cholesky QR); `None` where one
/// has too little of its own. Inner products up to `enough` count as none.
fn orthonormal(mut of: Mat<f64>, enough: f64) -> Option<Mat<f64>> {
    let r = of.ncols();
    let (whole, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
    let mut gram = Mat::<f64>::zeros(r, r);
    let columns = of.as_ref();
    triangular::matmul(gram.as_mut(), lower, Accum::Replace, columns.transpose(), whole, columns, whole, 1.0, Par::Seq);
    let off = (0..r).flat_map(|j| (j + 1..r).map(move |i| (i, j))).map(|at| gram[at].abs());
    let most = off.fold(0f64, |most, x| if x > most || x.is_nan() { x } else { most });
    if most <= enough {
        return Some(of);
    }
    let factor = gram.llt(Side::Lower).ok()?;
    if (0..r).any(|i| factor.L()[(i, i)] < OWN) {
        return None;
    }
    solve_lower_triangular_in_place(factor.L(), of.as_mut().transpose_mut(), Par::Seq);
    Some(of)
}
