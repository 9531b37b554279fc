//! Band to bidiagonal by chasing bulges with Householder reflectors of the band's width (Lang 1996; Haidar, Ltaief and
//! Dongarra 2012), several sweeps side by side where there are threads for them.

use super::band::{Band, offset, stride};
use super::isa::{Isa, Kernel};
use super::real::{Real, fma, reflector};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use std::ops::Range;

/// Steps that several sweeps take side by side before they wait for each other.
const STRIDE: usize = 8;
/// Steps between two sweeps that work side by side: a step reaches over two bands, and a sweep must not touch what the
/// one before it is about to.
const LAG: usize = 3 + STRIDE - 1;

/// Reduces a band to a bidiagonal: its diagonal and superdiagonal. Several threads work on sweeps far enough apart,
/// each on its own columns; the result does not depend on their number.
pub fn bidiagonal<T: Real>(
    mut band: Band<T>,
    isa: Isa,
    threads: usize,
    keep_going: KeepGoing<'_>,
) -> Result<(Vec<T>, Vec<T>), Stopped> {
    let (n, b) = (band.n, band.b);
    let sweeps = n.saturating_sub(1);
    let sweep = |number: usize| Sweep { n, b, number };
    if threads < 2 {
        for i in 0..sweeps {
            if i.is_multiple_of(4) {
                check(keep_going)?;
            }
            let sweep = sweep(i);
            sweep.run(Part { data: &mut band.data, skipped: 0 }, 0..sweep.steps(), isa);
        }
    }
    // The first sweep not yet done, and the steps that it has taken.
    let (mut first, mut time) = (if threads < 2 { sweeps } else { 0 }, 0usize);
    while first < sweeps {
        check(keep_going)?;
        // The sweeps under way, the foremost first.
        let mut under_way: Vec<(Sweep, Range<usize>)> = Vec::new();
        for (behind, i) in (first..sweeps).enumerate() {
            let Some(to) = (time + STRIDE).checked_sub(behind * LAG) else { break };
            let (sweep, from) = (sweep(i), time.saturating_sub(behind * LAG));
            let to = to.min(sweep.steps());
            // A shorter sweep may be done before one that is ahead of it.
            under_way.push((sweep, from.min(to)..to));
        }
        together(&under_way, Part { data: &mut band.data, skipped: 0 }, isa);
        time += STRIDE;
        while first < sweeps && time >= sweep(first).steps() {
            first += 1;
            time = time.saturating_sub(LAG);
        }
    }
    let diagonal = (0..n).map(|i| band.data[band.at(i, i)]).collect();
    let above = (0..n.saturating_sub(1)).map(|i| band.data[band.at(i, i + 1)]).collect();
    Ok((diagonal, above))
}

/// Runs sweeps side by side: those ahead work on columns further right.
fn together<T: Real>(sweeps: &[(Sweep, Range<usize>)], part: Part<'_, T>, isa: Isa) {
    let Some(((sweep, steps), others)) = sweeps.split_first() else { return };
    if others.is_empty() {
        sweep.run(part, steps.clone(), isa);
        return;
    }
    let at = sweep.begins(steps.start) * (stride(sweep.b) + 1) - part.skipped;
    let (left, right) = part.data.split_at_mut(at);
    let right = Part { data: right, skipped: part.skipped + at };
    let left = Part { data: left, skipped: part.skipped };
    rayon::join(|| sweep.run(right, steps.clone(), isa), || together(others, left, isa));
}

/// The columns of a band from one on.
struct Part<'a, T> {
    data: &'a mut [T],
    /// Entries of the band before them.
    skipped: usize,
}

/// One sweep: what lies right of the band in its row is cleared, and the bulge that this makes chased down the band.
#[derive(Clone, Copy)]
struct Sweep {
    n: usize,
    b: usize,
    number: usize,
}

impl Sweep {
    fn steps(&self) -> usize {
        (self.n - 1 - self.number).div_ceil(self.b)
    }

    /// The first column that it touches from step `time` on.
    fn begins(&self, time: usize) -> usize {
        self.number + 1 + time * self.b
    }

