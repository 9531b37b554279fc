//! What rounding the entries to a few bits costs, for every number of bits and every way to share a scale at once.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use super::{Ask, Fact, Probe, ProbeError, ProbeId, stripes};
use crate::model::{Layer, Orientation, Stored};
use crate::numerics::isa::{Isa, Kernel};
use crate::treat::quantise::BITS;
use crate::treat::{Granularity, Quantise};
use pulp::{Simd, WithSimd, bytemuck};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Ways to share a scale that are measured, in the order in which a key goes through them.
pub const GRANULARITIES: [Granularity; 5] =
    [Granularity::Row, Granularity::Group(128), Granularity::Group(64), Granularity::Group(32), Granularity::Tensor];

/// Numbers of bits that are measured.
const WIDTHS: usize = (*BITS.end() - *BITS.start() + 1) as usize;

/// Σ (w − Q(w))² of a layer's entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rounding {
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// For each of [`GRANULARITIES`], for each number of bits from the smallest on.
    pub energy: Vec<Vec<f64>>,
}

impl Rounding {
    /// Σ (w − Q(w))²; `None` for groups of a size that was not measured.
    pub fn energy(&self, how: Quantise) -> Option<f64> {
        let per = match how.per {
            // A group that holds a whole row is that row.
            Granularity::Group(g) if g >= self.shape[1] => Granularity::Row,
            per => per,
        };
        let at = GRANULARITIES.iter().position(|g| *g == per)?;
        self.energy.get(at)?.get(usize::from(how.bits.checked_sub(*BITS.start())?)).copied()
    }
}

/// Measures [`Rounding`].
pub struct RoundingProbe;

impl Probe for RoundingProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Rounding
    }
    fn title(&self) -> &'static str {
        "rounding"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        3.0 * layer.rows() as f64 * layer.cols() as f64
    }
    fn decodes(&self, layer: &Layer) -> bool {
        layer.orientation == Orientation::InOut
    }
    fn workspace(&self, _layer: &Layer, _threads: usize) -> u64 {
        1 << 20
    }
    fn measure(&self, _layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        Ok(vec![Fact::Rounding(Arc::new(rounding(entries, ask)?))])
    }
}

/// Measures a matrix: a pass for the largest entry of all, then one for everything.
pub fn rounding(entries: &Stored, ask: &Ask) -> Result<Rounding, ProbeError> {
    entries.fit()?;
    let shape @ [_, cols] = entries.shape();
    let most = stripes::pass(entries, ask, |_| 0f32, |most, _, block| *most = most.max(Isa::Best.run(Largest(block))))?;
    let largest = most.into_iter().fold(0.0, f32::max);
    let new = |_| [[0f64; WIDTHS]; GRANULARITIES.len()];
    let sums = stripes::pass(entries, ask, new, |sums, _, block| {
        for (per, sums) in GRANULARITIES.iter().zip(sums) {
            let arch = Isa::Best.arch();
            match *per {
                Granularity::Tensor => {
                    arch.dispatch(Spans { block, width: block.len(), given: Some(largest), sums });
                }
                Granularity::Row => arch.dispatch(Spans { block, width: cols, given: None, sums }),
                Granularity::Group(g) => {
                    for row in block.chunks_exact(cols.max(1)) {
                        arch.dispatch(Spans { block: row, width: g, given: None, sums });
                    }
                }
            }
        }
    })?;
    let energy = |per: usize, bits: usize| sums.iter().map(|s| s[per][bits]).sum();
    let energy = (0..GRANULARITIES.len()).map(|per| (0..WIDTHS).map(|bits| energy(per, bits)).collect()).collect();
    Ok(Rounding { shape, energy })
}

const LANES: usize = 16;

/// Largest magnitude.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f32 {
        largest(self.0)
    }
}

#[inline(always)]
fn largest(entries: &[f32]) -> f32 {
    // Magnitudes order like their bits.
    let (chunks, rest) = entries.as_chunks::<LANES>();
    let mut most = [0u32; LANES];
    for chunk in chunks {
        for (m, w) in most.iter_mut().zip(chunk) {
            *m = (*m).max(w.to_bits() & 0x7fff_ffff);
        }
    }
    let bits = rest.iter().map(|w| w.to_bits() & 0x7fff_ffff).chain(most).max().unwrap_or(0);
    f32::from_bits(bits)
}

