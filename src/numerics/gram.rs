//! Products with a matrix and its transpose in one pass over the stored entries, in `f32`, for estimates: AᵀA·v, A·v
//! and Aᵀ·u, entries below a threshold left out on the way where wanted.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel};
use super::{KeepGoing, Stopped, interrupt::check};
use pulp::{Simd, WithSimd};

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
    /// What the entries are multiplied by for the products: a power of two.
    pub scale: f32,
}

/// Rows worked on together: the vectors are loaded once for all of them.
const TOGETHER: usize = 4;
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

impl<'a> Sparse<'a> {
    /// All entries, as they are.
    pub fn new(held: Held<'a>, rows: usize, cols: usize) -> Self {
        Self { held, rows, cols, threshold: 0.0, scale: 1.0 }
    }

    /// The same, its largest entry brought near 1, so that no square overflows or vanishes.
    pub fn scaled(&self, keep_going: KeepGoing<'_>) -> Result<Self, Stopped> {
        let mut largest = 0f32;
        Self { scale: 1.0, ..*self }.pass(Step::Largest { so_far: &mut largest }, keep_going)?;
        let exponent = f64::from(largest).log2().floor();
        let scale = if exponent.is_finite() { 2f32.powi(-(exponent as i32).clamp(-120, 120)) } else { 1.0 };
        Ok(Self { scale, ..*self })
    }

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

    /// ‖Av‖/‖v‖ of the matrix as it is, not scaled, for the right vector v that belongs to `x`, a vector of [`Self::small`] entries: what the largest
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
        Ok(if length > 0.0 { (squares / length).sqrt() * slack / f64::from(self.scale) } else { 0.0 })
    }

    fn pass(&self, step: Step<'_>, keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
        let (cols, cut) = (self.cols, Cut { threshold: self.threshold, scale: self.scale });
        if cols == 0 || self.rows == 0 {
            return Ok(());
        }
        match self.held {
            Held::F32(a) => pieces(a, cols, cut, step, keep_going),
            Held::Bytes(a) => pieces(a, cols, cut, step, keep_going),
            Held::BF16(a) => pieces(a, cols, cut, step, keep_going),
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
    /// The largest magnitude.
    Largest { so_far: &'a mut f32 },
}

fn pieces<E: Element>(
    a: &[E],
    cols: usize,
    cut: Cut,
    mut step: Step<'_>,
    keep_going: KeepGoing<'_>,
) -> Result<(), Stopped> {
    let rows = (PIECE / cols).max(1).next_multiple_of(TOGETHER);
    let mut buffer = vec![0f32; TOGETHER * cols];
    for (i, piece) in a.chunks(rows * cols).enumerate() {
        check(keep_going)?;
        for (j, some) in piece.chunks(TOGETHER * cols).enumerate() {
            let decoded = &mut buffer[..some.len()];
            Isa::Best.run(Decode { from: some, to: decoded, cut });
            work(decoded, cols, i * rows + j * TOGETHER, &mut step);
        }
    }
    Ok(())
}

/// Decodes entries, those below the threshold as zeros.
struct Decode<'a, E> {
    from: &'a [E],
    to: &'a mut [f32],
    cut: Cut,
}

/// What becomes of entries on their way.
#[derive(Debug, Clone, Copy)]
struct Cut {
    threshold: f32,
    scale: f32,
}

impl<E: Element> Kernel for Decode<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Cut { threshold, scale } = self.cut;
        if threshold > 0.0 || scale != 1.0 {
            for (to, from) in self.to.iter_mut().zip(self.from) {
                let w = from.get();
                *to = if w.abs() > threshold { w * scale } else { 0.0 };
            }
        } else {
            for (to, from) in self.to.iter_mut().zip(self.from) {
                *to = from.get();
            }
        }
    }
}

/// A few decoded rows, the first of them number `first`.
fn work(rows: &[f32], cols: usize, first: usize, step: &mut Step<'_>) {
    let arch = Isa::Best.arch();
    let count = rows.len() / cols;
    let of = |r: usize| &rows[r * cols..(r + 1) * cols];
    match step {
        Step::Both { v, out } => {
            if count == TOGETHER {
                let four: [&[f32]; TOGETHER] = std::array::from_fn(of);
                let y = arch.dispatch(Dots { rows: four, v });
                arch.dispatch(Add { rows: four, y, out });
            } else {
                for r in 0..count {
                    let y = arch.dispatch(Dots { rows: [of(r)], v });
                    arch.dispatch(Add { rows: [of(r)], y, out });
                }
            }
        }
        Step::Plain { v, out } => {
            if count == TOGETHER {
                let y: [f32; TOGETHER] = arch.dispatch(Dots { rows: std::array::from_fn(of), v });
                out[first..first + TOGETHER].copy_from_slice(&y);
            } else {
                for r in 0..count {
                    let [y] = arch.dispatch(Dots { rows: [of(r)], v });
                    out[first + r] = y;
                }
            }
        }
        Step::Transposed { u, out } => {
            if count == TOGETHER {
                let y: [f32; TOGETHER] = std::array::from_fn(|r| u[first + r]);
                arch.dispatch(Add { rows: std::array::from_fn(of), y, out });
            } else {
                for r in 0..count {
                    arch.dispatch(Add { rows: [of(r)], y: [u[first + r]], out });
                }
            }
        }
        Step::Largest { so_far } => **so_far = rows.iter().fold(**so_far, |top, w| top.max(w.abs())),
        Step::Squares { v, sum } => {
            for r in 0..count {
                let y = Isa::Best.run(Wide { row: of(r), v });
                **sum += y * y;
            }
        }
    }
}