    fn run<T: Real>(&self, part: Part<'_, T>, steps: Range<usize>, isa: Isa) {
        match self.b {
            16 => isa.run(Sized::<T, 16>(self.number, part, steps)),
            32 => isa.run(Sized::<T, 32>(self.number, part, steps)),
            // Widths are chosen in `mod.rs` among these.
            _ => isa.run(Sized::<T, 64>(self.number, part, steps)),
        }
    }
}

struct Sized<'a, T, const B: usize>(usize, Part<'a, T>, Range<usize>);

impl<T: Real, const B: usize> Kernel for Sized<'_, T, B> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self(number, mut part, steps) = self;
        for time in steps {
            step::<T, B, FMA>(&mut part, number, time + 1);
        }
    }
}

/// Step `j` (from 1) of sweep `s`: clears a row right of the band, then the column bulge that this makes.
#[inline(always)]
fn step<T: Real, const B: usize, const FMA: bool>(part: &mut Part<'_, T>, s: usize, j: usize) {
    let column = s + 1 + (j - 1) * B;
    let row = if j == 1 { s } else { column - B };
    let stride = stride(B);
    let place = |i: usize, j: usize| j * stride + i + offset(B) - part.skipped;
    let mut v = [T::ZERO; B];
    // From the right: zero the row beyond its first entry.
    let at = place(row, column);
    let (below, beside) = (place(row + 1, column), place(column + 1, column));
    let (corner, next) = (place(column, column), place(column, column + 1));
    let data = &mut *part.data;
    for (k, x) in v.iter_mut().enumerate() {
        *x = data[at + k * stride];
    }
    let tau = reflector::<T, FMA>(&mut v);
    data[at] = v[0];
    for k in 1..B {
        data[at + k * stride] = T::ZERO;
    }
    if tau != T::ZERO {
        v[0] = T::ONE;
        if j > 1 {
            right::<T, B, FMA>(data, below, stride, &v, tau);
            right::<T, B, FMA>(data, beside, stride, &v, tau);
        } else {
            right::<T, B, FMA>(data, corner, stride, &v, tau);
        }
    }
    // From the left: zero the column below its first entry.
    v.copy_from_slice(&data[corner..corner + B]);
    let tau = reflector::<T, FMA>(&mut v);
    data[corner] = v[0];
    data[corner + 1..corner + B].fill(T::ZERO);
    if tau != T::ZERO {
        v[0] = T::ONE;
        left::<T, B, FMA>(data, next, stride, &v, tau);
    }
}

/// A ← A·(I − τvvᵀ) for B rows and B columns.
#[inline(always)]
fn right<T: Real, const B: usize, const FMA: bool>(data: &mut [T], at: usize, stride: usize, v: &[T; B], tau: T) {
    let mut w = [T::ZERO; B];
    for (c, &x) in v.iter().enumerate() {
        let Some(column) = data[at + c * stride..].first_chunk::<B>() else { return };
        for k in 0..B {
            w[k] = fma::<T, FMA>(column[k], x, w[k]);
        }
    }
    for x in &mut w {
        *x *= -tau;
    }
    for (c, &x) in v.iter().enumerate() {
        let Some(column) = data[at + c * stride..].first_chunk_mut::<B>() else { return };
        for k in 0..B {
            column[k] = fma::<T, FMA>(w[k], x, column[k]);
        }
    }
}

/// A ← (I − τvvᵀ)·A for B rows and 2B − 1 columns.
#[inline(always)]
fn left<T: Real, const B: usize, const FMA: bool>(data: &mut [T], at: usize, stride: usize, v: &[T; B], tau: T) {
    for c in 0..2 * B - 1 {
        let Some(column) = data[at + c * stride..].first_chunk_mut::<B>() else { return };
        let mut sums = [T::ZERO; 16];
        for k in (0..B).step_by(16) {
            for l in 0..16 {
                sums[l] = fma::<T, FMA>(column[k + l], v[k + l], sums[l]);
            }
        }
        let mut width = 16;
        while width > 1 {
            width /= 2;
            for l in 0..width {
                let upper = sums[l + width];
                sums[l] += upper;
            }
        }
        let scale = -tau * sums[0];
        for k in 0..B {
            column[k] = fma::<T, FMA>(scale, v[k], column[k]);
        }
    }
}
