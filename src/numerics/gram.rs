//! Products with a matrix and its transpose in one pass over the stored entries, in `f32`, for estimates: AᵀA·v, A·v
//! and Aᵀ·u, entries below a threshold left out on the way where wanted.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

mod kernels;

use super::isa::Isa;
use super::{KeepGoing, Stopped, interrupt::check};
use kernels::{Add, Cut, Dots, Element, Wide, arrange, restore};

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
    /// What the products are compiled for.
    pub isa: Isa,
}

/// Rows worked on together: the vectors are loaded once for all of them. Of one vector, and of several.
const TOGETHER: usize = 4;
/// See [`TOGETHER`].
const PAIR: usize = 2;
/// Vectors that a pass can take along at little more cost than one.
pub const BLOCK: usize = 4;
/// Bytes of entries that are used twice before they leave the cache.
const HOT: usize = 1 << 18;
/// Entries between two questions whether to go on.
const PIECE: usize = 1 << 22;

impl<'a> Sparse<'a> {
    /// All entries, as they are.
    pub fn new(held: Held<'a>, rows: usize, cols: usize) -> Self {
        Self { held, rows, cols, threshold: 0.0, scale: 1.0, isa: Isa::Best }
    }

    /// The same, its largest entry brought near 1, so that no square overflows or vanishes.
    pub fn scaled(&self, keep_going: KeepGoing<'_>) -> Result<Self, Stopped> {
        let mut largest = 0f32;
        Self { scale: 1.0, ..*self }.pass::<1, TOGETHER>(Step::Largest { so_far: &mut largest }, keep_going)?;
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
        self.grams::<1, TOGETHER>(v, out, keep_going)
    }

    /// The same of [`BLOCK`] vectors, one after the other in `v` and in `out`.
    pub fn gram_block(&self, v: &[f32], out: &mut [f32], keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
        self.grams::<BLOCK, PAIR>(v, out, keep_going)
    }

    fn grams<const P: usize, const R: usize>(
        &self,
        v: &[f32],
        out: &mut [f32],
        keep_going: KeepGoing<'_>,
    ) -> Result<(), Stopped> {
        let mut across = vec![0f32; P * self.cols];
        if self.rows < self.cols {
            self.pass::<P, R>(Step::Transposed { u: v, out: &mut across }, keep_going)?;
            return self.pass::<P, R>(Step::Plain { v: &across, out }, keep_going);
        }
        let cols = self.cols.max(1);
        let v: Vec<f32> = v.chunks(cols).flat_map(|v| arrange(v, self.held)).collect();
        self.pass::<P, R>(Step::Both { v: &v, out: &mut across }, keep_going)?;
        across.chunks(cols).zip(out.chunks_mut(cols)).for_each(|(from, to)| restore(from, self.held, to));
        Ok(())
    }

    /// ‖Av‖/‖v‖ of the matrix as it is, not scaled, for the right vector v that belongs to `x`, a vector of [`Self::small`] entries: what the largest
    /// singular value surely is not below. Products and sums are taken in `f64`, and their rounding subtracted.
    pub fn stretch(&self, x: &[f32], keep_going: KeepGoing<'_>) -> Result<f64, Stopped> {
        let mut across = vec![0f32; self.cols];
        if self.rows >= self.cols {
            across.copy_from_slice(x);
        } else {
            let mut arranged = across.clone();
            self.pass::<1, TOGETHER>(Step::Transposed { u: x, out: &mut arranged }, keep_going)?;
            restore(&arranged, self.held, &mut across);
        }
        let v: Vec<f64> = across.iter().map(|&x| f64::from(x)).collect();
        let mut squares = 0.0;
        self.pass::<1, TOGETHER>(Step::Squares { v: &v, sum: &mut squares }, keep_going)?;
        let length: f64 = v.iter().map(|x| x * x).sum();
        // Products of two `f32` are exact in `f64`. A row's product adds at most d = n/32 + 64 terms one after the other (32
        // sums side by side, then these and the rest): it is off by d·u|a||v| (u = ε/2), so ‖Av‖ by d·u‖A‖_F‖v‖ ≤ d·u√k‖A‖₂‖v‖,
        // k = min(m, n). Squares of products, their sum over m rows and ‖v‖² are off by at most (m + 2)u and (n + 1)u of
        // themselves. Hence ‖A‖₂(1 + d·u√k) ≥ (‖Av‖/‖v‖)(1 − (m + n + 4)u); scaling by a power of two rounds entries below
        // 2⁻¹²⁶ of the largest at most. ε in place of u covers what products of these small numbers leave out.
        let deep = (self.cols as f64 / 32.0 + 64.0) * (self.small() as f64).sqrt();
        let slack = 1.0 - (deep + (self.rows + self.cols + 8) as f64) * f64::EPSILON;
        Ok(if length > 0.0 { (squares / length).sqrt() * slack / f64::from(self.scale) } else { 0.0 })
    }

    fn pass<const P: usize, const R: usize>(&self, step: Step<'_>, keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
        let (cols, cut) = (self.cols, Cut { threshold: self.threshold, scale: self.scale, isa: self.isa });
        if cols == 0 || self.rows == 0 {
            return Ok(());
        }
        match self.held {
            Held::F32(a) => pieces::<_, P, R>(a, cols, cut, step, keep_going),
            Held::Bytes(a) => pieces::<_, P, R>(a, cols, cut, step, keep_going),
            Held::BF16(a) => pieces::<_, P, R>(a, cols, cut, step, keep_going),
        }
    }
}

