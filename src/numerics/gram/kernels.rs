//! What a pass does with a few rows, in vectors: products with several vectors, sums of multiples of the rows.
//!
//! Entries are decoded in registers. Closures are functions of their own, which are not compiled for the instruction
//! set: loops stand in their place.

use super::Held;
use crate::numerics::isa::{Isa, Kernel};
use pulp::bytemuck::{cast_slice, pod_read_unaligned};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Rows worked on together: the vectors are loaded once for all of them.
const TOGETHER: usize = 4;
/// Columns whose parts of the vectors stay in the innermost cache.
const TILE: usize = 1024;

/// A stored entry, by itself and in vectors.
pub(super) trait Element: pulp::bytemuck::Pod {
    fn get(self) -> f32;
    /// Two vectors of entries from the bytes of as many.
    fn load<S: Simd>(simd: S, bytes: &[u8]) -> [S::f32s; 2];
    /// Where the entries of the `i`-th two vectors of a row belong in a vector of [`Order`] that has `half` pairs.
    fn places<S: Simd>(i: usize, half: usize) -> [usize; 2];
}

/// Vectors in the order in which entries are loaded: as they are, or for bfloat16 those at even places before those at
/// odd ones (a vector of 32-bit words holds both), a last one without a partner at the end.
pub(super) fn arrange(v: &[f32], held: Held<'_>) -> Vec<f32> {
    if !matches!(held, Held::BF16(_)) {
        return v.to_vec();
    }
    let (pairs, last) = v.as_chunks::<2>();
    pairs.iter().map(|p| p[0]).chain(pairs.iter().map(|p| p[1])).chain(last.iter().copied()).collect()
}

/// The inverse of [`arrange`].
pub(super) fn restore(arranged: &[f32], held: Held<'_>, out: &mut [f32]) {
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

/// What becomes of entries on their way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub threshold: f32,
    pub scale: f32,
    pub isa: Isa,
}

impl Cut {
    #[inline(always)]
    pub fn entry<E: Element, const CUT: bool>(self, entry: E) -> f32 {
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

/// y += row·v for each row and each of P vectors, the P products of a row together; R rows at a time.
pub(super) struct Dots<'a, E, const P: usize, const R: usize, const CUT: bool> {
    pub rows: &'a [E],
    pub v: &'a [f32],
    pub y: &'a mut [f32],
    pub cut: Cut,
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
    let place = move |j: usize| if paired && j < 2 * half { j / 2 + (j % 2) * half } else { j };
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
pub(super) struct Add<'a, E, const P: usize, const CUT: bool> {
    pub rows: &'a [E],
    pub y: &'a [f32],
    pub out: &'a mut [f32],
    pub cut: Cut,
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

/// row·v in `f64`.
pub(super) struct Wide<'a, E, const CUT: bool> {
    pub row: &'a [E],
    pub v: &'a [f64],
    pub cut: Cut,
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
