//! Products with a matrix and its transpose in one pass over the stored entries, in `f32`, for estimates: AᵀA·v, A·v
//! and Aᵀ·u, entries below a threshold left out on the way where wanted.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel, fma};
use super::{KeepGoing, Stopped, interrupt::check};

/// Entries of a row-major matrix as they are held.
#[derive(Debug, Clone, Copy)]
pub enum Held<'a> {
    /// Decoded.
    F32(&'a [f32]),
    /// `f32`, little-endian, at any offset.
    Bytes(&'a [[u8; 4]]),
    /// bfloat16, little-endian: decoded on the way.
    BF16(&'a [[u8; 2]]),
}

/// A matrix of which entries of magnitude up to `threshold` count as zero; 0 leaves all in.
#[derive(Debug, Clone, Copy)]
pub struct Sparse<'a> {
    /// Entries, row after row.
    pub held: Held<'a>,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Largest magnitude left out.
    pub threshold: f32,
}

/// Rows worked on together: the vectors are loaded once for all of them.
const TOGETHER: usize = 4;
/// Lanes of a running sum.
const LANES: usize = 32;
/// Entries between two questions whether to go on.
const PIECE: usize = 1 << 22;

trait Element: Copy {
    fn get(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }
}

impl Element for [u8; 4] {
    #[inline(always)]
    fn get(self) -> f32 {
        f32::from_le_bytes(self)
    }
}

impl Element for [u8; 2] {
    #[inline(always)]
    fn get(self) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(self)) << 16)
    }
}

impl Sparse<'_> {
    /// Length of the vectors of [`Self::gram`].
    pub fn small(&self) -> usize {
        self.rows.min(self.cols)
    }

    /// out = AᵀA·v or AAᵀ·v, whichever is smaller.
    pub fn gram(&self, v: &[f32], out: &mut [f32], keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
        if self.rows >= self.cols {
            out.fill(0.0);
            return self.pass(Step::Both { v, out }, keep_going);
        }
        let mut across = vec![0f32; self.cols];
        self.pass(Step::Transposed { u: v, out: &mut across }, keep_going)?;
        self.pass(Step::Plain { v: &across, out }, keep_going)
    }

    /// ‖Av‖/‖v‖ for the right vector v that belongs to `x`, a vector of [`Self::small`] entries: what the largest
    /// singular value surely is not below. Products and sums are taken in `f64`, and their rounding subtracted.
    pub fn stretch(&self, x: &[f32], keep_going: KeepGoing<'_>) -> Result<f64, Stopped> {
        let mut across = vec![0f32; self.cols];
        if self.rows >= self.cols {
            across.copy_from_slice(x);
        } else {
            self.pass(Step::Transposed { u: x, out: &mut across }, keep_going)?;
        }
        let v: Vec<f64> = across.iter().map(|&x| f64::from(x)).collect();
        let mut squares = 0.0;
        self.pass(Step::Squares { v: &v, sum: &mut squares }, keep_going)?;
        let length: f64 = v.iter().map(|x| x * x).sum();
        let slack = 1.0 - 4.0 * (self.rows + self.cols) as f64 * f64::EPSILON;
        Ok(if length > 0.0 { (squares / length).sqrt() * slack } else { 0.0 })
    }

    fn pass(&self, step: Step<'_>, keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
        let (cols, threshold) = (self.cols, self.threshold);
        if cols == 0 || self.rows == 0 {
            return Ok(());
        }
        match self.held {
            Held::F32(a) => pieces(a, cols, threshold, step, keep_going),
            Held::Bytes(a) => pieces(a, cols, threshold, step, keep_going),
            Held::BF16(a) => pieces(a, cols, threshold, step, keep_going),
        }
    }
}

