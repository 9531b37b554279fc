//! Instruction sets, chosen at run time: the same plain loops are compiled for each.

#![allow(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "kernels are compiled for an instruction set only where they are inlined; indices are lanes"
)]

use pulp::Arch;

/// What the loops are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// The best this machine has.
    Best,
    /// At most AVX2 and FMA, where the machine has them; else like [`Self::Portable`].
    Avx2,
    /// What every machine of this architecture has. For tests, and for machines that have no more.
    Portable,
}

/// Loops that exist twice: with fused multiply-add, and without where that would be a call into a library.
pub trait Kernel {
    /// What it gives.
    type Output;
    /// Runs; `FMA` says whether `mul_add` is one instruction. Must be `#[inline(always)]`, down to the last loop.
    fn run<const FMA: bool>(self) -> Self::Output;
}

impl Isa {
    /// The same in the words of pulp, for kernels written with its vectors.
    pub fn arch(self) -> Arch {
        match self {
            Self::Best => Arch::new(),
            Self::Avx2 => avx2(),
            Self::Portable => Arch::Scalar,
        }
    }

    /// Runs a kernel.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        let arch = self.arch();
        if matches!(arch, Arch::Scalar) {
            return kernel.run::<false>();
        }
        arch.dispatch(
            #[inline(always)]
            || kernel.run::<true>(),
        )
    }
}

#[cfg(target_arch = "x86_64")]
fn avx2() -> Arch {
    pulp::x86::V3::try_new().map_or(Arch::Scalar, Arch::V3)
}

#[cfg(not(target_arch = "x86_64"))]
fn avx2() -> Arch {
    Arch::Scalar
}

/// a·b + c.
#[inline(always)]
pub fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Σ aᵢbᵢ in 64 partial sums, which vectorise and keep the rounding error small.
#[inline(always)]
pub fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 64;
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for k in 0..LANES {
            sums[k] = fma::<FMA>(x[k], y[k], sums[k]);
        }
    }
    let mut rest = 0f32;
    for (x, y) in a_rest.iter().zip(b_rest) {
        rest += x * y;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for k in 0..width {
            sums[k] += sums[k + width];
        }
    }
    rest + sums[0]
}

/// y += α·x.
#[inline(always)]
pub fn axpy<const FMA: bool>(alpha: f32, x: &[f32], y: &mut [f32]) {
    for (a, b) in x.iter().zip(y) {
        *b = fma::<FMA>(alpha, *a, *b);
    }
}

/// Sums of squares below this have lost digits to underflow in `f32`: they are taken again in `f64`.
const TINY: f32 = 1e-28;

/// A Householder reflector H = I − τvvᵀ that maps `x` to (β, 0, …): `x[0]` becomes β and the rest v's tail (v₀ = 1).
/// Returns τ, 0 when the tail is zero already.
///
/// Without the second sum in `f64`, tails of 1e-20, which heavily pruned matrices have, give reflectors that are not
/// orthogonal and spectra wrong in the third digit.
#[inline(always)]
pub fn reflector<const FMA: bool>(x: &mut [f32]) -> f32 {
    let Some((head, tail)) = x.split_first_mut() else { return 0.0 };
    let squares = dot::<FMA>(tail, tail);
    let a = *head;
    if squares >= TINY {
        let norm = (f64::from(a) * f64::from(a) + f64::from(squares)).sqrt() as f32;
        let beta = if a >= 0.0 { -norm } else { norm };
        let scale = 1.0 / (a - beta);
        tail.iter_mut().for_each(|v| *v *= scale);
        *head = beta;
        return (beta - a) / beta;
    }
    let squares: f64 = tail.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    if squares == 0.0 {
        return 0.0;
    }
    let a = f64::from(a);
    let norm = (a * a + squares).sqrt();
    let beta = if a >= 0.0 { -norm } else { norm };
    let scale = 1.0 / (a - beta);
    tail.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
    *head = beta as f32;
    ((beta - a) / beta) as f32
}
