//! All singular values, and everything that follows from them alone.

pub use super::marchenko_pastur::{MarchenkoPastur, median_of_law};
pub use super::power_law::PowerLaw;
use super::{Ask, Fact, Probe, ProbeError, ProbeId, marchenko_pastur, power_law};
use crate::known::{Bound, Known};
use crate::model::{DType, Layer, Stored};
use crate::numerics::density::Curve;
use crate::numerics::norms::{above, below};
use crate::numerics::svd::{self, Entries, SvdError, singular_values, singular_values_f64};
use std::sync::Arc;

/// The spectrum of a layer's matrix view.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// Singular values, descending.
    pub sigma: Vec<f64>,
    /// `tail[r]` = Σ_{i>r} σᵢ² (r from 0; one longer than `sigma`), summed from the small end in `f64`.
    pub tail: Vec<f64>,
    /// Σ σᵢ.
    pub nuclear: f64,
    /// ‖W‖_F²/σ₁²; `None` for a zero matrix.
    pub stable_rank: Option<f64>,
    /// exp of the entropy of σ/Σσ (Roy & Vetterli 2007); `None` for a zero matrix.
    pub effective_rank: Option<f64>,
    /// `σ₁/σ_k`; `None` when `σ_k` is zero to the precision of the computation (f64).
    pub condition: Option<Known>,
    /// Singular values above what rounding the entries to their storage type may have made: the edge of a random matrix
    /// of errors uniform within half a unit in the last place, ε/√12·‖W‖_F·(1/√m + 1/√n); or above four times the
    /// accuracy of the values themselves, where that is more.
    ///
    /// An estimate where a value lies within the accuracy of that line.
    pub numerical_rank: Known,
    /// Smallest r with Σ_{i≤r}σᵢ² ≥ e·Σσᵢ² for e = 0.90, 0.95, 0.99.
    pub rank_for_energy: [usize; 3],
    /// Whether each of these is certain: [`Bound::Estimate`] where the accuracy of the values may move it.
    pub rank_for_energy_bound: [Bound; 3],
    /// Power-law fit of λ = σ², when there are enough values.
    pub power_law: Option<PowerLaw>,
    /// Marchenko–Pastur noise bulk.
    pub marchenko_pastur: Option<MarchenkoPastur>,
    /// For a sketched spectrum: between which bounds each value probably lies. `None` for an exact one.
    pub band: Option<Band>,
    /// How far a value may be off, relative to the largest.
    pub accuracy: f64,
}

/// Error bars of a sketched spectrum.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Probably not below this.
    pub low: Vec<f64>,
    /// Probably not above this.
    pub high: Vec<f64>,
}

/// Shares of the energy whose rank is told.
pub const ENERGIES: [f64; 3] = [0.90, 0.95, 0.99];

impl Default for Spectrum {
    fn default() -> Self {
        Self::from_sigma(Vec::new(), 0, 0, 0.0, 0.0)
    }
}

impl Spectrum {
    /// Everything that follows from the singular values (descending) of a `rows × cols` matrix whose entries are
    /// stored with spacing `epsilon` at 1; each value is off by at most `accuracy` of the largest.
    pub fn from_sigma(sigma: Vec<f64>, rows: usize, cols: usize, epsilon: f64, accuracy: f64) -> Self {
        let mut tail = vec![0.0; sigma.len() + 1];
        for (i, s) in sigma.iter().enumerate().rev() {
            tail[i] = tail[i + 1] + s * s;
        }
        let largest = sigma.first().copied().unwrap_or(0.0);
        let nuclear: f64 = sigma.iter().rev().sum();
        let edge = (1.0 / (rows.max(1) as f64).sqrt() + 1.0 / (cols.max(1) as f64).sqrt()) * tail[0].sqrt();
        let slack = largest * accuracy;
        // What the computation itself may have made of nothing counts as nothing as well.
        let floor = (epsilon / 12f64.sqrt() * edge).max(4.0 * slack);
        let energy = tail[0];
        let rank_for_energy = ENERGIES.map(|e| tail.partition_point(|&t| t > (1.0 - e) * energy * (1.0 + 1e-12)));
        Self {
            nuclear,
            stable_rank: (largest > 0.0).then(|| energy / (largest * largest)),
            effective_rank: (nuclear > 0.0).then(|| effective_rank(&sigma, nuclear)),
            condition: sigma.last().and_then(|&s| condition(largest, s, slack)),
            numerical_rank: numerical_rank(&sigma, floor, slack),
            rank_for_energy_bound: std::array::from_fn(|i| {
                certain(ENERGIES[i], rank_for_energy[i], &tail, &sigma, slack)
            }),
            rank_for_energy,
            power_law: power_law::fit(&sigma),
            marchenko_pastur: marchenko_pastur::fit(&sigma, rows, cols),
            tail,
            sigma,
            band: None,
            accuracy,
        }
    }
    /// A sketched spectrum: what follows from it is estimated; what hangs on its smallest values or on the last few
    /// of the largest is left out.
    pub fn estimated(curve: Curve, rows: usize, cols: usize, epsilon: f64) -> Self {
        let Curve { sigma, low, high } = curve;
        let exact = Self::from_sigma(sigma, rows, cols, epsilon, svd::accuracy(rows, cols));
        let numerical_rank = Known::estimate(exact.numerical_rank.value);
        let rank_for_energy_bound = [Bound::Estimate; 3];
        let band = Some(Band { low, high });
        Self { condition: None, power_law: None, numerical_rank, rank_for_energy_bound, band, ..exact }
    }
    /// Whether every value is computed, none estimated.
    pub fn is_exact(&self) -> bool {
        self.band.is_none()
    }
    /// A number that follows from this spectrum, as what it is.
    pub fn known(&self, value: f64) -> Known {
        if self.is_exact() { Known::exact(value) } else { Known::estimate(value) }
    }
    /// ‖W‖_F² as the spectrum has it.
    pub fn energy(&self) -> f64 {
        self.tail.first().copied().unwrap_or(0.0)
    }
    /// σ₁ (0 for an empty spectrum).
    pub fn norm(&self) -> f64 {
        self.sigma.first().copied().unwrap_or(0.0)
    }
    /// ‖W − `W_r`‖_F² of the best approximation of rank r (Eckart–Young).
    pub fn tail_energy(&self, rank: usize) -> f64 {
        self.tail.get(rank).copied().unwrap_or(0.0)
    }
    /// By how much an exact value may be off.
    pub fn slack(&self) -> f64 {
        self.norm() * self.accuracy
    }
    /// Bounds on the root of [`Self::tail_energy`] of an exact spectrum: values that are off by at most d each make a norm that
    /// is off by at most d√k of k of them (triangle inequality).
    pub fn tail_norm(&self, rank: usize) -> (f64, f64) {
        let (norm, count) = (self.tail_energy(rank).sqrt(), self.sigma.len().saturating_sub(rank));
        let off = self.slack() * (count as f64).sqrt();
        (below((norm - off).max(0.0), count), above(norm + off, count))
    }
    /// σ_{r+1} = ‖W − `W_r‖₂`.
    pub fn cut(&self, rank: usize) -> f64 {
        self.sigma.get(rank).copied().unwrap_or(0.0)
    }
}