/// What a pass does with each row a: `u` and `v` are inputs, one entry a row or a column.
enum Step<'a> {
    /// out += (a·v) a.
    Both { v: &'a [f32], out: &'a mut [f32] },
    /// out[row] = a·v.
    Plain { v: &'a [f32], out: &'a mut [f32] },
    /// out += u[row] a.
    Transposed { u: &'a [f32], out: &'a mut [f32] },
    /// sum += (a·v)², in `f64`.
    Squares { v: &'a [f64], sum: &'a mut f64 },
}

fn pieces<E: Element>(
    a: &[E],
    cols: usize,
    threshold: f32,
    mut step: Step<'_>,
    keep_going: KeepGoing<'_>,
) -> Result<(), Stopped> {
    let rows = (PIECE / cols).max(1).next_multiple_of(TOGETHER);
    for (i, piece) in a.chunks(rows * cols).enumerate() {
        check(keep_going)?;
        let first = i * rows;
        Isa::Best.run(Piece { a: piece, cols, threshold, first, step: &mut step });
    }
    Ok(())
}

struct Piece<'a, 'b, E> {
    a: &'a [E],
    cols: usize,
    threshold: f32,
    first: usize,
    step: &'a mut Step<'b>,
}

impl<E: Element> Kernel for Piece<'_, '_, E> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        if self.threshold > 0.0 { self.rows::<FMA, true>() } else { self.rows::<FMA, false>() }
    }
}

impl<E: Element> Piece<'_, '_, E> {
    #[inline(always)]
    fn rows<const FMA: bool, const CUT: bool>(self) {
        let Self { a, cols, threshold, first, step } = self;
        let count = a.len() / cols;
        let mut at = 0;
        while at + TOGETHER <= count {
            let rows: [&[E]; TOGETHER] = std::array::from_fn(|r| &a[(at + r) * cols..(at + r + 1) * cols]);
            work::<E, FMA, CUT, TOGETHER>(&rows, threshold, first + at, step);
            at += TOGETHER;
        }
        for r in at..count {
            work::<E, FMA, CUT, 1>(&[&a[r * cols..(r + 1) * cols]], threshold, first + r, step);
        }
    }
}

#[inline(always)]
fn work<E: Element, const FMA: bool, const CUT: bool, const R: usize>(
    rows: &[&[E]; R],
    threshold: f32,
    first: usize,
    step: &mut Step<'_>,
) {
    match step {
        Step::Both { v, out } => {
            let y = dots::<E, FMA, CUT, R>(rows, v, threshold);
            add::<E, FMA, CUT, R>(rows, &y, out, threshold);
        }
        Step::Plain { v, out } => {
            out[first..first + R].copy_from_slice(&dots::<E, FMA, CUT, R>(rows, v, threshold));
        }
        Step::Transposed { u, out } => {
            let y: [f32; R] = std::array::from_fn(|r| u[first + r]);
            add::<E, FMA, CUT, R>(rows, &y, out, threshold);
        }
        Step::Squares { v, sum } => {
            for row in rows {
                let y = wide_dot::<E, CUT>(row, v, threshold);
                **sum += y * y;
            }
        }
    }
}

