//! Products with a matrix and its transpose in one pass over the stored entries, in `f32`, for estimates: AᵀA·v, A·v
//! and Aᵀ·u, entries below a threshold left out on the way where wanted.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel};
use super::{KeepGoing, Stopped, interrupt::check};
use pulp::bytemuck::{cast_slice, pod_read_unaligned};
use pulp::{Simd, WithSimd};
use std::ops::Range;

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
/// Columns whose parts of the vectors stay in the innermost cache.
const TILE: usize = 1024;
/// Entries between two questions whether to go on.
const PIECE: usize = 1 << 22;

/// A stored entry, by itself and in vectors.
trait Element: pulp::bytemuck::Pod {
    fn get(self) -> f32;
    /// Two vectors of entries from the bytes of as many.
    fn load<S: Simd>(simd: S, bytes: &[u8]) -> [S::f32s; 2];
    /// Where the entries of the `i`-th two vectors of a row belong in a vector of [`Order`] that has `half` pairs.
    fn places<S: Simd>(i: usize, half: usize) -> [usize; 2];
}

/// Vectors in the order in which entries are loaded: as they are, or for bfloat16 those at even places before those at
/// odd ones (a vector of 32-bit words holds both), a last one without a partner at the end.
fn arrange(v: &[f32], held: Held<'_>) -> Vec<f32> {
    if !matches!(held, Held::BF16(_)) {
        return v.to_vec();
    }
    let (pairs, last) = v.as_chunks::<2>();
    pairs.iter().map(|p| p[0]).chain(pairs.iter().map(|p| p[1])).chain(last.iter().copied()).collect()
}

/// The inverse of [`arrange`].
fn restore(arranged: &[f32], held: Held<'_>, out: &mut [f32]) {
    if !matches!(held, Held::BF16(_)) {
        out.copy_from_slice(arranged);
        return;
    }
    let half = arranged.len() / 2;
    let (pairs, last) = out.as_chunks_mut::<2>();
    for (i, pair) in pairs.iter_mut().enumerate() {
        *pair = [arranged[i], arranged[half + i]];
    }
    last.copy_from_slice(&arranged[2 * half..]);
}

#[inline(always)]
fn consecutive<S: Simd>(i: usize) -> [usize; 2] {
    [2 * i * S::F32_LANES, (2 * i + 1) * S::F32_LANES]
}

#[inline(always)]
fn two<S: Simd>(bytes: &[u8]) -> [S::f32s; 2] {
    let (a, b) = bytes.split_at(bytes.len() / 2);
    [pod_read_unaligned(a), pod_read_unaligned(b)]
}

impl Element for f32 {
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }
    #[inline(always)]
    fn load<S: Simd>(_: S, bytes: &[u8]) -> [S::f32s; 2] {
        two::<S>(bytes)
    }
    #[inline(always)]
    fn places<S: Simd>(i: usize, _: usize) -> [usize; 2] {
        consecutive::<S>(i)
    }
}

// Vectors are loaded in the machine's byte order.
#[cfg(target_endian = "big")]
compile_error!("weights are read as little-endian words");

impl Element for [u8; 4] {
    #[inline(always)]
    fn get(self) -> f32 {
        f32::from_le_bytes(self)
    }
    #[inline(always)]
    fn load<S: Simd>(_: S, bytes: &[u8]) -> [S::f32s; 2] {
        two::<S>(bytes)
    }
    #[inline(always)]
    fn places<S: Simd>(i: usize, _: usize) -> [usize; 2] {
        consecutive::<S>(i)
    }
}

impl Element for [u8; 2] {
    #[inline(always)]
    fn get(self) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(self)) << 16)
    }
    #[inline(always)]
    fn load<S: Simd>(simd: S, bytes: &[u8]) -> [S::f32s; 2] {
        let words: S::u32s = pod_read_unaligned(bytes);
        let even = simd.wrapping_dyn_shl_u32s(words, simd.splat_u32s(16));
        let odd = simd.and_u32s(words, simd.splat_u32s(0xffff_0000));
        [simd.transmute_f32s_u32s(even), simd.transmute_f32s_u32s(odd)]
    }
    #[inline(always)]
    fn places<S: Simd>(i: usize, half: usize) -> [usize; 2] {
        [i * S::F32_LANES, half + i * S::F32_LANES]
    }
}

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
        let slack = 1.0 - 4.0 * (self.rows + self.cols) as f64 * f64::EPSILON;
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

/// What becomes of entries on their way.
#[derive(Debug, Clone, Copy)]
struct Cut {
    threshold: f32,
    scale: f32,
    isa: Isa,
}