/// What a pass does with each row a: `u` and `v` are inputs, one entry a row or a column, as many vectors one after the
/// other as the pass takes along; those over the columns are arranged but for that of `Squares`.
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

fn pieces<E: Element, const P: usize, const R: usize>(
    a: &[E],
    cols: usize,
    cut: Cut,
    mut step: Step<'_>,
    keep_going: KeepGoing<'_>,
) -> Result<(), Stopped> {
    let total = a.len() / cols;
    let together = (HOT / (cols * size_of::<E>())).max(1).next_multiple_of(TOGETHER);
    let every = (PIECE / (cols * together)).max(1);
    for (i, rows) in a.chunks(together * cols).enumerate() {
        if i.is_multiple_of(every) {
            check(keep_going)?;
        }
        if cut.threshold > 0.0 || cut.scale != 1.0 {
            work::<E, P, R, true>(rows, cols, (i * together, total), cut, &mut step);
        } else {
            work::<E, P, R, false>(rows, cols, (i * together, total), cut, &mut step);
        }
    }
    Ok(())
}

/// Some rows, the first of them number `first` of `total`.
fn work<E: Element, const P: usize, const R: usize, const CUT: bool>(
    rows: &[E],
    cols: usize,
    (first, total): (usize, usize),
    cut: Cut,
    step: &mut Step<'_>,
) {
    let count = rows.len() / cols;
    let place = |i: usize| (i % P) * total + first + i / P;
    match step {
        Step::Both { v, out } => {
            let mut y = vec![0f32; count * P];
            cut.isa.arch().dispatch(Dots::<E, P, R, CUT> { rows, v, y: &mut y, cut });
            cut.isa.arch().dispatch(Add::<E, P, CUT> { rows, y: &y, out, cut });
        }
        Step::Plain { v, out } => {
            let mut y = vec![0f32; count * P];
            cut.isa.arch().dispatch(Dots::<E, P, R, CUT> { rows, v, y: &mut y, cut });
            y.into_iter().enumerate().for_each(|(i, y)| out[place(i)] = y);
        }
        Step::Transposed { u, out } => {
            let y: Vec<f32> = (0..count * P).map(|i| u[place(i)]).collect();
            cut.isa.arch().dispatch(Add::<E, P, CUT> { rows, y: &y, out, cut });
        }
        Step::Largest { so_far } => {
            **so_far = rows.iter().fold(**so_far, |top, w| top.max(cut.entry::<E, CUT>(*w).abs()));
        }
        Step::Squares { v, sum } => {
            for row in rows.chunks_exact(cols) {
                let y = cut.isa.run(Wide::<E, CUT> { row, v, cut });
                **sum += y * y;
            }
        }
    }
}

/// Entries as they are.
const PLAIN: Cut = Cut { threshold: 0.0, scale: 1.0, isa: Isa::Best };

/// Products of each row of `basis` with each of P vectors as long as a row: those with the first vector, then those with
/// the second.
fn along<const P: usize, const R: usize>(basis: &[f32], w: &[f32]) -> Vec<f32> {
    let cols = w.len() / P;
    let rows = basis.len() / cols.max(1);
    let mut out = vec![0.0; rows * P];
    if rows > 0 {
        work::<f32, P, R, false>(basis, cols, (0, rows), PLAIN, &mut Step::Plain { v: w, out: &mut out });
    }
    out
}

/// Products of `w` with each row of `basis`, which has rows as long as `w`.
pub fn products(basis: &[f32], w: &[f32]) -> Vec<f32> {
    along::<1, TOGETHER>(basis, w)
}

/// Takes from `w` what lies along the orthonormal rows of `basis`.
pub fn remove(basis: &[f32], w: &mut [f32]) {
    take::<1, TOGETHER>(basis, w);
}

/// The same of [`BLOCK`] vectors, one after the other.
pub fn remove_block(basis: &[f32], w: &mut [f32]) {
    take::<BLOCK, PAIR>(basis, w);
}

fn take<const P: usize, const R: usize>(basis: &[f32], w: &mut [f32]) {
    let parts = along::<P, R>(basis, w);
    if !parts.is_empty() {
        let away: Vec<f32> = parts.iter().map(|x| -x).collect();
        let step = &mut Step::Transposed { u: &away, out: w };
        let cols = basis.len() / (parts.len() / P);
        work::<f32, P, R, false>(basis, cols, (0, parts.len() / P), PLAIN, step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_those_of_plain_loops(
            rows in 1usize..40, cols in 1usize..90, seed in any::<u32>(), cut in 0u8..3, bf16: bool, isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]),
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
            let sparse = Sparse { threshold, isa, ..Sparse::new(held, rows, cols) };
            let n = sparse.small();
            let v: Vec<f32> = (0..n).map(|_| next().to_f32()).collect();
            let mut out = vec![9.0; n];
            sparse.gram(&v, &mut out, &|| true).unwrap();
            let w = |i: usize, j: usize| {
                let w = f64::from(a[i * cols + j]);
                if w.abs() > f64::from(threshold) { w } else { 0.0 }
            };
            let entry = |small: usize, large: usize| if rows >= cols { w(large, small) } else { w(small, large) };
            let mut several = vec![9.0; BLOCK * n];
            let block: Vec<f32> = (0..BLOCK).flat_map(|p| v.iter().map(move |x| x * (p as f32 - 1.5))).collect();
            sparse.gram_block(&block, &mut several, &|| true).unwrap();
            for (i, &found) in several.iter().enumerate() {
                let want = out[i % n] * ((i / n) as f32 - 1.5);
                prop_assert!((found - want).abs() < 1e-4 * (1.0 + want.abs()), "{found} {want}");
            }
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