/// The same of a short stretch, within a kernel.
#[inline(always)]
fn largest_of<S: Simd>(simd: S, entries: &[f32]) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(entries);
    let mut most = simd.splat_f32s(0.0);
    for &w in vectors {
        most = simd.max_f32s(most, simd.abs_f32s(w));
    }
    let mut most = simd.reduce_max_f32s(most);
    for w in rest {
        most = most.max(w.abs());
    }
    most
}

/// Largest level of each number of bits.
const TOPS: [f32; WIDTHS] = {
    let mut tops = [0.0; WIDTHS];
    let mut i = 0;
    while i < WIDTHS {
        tops[i] = ((1u16 << (*BITS.start() as usize + i - 1)) - 1) as f32;
        i += 1;
    }
    tops
};

/// Entries that share scales by stretches; their errors are added to `sums`, one for each number of bits.
struct Spans<'a> {
    block: &'a [f32],
    width: usize,
    /// The largest magnitude, where it is not that of the stretch.
    given: Option<f32>,
    sums: &'a mut [f64; WIDTHS],
}

impl WithSimd for Spans<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, width, given, sums } = self;
        if width > FOLD {
            for span in block.chunks(width) {
                let most = match given {
                    Some(most) => most,
                    None => largest_of(simd, span),
                };
                for part in span.chunks(FOLD) {
                    spans(simd, part, FOLD, Some(most), sums);
                }
            }
            return;
        }
        let width = width.max(1);
        for some in block.chunks(FOLD.next_multiple_of(width)) {
            spans(simd, some, width, given, sums);
        }
    }
}

/// The errors of a few stretches. Squares are summed up relative to the largest entry of all of them, so that none overflows
/// or vanishes.
#[inline(always)]
fn spans<S: Simd>(simd: S, some: &[f32], width: usize, given: Option<f32>, sums: &mut [f64; WIDTHS]) {
    // Closures would not be compiled for the instruction set.
    let unit = match given {
        Some(most) => most,
        None => largest_of(simd, some),
    };
    let mut residues = Residues::new(simd);
    for span in some.chunks(width) {
        let most = match given {
            Some(most) => most,
            None if span.len() == some.len() => unit,
            None => largest_of(simd, span),
        };
        // Where a scale or an inverse would have lost digits, or squares of scales would, plain steps are taken.
        let plain = most < unit * 1e-15 || !(SAFE[0]..=SAFE[1]).contains(&most);
        if plain {
            sums.iter_mut().zip(TOPS).for_each(|(sum, top)| *sum += plainly(span, most, top));
        } else {
            residues.add(simd, span, most, unit);
        }
    }
    residues.finish(unit, sums);
}

/// Largest magnitudes between which scales of all widths, their inverses and the inverse of the magnitude are normal numbers.
const SAFE: [f32; 2] = [TOPS[WIDTHS - 1] * 1e-37, 8e37];

/// Entries after which sums in `f32` move to `f64`.
const FOLD: usize = 1 << 11;

/// Σ scale² (x − round(x))² with x = w/scale, ties to even, for every number of bits; as multiples of (unit/top)².
struct Residues<S: Simd> {
    sums: [S::f32s; WIDTHS],
    /// Of entries that fill no vector.
    rest: [f32; WIDTHS],
}