impl Cut {
    #[inline(always)]
    fn entry<E: Element, const CUT: bool>(self, entry: E) -> f32 {
        let w = entry.get();
        match CUT {
            false => w,
            true if w.abs() > self.threshold => w * self.scale,
            true => 0.0,
        }
    }
    #[inline(always)]
    fn entries<S: Simd, const CUT: bool>(self, simd: S, w: S::f32s) -> S::f32s {
        if !CUT {
            return w;
        }
        let kept = simd.greater_than_f32s(simd.abs_f32s(w), simd.splat_f32s(self.threshold));
        simd.select_f32s(kept, simd.mul_f32s(w, simd.splat_f32s(self.scale)), simd.splat_f32s(0.0))
    }
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

/// y += row·v for each row and each of P vectors, the P products of a row together; R rows at a time.
struct Dots<'a, E, const P: usize, const R: usize, const CUT: bool> {
    rows: &'a [E],
    v: &'a [f32],
    y: &'a mut [f32],
    cut: Cut,
}

/// A vector from where it lies.
#[inline(always)]
fn vector<S: Simd>(v: &[f32], at: usize) -> S::f32s {
    pod_read_unaligned(cast_slice(&v[at..at + S::F32_LANES]))
}

/// Pairs of vectors in a row of so many entries, and from where on entries are taken one by one: as
/// `(place in the row, place in a vector)`.
#[inline(always)]
fn rest<S: Simd, E: Element>(cols: usize) -> (usize, impl Iterator<Item = (usize, usize)> + Clone) {
    let half = cols / 2;
    let whole = half / S::F32_LANES;
    let paired = size_of::<E>() == 2;
    let place = move |j: usize| match paired {
        true if j < 2 * half => j / 2 + (j % 2) * half,
        _ => j,
    };
    (whole, (2 * whole * S::F32_LANES..cols).map(move |j| (j, place(j))))
}

impl<E: Element, const P: usize, const R: usize, const CUT: bool> WithSimd for Dots<'_, E, P, R, CUT> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let cols = self.v.len() / P;
        let (whole, rest) = rest::<S, E>(cols);
        let tile = TILE / (2 * S::F32_LANES);
        for from in (0..whole).step_by(tile) {
            let (mut rows, mut y) = (self.rows, &mut *self.y);
            while rows.len() >= R * cols {
                let (some, others) = rows.split_at(R * cols);
                let (of, others_y) = y.split_at_mut(R * P);
                dots::<S, E, P, R, CUT>(simd, some, self.v, from..(from + tile).min(whole), of, self.cut);
                (rows, y) = (others, others_y);
            }
            for (row, y) in rows.chunks_exact(cols).zip(y.chunks_exact_mut(P)) {
                dots::<S, E, P, 1, CUT>(simd, row, self.v, from..(from + tile).min(whole), y, self.cut);
            }
        }
        for (row, y) in self.rows.chunks_exact(cols).zip(self.y.chunks_exact_mut(P)) {
            for (j, at) in rest.clone() {
                let w = self.cut.entry::<E, CUT>(row[j]);
                for p in 0..P {
                    y[p] += w * self.v[p * cols + at];
                }
            }
        }
    }
}

// Closures are functions of their own and not compiled for the instruction set: loops instead.

/// The part of [`Dots`] that some pairs of vectors of R rows give.
#[inline(always)]
fn dots<S: Simd, E: Element, const P: usize, const R: usize, const CUT: bool>(
    simd: S,
    rows: &[E],
    v: &[f32],
    range: Range<usize>,
    y: &mut [f32],
    cut: Cut,
) {
    let (cols, wide) = (v.len() / P, 2 * S::F32_LANES * size_of::<E>());
    let bytes: [&[u8]; R] = std::array::from_fn(|r| cast_slice(&rows[r * cols..(r + 1) * cols]));
    let mut sums = [[[simd.splat_f32s(0.0); 2]; P]; R];
    for i in range {
        let places = E::places::<S>(i, cols / 2);
        let mut w = [[simd.splat_f32s(0.0); 2]; R];
        for r in 0..R {
            let [a, b] = E::load(simd, &bytes[r][i * wide..(i + 1) * wide]);
            w[r] = [cut.entries::<S, CUT>(simd, a), cut.entries::<S, CUT>(simd, b)];
        }
        for p in 0..P {
            for k in 0..2 {
                let x = vector::<S>(v, p * cols + places[k]);
                for r in 0..R {
                    sums[r][p][k] = simd.mul_add_e_f32s(w[r][k], x, sums[r][p][k]);
                }
            }
        }
    }
    for r in 0..R {
        for p in 0..P {
            y[r * P + p] += simd.reduce_sum_f32s(simd.add_f32s(sums[r][p][0], sums[r][p][1]));
        }
    }
}

