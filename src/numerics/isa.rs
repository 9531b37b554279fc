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