/// Whether `rank` surely is the smallest whose tail holds at most 1 − e of the energy, when each value may be off by
/// `slack` d: Σ_{i>r} σᵢ² is then off by at most Σ_{i>r} (2σᵢd + d²).
fn certain(e: f64, rank: usize, tail: &[f64], sigma: &[f64], slack: f64) -> Bound {
    let off = |r: usize| sigma.iter().skip(r).map(|s| (2.0 * s + slack) * slack).sum::<f64>();
    let (all, all_off) = (tail[0], off(0));
    let (least, most) = ((1.0 - e) * (all - all_off), (1.0 - e) * (all + all_off));
    let enough = tail[rank] + off(rank) <= least || all == 0.0;
    let needed = rank.checked_sub(1).is_none_or(|r| tail[r] - off(r) > most);
    if enough && needed { Bound::Exact } else { Bound::Estimate }
}

/// σ₁/σ_k, when σ_k may be off by `slack`.
fn condition(largest: f64, smallest: f64, slack: f64) -> Option<Known> {
    match smallest {
        _ if largest == 0.0 => None,
        // Three digits of the quotient are right.
        s if s >= 1000.0 * slack => Some(Known::exact(largest / s)),
        // In double precision a value at the slack is zero; in single precision nobody knows.
        s if slack < 1e-9 * largest && s <= slack => None,
        // The largest may be off as well; three roundings.
        s => Some(Known::lower(below((largest - slack).max(0.0) / (s + slack), 3))),
    }
}

/// Values above `floor`, when each may be off by `slack`.
fn numerical_rank(sigma: &[f64], floor: f64, slack: f64) -> Known {
    let above = |line: f64| sigma.partition_point(|&s| s > line);
    let (low, high) = (above(floor + slack), above(floor - slack));
    let value = above(floor) as f64;
    if low == high { Known::exact(value) } else { Known::estimate(value) }
}

/// exp(−Σ q ln q) with q = σ/Σσ (Roy & Vetterli 2007).
fn effective_rank(sigma: &[f64], nuclear: f64) -> f64 {
    let entropy: f64 = sigma.iter().map(|s| s / nuclear).filter(|&q| q > 0.0).map(|q| -q * q.ln()).sum();
    entropy.exp()
}

/// Measures [`Spectrum`].
pub struct SpectrumProbe {
    /// Whether in `f64` throughout, which takes several times longer.
    pub double: bool,
}