/// out += Σ y·row for each of P vectors.
struct Add<'a, E, const P: usize, const CUT: bool> {
    rows: &'a [E],
    y: &'a [f32],
    out: &'a mut [f32],
    cut: Cut,
}

impl<E: Element, const P: usize, const CUT: bool> WithSimd for Add<'_, E, P, CUT> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let cols = self.out.len() / P;
        let (whole, rest) = rest::<S, E>(cols);
        let tile = TILE / (2 * S::F32_LANES);
        for from in (0..whole).step_by(tile) {
            let range = from..(from + tile).min(whole);
            let (mut rows, mut y) = (self.rows, self.y);
            while rows.len() >= TOGETHER * cols {
                let (some, others) = rows.split_at(TOGETHER * cols);
                let (of, others_y) = y.split_at(TOGETHER * P);
                add::<S, E, P, TOGETHER, CUT>(simd, some, of, range.clone(), self.out, self.cut);
                (rows, y) = (others, others_y);
            }
            for (row, y) in rows.chunks_exact(cols).zip(y.chunks_exact(P)) {
                add::<S, E, P, 1, CUT>(simd, row, y, range.clone(), self.out, self.cut);
            }
        }
        for (row, y) in self.rows.chunks_exact(cols).zip(self.y.chunks_exact(P)) {
            for (j, at) in rest.clone() {
                let w = self.cut.entry::<E, CUT>(row[j]);
                for p in 0..P {
                    self.out[p * cols + at] += y[p] * w;
                }
            }
        }
    }
}

/// The part of [`Add`] that some pairs of vectors of R rows give.
#[inline(always)]
fn add<S: Simd, E: Element, const P: usize, const R: usize, const CUT: bool>(
    simd: S,
    rows: &[E],
    y: &[f32],
    range: Range<usize>,
    out: &mut [f32],
    cut: Cut,
) {
    let (cols, wide) = (out.len() / P, 2 * S::F32_LANES * size_of::<E>());
    let bytes: [&[u8]; R] = std::array::from_fn(|r| cast_slice(&rows[r * cols..(r + 1) * cols]));
    let mut factors = [[simd.splat_f32s(0.0); P]; R];
    for r in 0..R {
        for p in 0..P {
            factors[r][p] = simd.splat_f32s(y[r * P + p]);
        }
    }
    for i in range {
        let places = E::places::<S>(i, cols / 2);
        let mut w = [[simd.splat_f32s(0.0); 2]; R];
        for r in 0..R {
            let [a, b] = E::load(simd, &bytes[r][i * wide..(i + 1) * wide]);
            w[r] = [cut.entries::<S, CUT>(simd, a), cut.entries::<S, CUT>(simd, b)];
        }
        for p in 0..P {
            for k in 0..2 {
                let at = p * cols + places[k];
                let mut sum = vector::<S>(out, at);
                for r in 0..R {
                    sum = simd.mul_add_e_f32s(factors[r][p], w[r][k], sum);
                }
                out[at..at + S::F32_LANES].copy_from_slice(cast_slice(&[sum]));
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

/// Takes from `w` what lies along the orthonormal rows of `basis`; how much of each.
pub fn remove(basis: &[f32], w: &mut [f32]) -> Vec<f32> {
    take::<1, TOGETHER>(basis, w)
}

/// The same of [`BLOCK`] vectors, one after the other.
pub fn remove_block(basis: &[f32], w: &mut [f32]) {
    take::<BLOCK, PAIR>(basis, w);
}

fn take<const P: usize, const R: usize>(basis: &[f32], w: &mut [f32]) -> Vec<f32> {
    let parts = along::<P, R>(basis, w);
    if !parts.is_empty() {
        let away: Vec<f32> = parts.iter().map(|x| -x).collect();
        let step = &mut Step::Transposed { u: &away, out: w };
        let cols = basis.len() / (parts.len() / P);
        work::<f32, P, R, false>(basis, cols, (0, parts.len() / P), PLAIN, step);
    }
    parts
}

/// row·v in `f64`.
struct Wide<'a, E, const CUT: bool> {
    row: &'a [E],
    v: &'a [f64],
    cut: Cut,
}

impl<E: Element, const CUT: bool> Kernel for Wide<'_, E, CUT> {
    type Output = f64;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        const LANES: usize = 32;
        let entry = |w: E| f64::from(self.cut.entry::<E, CUT>(w));
        let mut sums = [0f64; LANES];
        let (chunks, rest) = self.row.as_chunks::<LANES>();
        let (vs, v_rest) = self.v.as_chunks::<LANES>();
        for (a, x) in chunks.iter().zip(vs) {
            for k in 0..LANES {
                sums[k] += entry(a[k]) * x[k];
            }
        }
        let rest: f64 = rest.iter().zip(v_rest).map(|(&a, x)| entry(a) * x).sum();
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