#[inline(always)]
fn wide_dot<E: Element, const CUT: bool>(row: &[E], v: &[f64], threshold: f32) -> f64 {
    let mut sums = [0f64; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    let (vs, v_rest) = v.as_chunks::<LANES>();
    for (a, x) in chunks.iter().zip(vs) {
        for k in 0..LANES {
            sums[k] += f64::from(cut::<E, CUT>(a[k], threshold)) * x[k];
        }
    }
    let rest: f64 = rest.iter().zip(v_rest).map(|(&a, x)| f64::from(cut::<E, CUT>(a, threshold)) * x).sum();
    rest + sums.iter().sum::<f64>()
}

#[inline(always)]
fn cut<E: Element, const CUT: bool>(e: E, threshold: f32) -> f32 {
    let w = e.get();
    if !CUT || w.abs() > threshold { w } else { 0.0 }
}

#[inline(always)]
fn dots<E: Element, const FMA: bool, const CUT: bool, const R: usize>(
    rows: &[&[E]; R],
    v: &[f32],
    threshold: f32,
) -> [f32; R] {
    let mut sums = [[0f32; LANES]; R];
    let chunks: [&[[E; LANES]]; R] = std::array::from_fn(|r| rows[r].as_chunks().0);
    let (vs, v_rest) = v.as_chunks::<LANES>();
    for (c, x) in vs.iter().enumerate() {
        for r in 0..R {
            let a = &chunks[r][c];
            for k in 0..LANES {
                sums[r][k] = fma::<FMA>(cut::<E, CUT>(a[k], threshold), x[k], sums[r][k]);
            }
        }
    }
    std::array::from_fn(|r| {
        let done = vs.len() * LANES;
        let rest: f32 = rows[r][done..].iter().zip(v_rest).map(|(&a, x)| cut::<E, CUT>(a, threshold) * x).sum();
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                sums[r][k] += sums[r][k + width];
            }
        }
        rest + sums[r][0]
    })
}

#[inline(always)]
fn add<E: Element, const FMA: bool, const CUT: bool, const R: usize>(
    rows: &[&[E]; R],
    y: &[f32; R],
    out: &mut [f32],
    threshold: f32,
) {
    let chunks: [&[[E; LANES]]; R] = std::array::from_fn(|r| rows[r].as_chunks().0);
    let (outs, out_rest) = out.as_chunks_mut::<LANES>();
    let done = outs.len() * LANES;
    for (c, o) in outs.iter_mut().enumerate() {
        for r in 0..R {
            let a = &chunks[r][c];
            for k in 0..LANES {
                o[k] = fma::<FMA>(y[r], cut::<E, CUT>(a[k], threshold), o[k]);
            }
        }
    }
    for (r, row) in rows.iter().enumerate() {
        for (o, &a) in out_rest.iter_mut().zip(&row[done..]) {
            *o += y[r] * cut::<E, CUT>(a, threshold);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_those_of_plain_loops(
            rows in 1usize..40, cols in 1usize..90, seed in any::<u32>(), cut in 0u8..3, bf16: bool,
        ) {
            let mut state = u64::from(seed);
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                half::bf16::from_f32((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0)
            };
            let stored: Vec<half::bf16> = (0..rows * cols).map(|_| next()).collect();
            let a: Vec<f32> = stored.iter().map(|x| x.to_f32()).collect();
            let bytes: Vec<[u8; 2]> = stored.iter().map(|x| x.to_le_bytes()).collect();
            let threshold = f32::from(cut) * 0.3;
            let held = if bf16 { Held::BF16(&bytes) } else { Held::F32(&a) };
            let sparse = Sparse { held, rows, cols, threshold };
            let n = sparse.small();
            let v: Vec<f32> = (0..n).map(|_| next().to_f32()).collect();
            let mut out = vec![9.0; n];
            sparse.gram(&v, &mut out, &|| true).unwrap();
            let w = |i: usize, j: usize| {
                let w = f64::from(a[i * cols + j]);
                if w.abs() > f64::from(threshold) { w } else { 0.0 }
            };
            let entry = |small: usize, large: usize| if rows >= cols { w(large, small) } else { w(small, large) };
            for (i, &found) in out.iter().enumerate() {
                let want: f64 = (0..rows.max(cols))
                    .map(|l| entry(i, l) * (0..n).map(|j| entry(j, l) * f64::from(v[j])).sum::<f64>())
                    .sum();
                prop_assert!((f64::from(found) - want).abs() < 1e-4 * (1.0 + want.abs()), "{found} {want}");
            }
        }
    }

    #[test]
    fn it_stops_when_told() {
        let a = [1.0f32; 12];
        let sparse = Sparse { held: Held::F32(&a), rows: 3, cols: 4, threshold: 0.0 };
        assert_eq!(sparse.gram(&[1.0; 3], &mut [0.0; 3], &|| false), Err(Stopped));
    }
}