impl<S: Simd> Residues<S> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        Self { sums: [simd.splat_f32s(0.0); WIDTHS], rest: [0.0; WIDTHS] }
    }

    #[inline(always)]
    fn add(&mut self, simd: S, span: &[f32], most: f32, unit: f32) {
        // Adding and taking away 1.5·2²³ rounds a number of magnitude up to 2²² to an integer, ties to even, on every
        // instruction set.
        const MAGIC: f32 = 12_582_912.0;
        let magic = simd.splat_f32s(MAGIC);
        let (inverse, relative) = (1.0 / most, (most / unit) * (most / unit));
        let (vectors, rest) = S::as_simd_f32s(span);
        let mut sums = [simd.splat_f32s(0.0); WIDTHS];
        let mut factors = [magic; WIDTHS];
        for i in 0..WIDTHS {
            factors[i] = simd.splat_f32s(TOPS[i] * inverse);
        }
        for &w in vectors {
            for i in 0..WIDTHS {
                let x = simd.mul_f32s(w, factors[i]);
                let r = simd.sub_f32s(x, simd.sub_f32s(simd.add_f32s(x, magic), magic));
                sums[i] = simd.mul_add_e_f32s(r, r, sums[i]);
            }
        }
        let relatives = simd.splat_f32s(relative);
        for i in 0..WIDTHS {
            self.sums[i] = simd.mul_add_e_f32s(sums[i], relatives, self.sums[i]);
            for w in rest {
                let x = *w * (TOPS[i] * inverse);
                let r = x - ((x + MAGIC) - MAGIC);
                self.rest[i] += r * r * relative;
            }
        }
    }

    #[inline(always)]
    fn finish(self, unit: f32, into: &mut [f64; WIDTHS]) {
        for (i, sum) in into.iter_mut().enumerate() {
            let lanes: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&self.sums[i]));
            let all = lanes.iter().map(|x| f64::from(*x)).sum::<f64>() + f64::from(self.rest[i]);
            *sum += all * (f64::from(unit) / f64::from(TOPS[i])).powi(2);
        }
    }
}

/// The same by the steps of `treat::quantise`, one entry after the other.
fn plainly(span: &[f32], most: f32, top: f32) -> f64 {
    let scale = most / top;
    if scale == 0.0 {
        return 0.0;
    }
    let error = |w: f32| f64::from(w) - f64::from((w / scale).round_ties_even().clamp(-top, top) * scale);
    span.iter().map(|w| error(*w).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matrix;
    use crate::treat::quantise::quantise;
    use proptest::prelude::*;

    const GO: Ask = Ask { keep_going: &|| true, threads: 1 };

    #[test]
    fn a_worked_row_has_its_errors() {
        // Scale 1: 2.5 rounds to 2 (ties to even), 0.4 to 0. In two bits the scale is 7: only 7 stays.
        let row = Matrix::new(1, 4, vec![7.0, 2.5, -0.4, 0.0]).unwrap();
        let found = rounding(&Stored::from(row), &GO).unwrap();
        let energy = |bits| found.energy(Quantise { bits, per: Granularity::Row }).unwrap();
        assert!((energy(4) - (0.25 + 0.16)).abs() < 1e-6, "{}", energy(4));
        assert!((energy(2) - (6.25 + 0.16)).abs() < 1e-6, "{}", energy(2));
        assert_eq!(
            found.energy(Quantise { bits: 4, per: Granularity::Group(48) }),
            found.energy(Quantise { bits: 4, per: Granularity::Row })
        );
        let zero = rounding(&Stored::from(Matrix::new(2, 2, vec![0.0; 4]).unwrap()), &GO).unwrap();
        assert!(zero.energy.iter().flatten().all(|e| *e == 0.0));
        let bad = Matrix::new(1, 2, vec![f32::NAN, 1.0]).unwrap();
        assert!(matches!(rounding(&Stored::from(bad), &GO), Err(ProbeError::Unfit(u)) if (u.row, u.col) == (0, 0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn it_says_what_rounding_does(rows in 1usize..6, cols in 1usize..300, seed in 0u32..1000, power in -44i32..38) {
            let unit = |i: u32| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0;
            let data: Vec<f32> = (0..rows * cols).map(|i| unit(i as u32).powi(3) * 10f32.powi(power)).collect();
            let matrix = Matrix::new(rows, cols, data).unwrap();
            let found = rounding(&Stored::from(matrix.clone()), &GO).unwrap();
            let energy: f64 = matrix.data.iter().map(|w| f64::from(*w).powi(2)).sum();
            for per in GRANULARITIES {
                for bits in BITS {
                    let how = Quantise { bits, per };
                    let mut rounded = matrix.clone();
                    quantise(&mut rounded, how, &|| true).unwrap();
                    let want: f64 = rounded.data.iter().zip(&matrix.data).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                    let got = found.energy(how).unwrap();
                    prop_assert!((got - want).abs() <= 1e-4 * want + 1e-9 * energy, "{how:?}: {got} {want}");
                }
            }
        }
    }
}