impl Probe for SpectrumProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Spectrum
    }
    fn title(&self) -> &'static str {
        "spectra"
    }
    fn question(&self, _layer: &Layer) -> Option<String> {
        Some(if self.double { "spectra in f64" } else { "spectra" }.to_owned())
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let (k, n) = (layer.full_rank() as f64, layer.rows().max(layer.cols()) as f64);
        if self.double { 0.08 * k * k * n } else { 0.04 * k * k * n }
    }
    fn decodes(&self, _layer: &Layer) -> bool {
        false
    }
    fn workspace(&self, layer: &Layer, threads: usize) -> u64 {
        svd::workspace(layer.rows(), layer.cols(), threads)
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        entries.fit()?;
        let (stored, entries) = (entries.dtype(), AsStored(entries));
        let sigma = if self.double {
            singular_values_f64(entries, ask.keep_going, ask.threads)?
        } else {
            singular_values(entries, ask.keep_going, ask.threads)?
        };
        let (rows, cols) = (layer.rows(), layer.cols());
        let accuracy = if self.double { svd::accuracy_f64(rows, cols) } else { svd::accuracy(rows, cols) };
        // Doubles were rounded to `f32`: a matrix of such errors has a norm of at most 2⁻²⁴‖W‖_F ≤ 2⁻²⁴√k·σ₁.
        let decoded = if stored == DType::F64 { f64::from(f32::EPSILON) * (rows.min(cols) as f64).sqrt() } else { 0.0 };
        let found = Spectrum::from_sigma(sigma, rows, cols, layer.dtype.epsilon(), accuracy + decoded);
        Ok(vec![Fact::Spectrum(Arc::new(found))])
    }
}

/// A layer as its bytes lie, decoded on the way; a transpose has the same singular values.
struct AsStored<'a>(&'a Stored<'a>);

impl Entries for AsStored<'_> {
    fn dim(&self) -> (usize, usize) {
        let [rows, cols] = self.0.laid_out();
        (rows, cols)
    }
    fn part(&self, row: usize, from: usize, out: &mut [f32]) {
        self.0.part_into(row, from, out);
    }
}

impl From<SvdError> for ProbeError {
    fn from(error: SvdError) -> Self {
        match error {
            SvdError::Stopped => Self::Stopped,
            SvdError::NotFinite => Self::NotFinite,
            SvdError::NoConvergence => Self::NoConvergence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matrix;

    #[test]
    fn the_worked_spectrum_has_its_ranks() {
        // Σσ² = 21.25, so the stable rank is 21.25/16.
        let s = Spectrum::from_sigma(vec![4.0, 2.0, 1.0, 0.5], 4, 4, 1e-7, 1e-15);
        assert!((s.stable_rank.unwrap() - 1.328_125).abs() < 1e-12);
        assert!((s.effective_rank.unwrap() - 3.117_142_110_5).abs() < 1e-9);
        assert_eq!((s.nuclear, s.numerical_rank, s.condition), (7.5, Known::exact(4.0), Some(Known::exact(8.0))));
        let s = Spectrum::from_sigma(vec![3.0, 2.0, 1.0, 0.5], 4, 4, 1e-7, 1e-15);
        assert_eq!(s.rank_for_energy[0], 2);
        assert_eq!((s.tail_energy(2), s.cut(2), s.tail_energy(4)), (1.25, 1.0, 0.0));
    }

    #[test]
    fn what_values_may_be_off_by_counts_in_the_norm_of_the_tail() {
        let sigma: Vec<f64> = (0..50).map(|i| 3.0 / f64::from(i + 1)).collect();
        let found = Spectrum::from_sigma(sigma.clone(), 50, 50, 1e-7, 1e-6);
        for rank in [0, 1, 20, 49, 50] {
            let (least, most) = found.tail_norm(rank);
            for sign in [-1.0, 1.0] {
                // The true values, had all been off by as much as they may be.
                let off = |s: f64| (s + sign * 3e-6).max(0.0);
                let norm = sigma[rank..].iter().map(|s| off(*s).powi(2)).sum::<f64>().sqrt();
                assert!(least <= norm && norm <= most, "{rank}: {least} {norm} {most}");
            }
        }
        assert_eq!(found.tail_norm(50), (0.0, 0.0));
    }

    #[test]
    fn the_small_matrix_has_its_numbers() {
        let (root, go) = (5f64.sqrt(), || true);
        let ask = Ask { keep_going: &go, threads: 1 };
        let m = Matrix::new(2, 2, vec![3.0, 0.0, 4.0, 5.0]).unwrap();
        let sigma = singular_values(m.view(), ask.keep_going, 1).unwrap();
        let s = Spectrum::from_sigma(sigma, 2, 2, 1e-7, 1e-15);
        assert!((s.sigma[0] - 3.0 * root).abs() < 1e-12 && (s.sigma[1] - root).abs() < 1e-12);
        assert!((s.stable_rank.unwrap() - 10.0 / 9.0).abs() < 1e-12);
        assert!((s.effective_rank.unwrap() - 1.754_765_35).abs() < 1e-8);
        assert!((s.nuclear - 8.944_271_91).abs() < 1e-8);
        assert!((s.condition.unwrap().value - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_zero_matrix_leaves_its_ratios_undefined() {
        let s = Spectrum::from_sigma(vec![0.0; 5], 5, 9, 1e-7, 1e-15);
        assert_eq!(
            (s.stable_rank, s.effective_rank, s.condition, s.numerical_rank),
            (None, None, None, Known::exact(0.0))
        );
        assert_eq!(s.rank_for_energy, [0; 3]);
        assert_eq!((s.power_law, s.marchenko_pastur), (None, None));
    }
}
