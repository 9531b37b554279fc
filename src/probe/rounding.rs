//! What rounding the entries to a few bits costs, for every number of bits and every way to share a scale at once.

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
    #[allow(clippy::inline_always, reason = "see `numerics::isa`")]
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f32 {
        largest(self.0)
    }
}

#[allow(clippy::inline_always, reason = "see `numerics::isa`")]
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
    #[allow(clippy::inline_always, reason = "see `numerics::isa`")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut wide = [[0f64; LANES]; WIDTHS];
        for span in self.block.chunks(self.width.max(1)) {
            let most = self.given.unwrap_or_else(|| largest(span));
            // The smallest scale and the smallest inverse; where one has lost digits, plain steps are taken.
            if (most / TOPS[WIDTHS - 1]).is_normal()
                && (TOPS[0] / most).is_normal()
                && (TOPS[WIDTHS - 1] / most).is_finite()
            {
                for part in span.chunks(FOLD) {
                    residues(simd, part, most, &mut wide);
                }
            } else {
                self.sums.iter_mut().zip(TOPS).for_each(|(sum, top)| *sum += plainly(span, most, top));
            }
        }
        for (sum, wide) in self.sums.iter_mut().zip(&wide) {
            *sum += wide.iter().sum::<f64>();
        }
    }
}

/// Entries after which sums in `f32` move to `f64`.
const FOLD: usize = 1 << 11;

/// scale² Σ (x − round(x))² with x = w/scale, ties to even, for every number of bits.
#[allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]
#[inline(always)]
fn residues<S: Simd>(simd: S, span: &[f32], most: f32, wide: &mut [[f64; LANES]; WIDTHS]) {
    // Adding and taking away 1.5·2²³ rounds a number of magnitude up to 2²² to an integer, ties to even, on every
    // instruction set.
    let magic = simd.splat_f32s(12_582_912.0);
    let mut inverse = [magic; WIDTHS];
    for i in 0..WIDTHS {
        inverse[i] = simd.splat_f32s(TOPS[i] / most);
    }
    let mut sums = [simd.splat_f32s(0.0); WIDTHS];
    let (vectors, rest) = S::as_simd_f32s(span);
    for &w in vectors {
        for i in 0..WIDTHS {
            let x = simd.mul_f32s(w, inverse[i]);
            let r = simd.sub_f32s(x, simd.sub_f32s(simd.add_f32s(x, magic), magic));
            sums[i] = simd.mul_add_e_f32s(r, r, sums[i]);
        }
    }
    for i in 0..WIDTHS {
        let scale = f64::from(most / TOPS[i]);
        let square = scale * scale;
        let lanes: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&sums[i]));
        for k in 0..S::F32_LANES.min(LANES) {
            wide[i][k] += f64::from(lanes[k]) * square;
        }
        for w in rest {
            let x = f64::from(*w * (TOPS[i] / most));
            wide[i][0] += (x - x.round_ties_even()).powi(2) * square;
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
