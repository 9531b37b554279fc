//! Band to bidiagonal by chasing bulges with Householder reflectors of the band's width (Lang 1996; Haidar, Ltaief and
//! Dongarra 2012), several sweeps in a wavefront so that the band stays in the cache.

use super::band::Band;
use super::isa::{Isa, Kernel, fma, reflector};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};

/// Sweeps that follow one another through the cache.
const WAVE: usize = 4;

/// Reduces a band to a bidiagonal: its diagonal and superdiagonal.
pub fn bidiagonal(mut band: Band, isa: Isa, keep_going: KeepGoing<'_>) -> Result<(Vec<f32>, Vec<f32>), Stopped> {
    let n = band.n;
    let mut from = 0;
    while from + 1 < n {
        check(keep_going)?;
        let wave = Wave { band: &mut band, from, to: (from + WAVE).min(n - 1) };
        match wave.band.b {
            16 => isa.run(Sized::<16>(wave)),
            32 => isa.run(Sized::<32>(wave)),
            64 => isa.run(Sized::<64>(wave)),
            // Widths are chosen in `mod.rs` among these.
            _ => return Err(Stopped),
        }
        from += WAVE;
    }
    let diagonal = (0..n).map(|i| band.data[band.at(i, i)]).collect();
    let above = (0..n.saturating_sub(1)).map(|i| band.data[band.at(i, i + 1)]).collect();
    Ok((diagonal, above))
}

struct Wave<'a> {
    band: &'a mut Band,
    from: usize,
    to: usize,
}

struct Sized<'a, const B: usize>(Wave<'a>);

impl<const B: usize> Kernel for Sized<'_, B> {
    type Output = ();
    /// Sweep s may do its step j once sweep s − 1 has done its step j + 2.
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Wave { band, from, to } = self.0;
        let n = band.n;
        let steps = |s: usize| (n - 1 - s).div_ceil(B);
        let total = steps(from) + 3 * (to - from - 1);
        for time in 0..total {
            for behind in 0..to - from {
                if time < 3 * behind {
                    break;
                }
                let (s, j) = (from + behind, time - 3 * behind + 1);
                if j <= steps(s) {
                    step::<B, FMA>(band, s, j);
                }
            }
        }
    }
}

/// Step `j` (from 1) of sweep `s`: clears a row right of the band, then the column bulge that this makes.
#[inline(always)]
fn step<const B: usize, const FMA: bool>(band: &mut Band, s: usize, j: usize) {
    let column = s + 1 + (j - 1) * B;
    let row = if j == 1 { s } else { column - B };
    let stride = band.stride;
    let mut v = [0f32; B];
    // From the right: zero the row beyond its first entry.
    let at = band.at(row, column);
    for (k, x) in v.iter_mut().enumerate() {
        *x = band.data[at + k * stride];
    }
    let tau = reflector::<FMA>(&mut v);
    band.data[at] = v[0];
    for k in 1..B {
        band.data[at + k * stride] = 0.0;
    }
    if tau != 0.0 {
        v[0] = 1.0;
        if j > 1 {
            let at = band.at(row + 1, column);
            right::<B, FMA>(&mut band.data, at, stride, &v, tau);
            let at = band.at(column + 1, column);
            right::<B, FMA>(&mut band.data, at, stride, &v, tau);
        } else {
            let at = band.at(column, column);
            right::<B, FMA>(&mut band.data, at, stride, &v, tau);
        }
    }
    // From the left: zero the column below its first entry.
    let at = band.at(column, column);
    v.copy_from_slice(&band.data[at..at + B]);
    let tau = reflector::<FMA>(&mut v);
    band.data[at] = v[0];
    band.data[at + 1..at + B].fill(0.0);
    if tau != 0.0 {
        v[0] = 1.0;
        let at = band.at(column, column + 1);
        left::<B, FMA>(&mut band.data, at, stride, &v, tau);
    }
}

/// A ← A·(I − τvvᵀ) for B rows and B columns.
#[inline(always)]
fn right<const B: usize, const FMA: bool>(data: &mut [f32], at: usize, stride: usize, v: &[f32; B], tau: f32) {
    let mut w = [0f32; B];
    for (c, &x) in v.iter().enumerate() {
        let Some(column) = data[at + c * stride..].first_chunk::<B>() else { return };
        for k in 0..B {
            w[k] = fma::<FMA>(column[k], x, w[k]);
        }
    }
    for x in &mut w {
        *x *= -tau;
    }
    for (c, &x) in v.iter().enumerate() {
        let Some(column) = data[at + c * stride..].first_chunk_mut::<B>() else { return };
        for k in 0..B {
            column[k] = fma::<FMA>(w[k], x, column[k]);
        }
    }
}

/// A ← (I − τvvᵀ)·A for B rows and 2B − 1 columns.
#[inline(always)]
fn left<const B: usize, const FMA: bool>(data: &mut [f32], at: usize, stride: usize, v: &[f32; B], tau: f32) {
    for c in 0..2 * B - 1 {
        let Some(column) = data[at + c * stride..].first_chunk_mut::<B>() else { return };
        let mut sums = [0f32; 16];
        for k in (0..B).step_by(16) {
            for l in 0..16 {
                sums[l] = fma::<FMA>(column[k + l], v[k + l], sums[l]);
            }
        }
        let mut width = 16;
        while width > 1 {
            width /= 2;
            for l in 0..width {
                sums[l] += sums[l + width];
            }
        }
        let scale = -tau * sums[0];
        for k in 0..B {
            column[k] = fma::<FMA>(scale, v[k], column[k]);
        }
    }
}
