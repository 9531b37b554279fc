//! The two precisions of the reduction, and the loops that both share.

use faer::traits::RealField;
use pulp::bytemuck::Pod;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// `f32` or `f64`.
pub trait Real:
    RealField
    + Pod
    + Send
    + Sync
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Unit roundoff.
    const ROUNDOFF: f64;
    /// Whether this is the coarser of the two.
    const COARSE: bool;
    /// Tails with a smaller sum of squares count as zero, in matrices whose largest entry is about 1: n²/16 such tails
    /// of the chase change no singular value by more than √(`DROP`)·n/4.
    const DROP: Self;
    /// Whether rows and columns are mixed first, see `mix.rs`.
    const MIXES: bool;
    /// Accuracy of bisection relative to the largest value: below what the reduction leaves.
    const BISECTION: f64;
    /// Rounds to this precision.
    fn narrow(x: f64) -> Self;
    /// The same number in `f64`.
    fn wide(self) -> f64;
    /// `self·a + b`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;
    const COARSE: bool = true;
    const DROP: Self = 1e-24;
    const MIXES: bool = true;
    const BISECTION: f64 = 2e-8;
    #[inline(always)]
    fn narrow(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const ROUNDOFF: f64 = f64::EPSILON / 2.0;
    const COARSE: bool = false;
    const DROP: Self = 1e-48;
    const MIXES: bool = false;
    const BISECTION: f64 = 1e-15;
    #[inline(always)]
    fn narrow(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
}

/// a·b + c.
#[inline(always)]
pub fn fma<T: Real, const FMA: bool>(a: T, b: T, c: T) -> T {
    if FMA { a.fused(b, c) } else { a * b + c }
}

/// Σ aᵢbᵢ in 64 partial sums, which vectorise and keep the rounding error small.
#[inline(always)]
pub fn dot<T: Real, const FMA: bool>(a: &[T], b: &[T]) -> T {
    const LANES: usize = 64;
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [T::ZERO; LANES];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for k in 0..LANES {
            sums[k] = fma::<T, FMA>(x[k], y[k], sums[k]);
        }
    }
    let mut rest = T::ZERO;
    for (x, y) in a_rest.iter().zip(b_rest) {
        rest += *x * *y;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for k in 0..width {
            let upper = sums[k + width];
            sums[k] += upper;
        }
    }
    rest + sums[0]
}

/// y += α·x.
#[inline(always)]
pub fn axpy<T: Real, const FMA: bool>(alpha: T, x: &[T], y: &mut [T]) {
    for (a, b) in x.iter().zip(y) {
        *b = fma::<T, FMA>(alpha, *a, *b);
    }
}

/// A Householder reflector H = I − τvvᵀ that maps `x` to (β, 0, …): `x[0]` becomes β and the rest v's tail (v₀ = 1).
/// Returns τ, 0 when the tail is zero already or so small that it is set to zero.
///
/// Without that, tails of 1e-20, which heavily pruned and exactly rank-deficient matrices have, would underflow when
/// squared and give reflectors that are not orthogonal, and tails of 1e-38 would slow the arithmetic down.
#[inline(always)]
pub fn reflector<T: Real, const FMA: bool>(x: &mut [T]) -> T {
    let Some((head, tail)) = x.split_first_mut() else { return T::ZERO };
    let squares = dot::<T, FMA>(tail, tail);
    if squares <= T::DROP {
        tail.fill(T::ZERO);
        return T::ZERO;
    }
    let a = *head;
    let norm = (a.wide() * a.wide() + squares.wide()).sqrt();
    let beta = T::narrow(if a >= T::ZERO { -norm } else { norm });
    let scale = T::ONE / (a - beta);
    tail.iter_mut().for_each(|v| *v *= scale);
    *head = beta;
    (beta - a) / beta
}
