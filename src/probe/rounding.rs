//! What rounding the entries to a few bits costs, for every number of bits and every way to share a scale at once.

use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::model::{DType, Layer, Orientation, Stored};
use crate::numerics::isa::{Isa, Kernel};
use crate::treat::quantise::BITS;
use crate::treat::{Granularity, Quantise};
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
        12.0 * layer.rows() as f64 * layer.cols() as f64
    }
    fn decodes(&self, layer: &Layer) -> bool {
        layer.orientation == Orientation::InOut || layer.dtype == DType::F64
    }
    fn workspace(&self, _layer: &Layer, _threads: usize) -> u64 {
        1 << 20
    }
    fn measure(&self, _layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        Ok(vec![Fact::Rounding(Arc::new(rounding(entries, ask)?))])
    }
}

/// Entries worked on together.
const BLOCK: usize = 1 << 16;

/// Measures a matrix: a pass for the largest entry of all, then one for everything.
pub fn rounding(entries: &Stored, ask: &Ask) -> Result<Rounding, ProbeError> {
    entries.fit()?;
    let shape @ [rows, cols] = entries.shape();
    let together = (BLOCK / cols.max(1)).max(1);
    let mut buffer = vec![0f32; together.min(rows) * cols];
    let mut blocks = |take: &mut dyn FnMut(&[f32])| {
        for from in (0..rows).step_by(together) {
            if !(ask.keep_going)() {
                return Err(ProbeError::Stopped);
            }
            let block = &mut buffer[..together.min(rows - from) * cols];
            entries.rows_into(from, block);
            take(block);
        }
        Ok(())
    };
    let mut largest = 0f32;
    blocks(&mut |block| {
        largest = largest.max(Isa::Best.run(Largest(block)));
    })?;
    let mut sums = [[0f64; WIDTHS]; GRANULARITIES.len()];
    blocks(&mut |block| {
        for (per, sums) in GRANULARITIES.iter().zip(&mut sums) {
            match *per {
                Granularity::Tensor => Isa::Best.run(Spans { block, width: block.len(), given: Some(largest), sums }),
                Granularity::Row => Isa::Best.run(Spans { block, width: cols, given: None, sums }),
                Granularity::Group(g) => {
                    for row in block.chunks_exact(cols.max(1)) {
                        Isa::Best.run(Spans { block: row, width: g, given: None, sums });
                    }
                }
            }
        }
    })?;
    Ok(Rounding { shape, energy: sums.iter().map(|s| s.to_vec()).collect() })
}

const LANES: usize = 16;

/// Largest magnitude.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;
    #[allow(clippy::inline_always, reason = "see `numerics::isa`")]
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f32 {
        // Magnitudes order like their bits; infinity and NaN come last.
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        let mut most = [0u32; LANES];
        for chunk in chunks {
            for (m, w) in most.iter_mut().zip(chunk) {
                *m = (*m).max(w.to_bits() & 0x7fff_ffff);
            }
        }
        let bits = rest.iter().map(|w| w.to_bits() & 0x7fff_ffff).chain(most).max().unwrap_or(0);
        f32::from_bits(bits)
    }
}

/// Entries that share scales by stretches; their errors are added to `sums`, one for each number of bits.
struct Spans<'a> {
    block: &'a [f32],
    width: usize,
    /// The largest magnitude, where it is not that of the stretch.
    given: Option<f32>,
    sums: &'a mut [f64; WIDTHS],
}

impl Kernel for Spans<'_> {
    type Output = ();
    #[allow(clippy::inline_always, reason = "see `numerics::isa`")]
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for span in self.block.chunks(self.width.max(1)) {
            let largest = self.given.unwrap_or_else(|| Largest(span).run::<FMA>());
            for (i, sum) in self.sums.iter_mut().enumerate() {
                let top = f32::from((1u16 << (usize::from(*BITS.start()) + i - 1)) - 1);
                let scale = largest / top;
                let inverse = top / largest;
                // Where the scale is no number to divide by nothing is rounded; see `treat::quantise`.
                if scale > 0.0 && inverse.is_finite() {
                    *sum += residues::<FMA>(span, inverse) * f64::from(scale) * f64::from(scale);
                }
            }
        }
    }
}

/// Σ (x − round(x))² with x = w/scale, ties to even.
#[allow(clippy::inline_always, reason = "see `numerics::isa`")]
#[inline(always)]
fn residues<const FMA: bool>(span: &[f32], inverse: f32) -> f64 {
    // Adding and taking away 1.5·2²³ rounds a number of magnitude up to 2²² to an integer, ties to even, on every
    // instruction set.
    const MAGIC: f32 = 12_582_912.0;
    // Stretches after which sums in `f32` move to `f64`.
    const FOLD: usize = LANES * 256;
    let residue = |w: f32| {
        let x = w * inverse;
        x - ((x + MAGIC) - MAGIC)
    };
    let mut total = 0f64;
    for part in span.chunks(FOLD) {
        let (chunks, rest) = part.as_chunks::<LANES>();
        let mut sums = [0f32; LANES];
        for chunk in chunks {
            for k in 0..LANES {
                let r = residue(chunk[k]);
                sums[k] = crate::numerics::isa::fma::<FMA>(r, r, sums[k]);
            }
        }
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            for k in 0..width {
                sums[k] += sums[k + width];
            }
        }
        let tail: f32 = rest.iter().map(|w| residue(*w) * residue(*w)).sum();
        total += f64::from(sums[0] + tail);
    }
    total
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
        fn it_says_what_rounding_does(rows in 1usize..6, cols in 1usize..300, seed in 0u32..1000, power in -20i32..20) {
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
