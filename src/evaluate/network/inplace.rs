//! Arithmetic of single numbers in place, on a CPU. candle's own passes over numbers all queue for one set of threads, so
//! that batches that run side by side would wait for each other there; and each writes a tensor of its own.

#![allow(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "kernels are compiled for an instruction set only where they are inlined; indices are lanes"
)]

use super::activation::Activation;
use crate::numerics::isa::{Isa, Kernel, fma};
use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, bail};
use rayon::prelude::*;

/// Numbers that a thread takes at once.
const PIECE: usize = 1 << 14;

/// Rows of scores become weights: softmax(scale · row), each over what its token sees.
pub struct Softmax {
    /// What scores are multiplied with first.
    pub scale: f32,
    /// Tokens of a row, and rows of a head: the position of a row is its number modulo this.
    pub tokens: usize,
    /// How many tokens up to itself a token sees; `None`: all, those that follow too.
    pub window: Option<usize>,
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax over what is seen"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let numbers = numbers_mut(storage, layout)?;
        let rows = (PIECE / self.tokens.max(1)).max(1);
        numbers.par_chunks_mut(rows * self.tokens.max(1)).enumerate().for_each(|(piece, some)| {
            Isa::Best.run(Rows { by: self, first: piece * rows, scores: some });
        });
        Ok(())
    }
}

/// Rows of which the first has this number.
struct Rows<'a> {
    by: &'a Softmax,
    first: usize,
    scores: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let tokens = self.by.tokens;
        for (i, row) in self.scores.chunks_mut(tokens).enumerate() {
            let own = (self.first + i) % tokens;
            let seen = self.by.window.map_or(0..row.len(), |w| (own + 1).saturating_sub(w)..own + 1);
            row[..seen.start].fill(0.0);
            row[seen.end..].fill(0.0);
            softmax::<FMA>(&mut row[seen], self.by.scale);
        }
    }
}

#[inline(always)]
fn softmax<const FMA: bool>(row: &mut [f32], scale: f32) {
    const LANES: usize = 16;
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for k in 0..LANES {
            most[k] = if chunk[k] > most[k] { chunk[k] } else { most[k] };
        }
    }
    let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    let mut sums = [0f32; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for k in 0..LANES {
            chunk[k] = exp::<FMA>((chunk[k] - most) * scale);
            sums[k] += chunk[k];
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for x in rest {
        *x = exp::<FMA>((*x - most) * scale);
        sum += *x;
    }
    let share = sum.recip();
    row.iter_mut().for_each(|x| *x *= share);
}

/// A function of each number; which exist here says [`Pointwise::of`].
#[derive(Clone, Copy)]
pub struct Pointwise(Activation);

impl Pointwise {
    /// `None` for functions that are left to candle.
    pub fn of(activation: Activation) -> Option<Self> {
        matches!(activation, Activation::Silu | Activation::GeluTanh | Activation::Relu).then_some(Self(activation))
    }

    #[inline(always)]
    fn at<const FMA: bool>(self, x: f32) -> f32 {
        match self.0 {
            Activation::Silu => x / (1.0 + exp::<FMA>(-x)),
            // (1 + tanh u) / 2 is the logistic function of 2u.
            Activation::GeluTanh => {
                let u = x * fma::<FMA>(0.044_715 * x, x, 1.0);
                x / (1.0 + exp::<FMA>(-1.595_769 * u))
            }
            // Not max, which would make a number of NaN.
            _ => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
        }
    }
}

impl InplaceOp1 for Pointwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let numbers = numbers_mut(storage, layout)?;
        numbers.par_chunks_mut(PIECE).for_each(|to| Isa::Best.run(Apply { by: *self, to }));
        Ok(())
    }
}

struct Apply<'a> {
    by: Pointwise,
    to: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.to.iter_mut().for_each(|x| *x = self.by.at::<FMA>(*x));
    }
}

/// What is added or multiplied, as many numbers or one for each column of the rows.
#[derive(Clone, Copy)]
pub enum With {
    /// x + y.
    Plus,
    /// x · y.
    Times,
}

impl InplaceOp2 for With {
    fn name(&self) -> &'static str {
        "sum or product"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout, by: &CpuStorage, by_layout: &Layout) -> Result<()> {
        let to = numbers_mut(storage, layout)?;
        let (CpuStorage::F32(by), Some((from, end))) = (by, by_layout.contiguous_offsets()) else {
            bail!("{}: numbers that are no contiguous f32", InplaceOp2::name(self));
        };
        let by = &by[from..end];
        if by.is_empty() || to.len() % by.len() != 0 {
            bail!("{}: {} numbers with {}", InplaceOp2::name(self), to.len(), by.len());
        }
        let one = |to: &mut [f32], by: &[f32]| match self {
            Self::Plus => to.iter_mut().zip(by).for_each(|(x, y)| *x += y),
            Self::Times => to.iter_mut().zip(by).for_each(|(x, y)| *x *= y),
        };
        if to.len() == by.len() {
            to.par_chunks_mut(PIECE).zip(by.par_chunks(PIECE)).for_each(|(to, by)| one(to, by));
        } else {
            let rows = (PIECE / by.len()).max(1);
            to.par_chunks_mut(rows * by.len()).for_each(|to| to.chunks_mut(by.len()).for_each(|row| one(row, by)));
        }
        Ok(())
    }
}

fn numbers_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(numbers), Some((from, end))) => Ok(&mut numbers[from..end]),
        _ => bail!("numbers that are no contiguous f32"),
    }
}

/// eˣ to about two units in the last place, for vectors of any width; NaN stays NaN, and what would be less than the
/// smallest normal number or more than 2¹²⁷ stays there.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOW: f32 = -87.3;
    const HIGH: f32 = 88.0;
    // Added to a small number it leaves the nearest whole one in the last bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, so that multiples of the first are exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    let x = if x < LOW { LOW } else { x };
    let x = if x > HIGH { HIGH } else { x };
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let r = fma::<FMA>(-whole, LN_2[0], x);
    let r = fma::<FMA>(-whole, LN_2[1], r);
    let mut p = 1.987_569_2e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = fma::<FMA>(p, r, c);
    }
    let p = fma::<FMA>(p, r * r, r) + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()))
}

#[cfg(test)]
mod tests;