/// y = row·v for several rows.
struct Dots<'a, const R: usize> {
    rows: [&'a [f32]; R],
    v: &'a [f32],
}

impl<const R: usize> WithSimd for Dots<'_, R> {
    type Output = [f32; R];
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; R] {
        let (v, v_rest) = S::as_simd_f32s(self.v);
        let mut sums = [[simd.splat_f32s(0.0); 2]; R];
        let mut heads: [&[S::f32s]; R] = [&[]; R];
        let mut out = [0f32; R];
        for r in 0..R {
            let (head, rest) = S::as_simd_f32s(self.rows[r]);
            heads[r] = &head[..v.len()];
            out[r] = rest.iter().zip(v_rest).map(|(a, x)| a * x).sum();
        }
        let even = v.len() / 2 * 2;
        let mut i = 0;
        while i < even {
            for r in 0..R {
                sums[r][0] = simd.mul_add_e_f32s(heads[r][i], v[i], sums[r][0]);
                sums[r][1] = simd.mul_add_e_f32s(heads[r][i + 1], v[i + 1], sums[r][1]);
            }
            i += 2;
        }
        for r in 0..R {
            if even < v.len() {
                sums[r][0] = simd.mul_add_e_f32s(heads[r][even], v[even], sums[r][0]);
            }
            out[r] += simd.reduce_sum_f32s(simd.add_f32s(sums[r][0], sums[r][1]));
        }
        out
    }
}

/// out += Σ y·row.
struct Add<'a, const R: usize> {
    rows: [&'a [f32]; R],
    y: [f32; R],
    out: &'a mut [f32],
}

impl<const R: usize> WithSimd for Add<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (out, out_rest) = S::as_mut_simd_f32s(self.out);
        let mut heads: [&[S::f32s]; R] = [&[]; R];
        let mut factors = [simd.splat_f32s(0.0); R];
        for r in 0..R {
            let (head, rest) = S::as_simd_f32s(self.rows[r]);
            heads[r] = &head[..out.len()];
            factors[r] = simd.splat_f32s(self.y[r]);
            for (o, a) in out_rest.iter_mut().zip(rest) {
                *o += self.y[r] * a;
            }
        }
        for (i, o) in out.iter_mut().enumerate() {
            let mut sum = *o;
            for r in 0..R {
                sum = simd.mul_add_e_f32s(factors[r], heads[r][i], sum);
            }
            *o = sum;
        }
    }
}

/// Products of `w` with each row of `basis`, which has rows as long as `w`.
pub fn dots(basis: &[f32], w: &[f32]) -> Vec<f32> {
    let arch = Isa::Best.arch();
    let mut out = Vec::with_capacity(basis.len() / w.len().max(1));
    for rows in basis.chunks(TOGETHER * w.len().max(1)) {
        let of = |r: usize| &rows[r * w.len()..(r + 1) * w.len()];
        if rows.len() == TOGETHER * w.len() {
            out.extend(arch.dispatch(Dots::<TOGETHER> { rows: std::array::from_fn(of), v: w }));
        } else {
            out.extend((0..rows.len() / w.len()).map(|r| arch.dispatch(Dots { rows: [of(r)], v: w })[0]));
        }
    }
    out
}

/// Takes from `w` what lies along the orthonormal rows of `basis`.
pub fn remove(basis: &[f32], w: &mut [f32]) {
    let parts: Vec<f32> = dots(basis, w).iter().map(|x| -x).collect();
    let rows = basis.len() / w.len().max(1);
    let mut r = 0;
    while r < rows {
        let count = (rows - r).min(TOGETHER);
        let some = &basis[r * w.len()..(r + count) * w.len()];
        work(some, w.len(), r, &mut Step::Transposed { u: &parts, out: w });
        r += count;
    }
}

/// row·v in `f64`.
struct Wide<'a> {
    row: &'a [f32],
    v: &'a [f64],
}

impl Kernel for Wide<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        const LANES: usize = 32;
        let mut sums = [0f64; LANES];
        let (chunks, rest) = self.row.as_chunks::<LANES>();
        let (vs, v_rest) = self.v.as_chunks::<LANES>();
        for (a, x) in chunks.iter().zip(vs) {
            for k in 0..LANES {
                sums[k] += f64::from(a[k]) * x[k];
            }
        }
        let rest: f64 = rest.iter().zip(v_rest).map(|(&a, x)| f64::from(a) * x).sum();
        rest + sums.iter().sum::<f64>()
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
            let sparse = Sparse { threshold, ..Sparse::new(held, rows, cols) };
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
        let sparse = Sparse::new(Held::F32(&a), 3, 4);
        assert_eq!(sparse.gram(&[1.0; 3], &mut [0.0; 3], &|| false), Err(Stopped));
    }
}
