//! The layer as the loss of its outputs sees it: the same facts of the matrix weighted by its inputs. Magnitudes and patterns
//! are of |w_ij|·√E\[x_j²\], Wanda's scores; singular values are of WS, SSᵀ = E\[x xᵀ\], whose tail is what the whitened
//! form of a rank loses of the outputs (see `treat/error.rs`). With them comes what other choices lose.

mod smallest;

use super::book::LayerFacts;
use super::magnitude::MagnitudeProbe;
use super::spectrum::Spectrum;
use super::structure::StructureProbe;
use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::model::{Layer, Matrix, Stored};
use crate::numerics::{svd, weighted as numerics};
use crate::treat::error::{NO_INPUTS, losses};
use crate::treat::{Factors, Prune};
use serde::{Deserialize, Serialize};
use smallest::Smallest;
use std::sync::Arc;

/// What choices lose of the outputs that do not go by all that is known of the inputs, and what those that do lose of the
/// weights. Lists over ranks go from 0 to min(m, n).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// ‖(W − `W_r`)S‖_F² of the best approximation of the weights.
    plain: Vec<f64>,
    /// ‖W − Ŵ‖_F² of the whitened form.
    whitened: Vec<f64>,
    /// ‖(W − Ŵ)S‖_F² and ‖W − Ŵ‖_F² of the form scaled by E|x|, where that is known.
    scaled: Option<[Vec<f64>; 2]>,
    /// Of pruning by magnitude.
    smallest: Vec<Smallest>,
}

impl Losses {
    /// ‖(W − Ŵ)S‖_F² of a rank in a form of factors, SSᵀ = E\[x xᵀ\]; `None` for forms that were not measured, and for the
    /// whitened one, whose own singular values tell.
    pub fn of_rank(&self, form: Factors, rank: usize) -> Option<f64> {
        let curve = match form {
            Factors::Matrix => &self.plain,
            Factors::Asvd => &self.scaled.as_ref()?[0],
            Factors::Whitened | Factors::Spatial => return None,
        };
        curve.get(rank).or(curve.last()).copied()
    }
    /// ‖W − Ŵ‖_F² of a rank in a form of factors that goes by activations.
    pub fn of_weights(&self, form: Factors, rank: usize) -> Option<f64> {
        let curve = match form {
            Factors::Whitened => &self.whitened,
            Factors::Asvd => &self.scaled.as_ref()?[1],
            Factors::Matrix | Factors::Spatial => return None,
        };
        curve.get(rank).or(curve.last()).copied()
    }
    /// Σ w_ij²·E\[x_j²\] of what pruning by magnitude removes: what the outputs lose as if no two inputs went together. `None`
    /// for patterns that were not measured.
    pub fn of_smallest(&self, layer: &Layer, how: Prune) -> Option<f64> {
        self.smallest.iter().find(|s| s.pattern == how.pattern).map(|s| s.lost(layer, how.remove))
    }
    /// Whether they can be those of this layer.
    pub fn fit(&self, layer: &Layer) -> bool {
        self.plain.len() == layer.full_rank() + 1
    }
}

/// Measures the weighted matrix.
pub struct WeightedProbe;

impl Probe for WeightedProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Weighted
    }
    fn title(&self) -> &'static str {
        "weighting by activations"
    }
    fn question(&self, layer: &Layer) -> Option<String> {
        super::of_inputs("weighting by activations, with losses", layer)
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable() && layer.eligible() && layer.inputs.is_some()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let (m, n) = (layer.rows() as f64, layer.cols() as f64);
        let small = m.min(n);
        // The root of the second moments, the R of a tall matrix, the product, three decompositions, all in `f64`.
        let tall = if m > n { 4.0 * m * n * n } else { 0.0 };
        0.15 * (n * n * n + tall + small * n * n + 3.0 * small * small * (n + 9.0 * small)) + 200.0 * m * n
    }
    fn workspace(&self, layer: &Layer, threads: usize) -> u64 {
        let (rows, cols) = (layer.rows(), layer.cols());
        let scaled = 4 * rows as u64 * cols as u64;
        let passes = MagnitudeProbe.workspace(layer, threads).max(StructureProbe.workspace(layer, threads));
        let most = (scaled + passes).max(numerics::workspace(rows, cols));
        scaled + most.max(smallest::workspace(rows, cols))
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        let inputs = layer.inputs.as_ref().ok_or_else(|| ProbeError::Inputs(NO_INPUTS.to_owned()))?;
        entries.fit()?;
        let matrix = entries.matrix();
        let numerics::Losses { sigma, outputs_of_plain: plain, weights_of_whitened: whitened, scaled } =
            losses(layer, matrix, ask.keep_going)?;
        let smallest = smallest::all(layer, matrix, inputs.diagonal(), ask.keep_going)?;
        let scales: Vec<f32> = inputs.diagonal().iter().map(|g| g.sqrt()).collect();
        let weighted: Vec<f32> =
            matrix.row_iter().flat_map(|row| row.iter().zip(&scales).map(|(w, s)| w.abs() * s)).collect();
        let weighted: Stored = Matrix { rows: matrix.rows, cols: matrix.cols, data: weighted }.into();
        weighted.fit().map_err(|_| ProbeError::NotFinite)?;
        let mut found = MagnitudeProbe.measure(layer, &weighted, ask)?;
        found.extend(StructureProbe.measure(layer, &weighted, ask)?);
        found.push(Fact::Spectrum(Arc::new(spectrum(layer, sigma))));
        found.push(Fact::Losses(Arc::new(Losses { plain, whitened, scaled, smallest })));
        Ok(vec![Fact::Weighted(Arc::new(of(found)))])
    }
}

/// The facts of a weighted matrix. The pass that finds magnitudes finds row sums as well, which are no norms here.
pub fn of(facts: Vec<Fact>) -> LayerFacts {
    LayerFacts { lipschitz: None, ..LayerFacts::of(facts) }
}

/// What singular values of WS tell. What is fitted to the entries of a layer, a noise edge and a power law, says nothing of it.
pub fn spectrum(layer: &Layer, sigma: Vec<f64>) -> Spectrum {
    let (rows, cols) = (layer.rows(), layer.cols());
    let found = Spectrum::from_sigma(sigma, rows, cols, 0.0, svd::accuracy_f64(rows, cols));
    Spectrum { marchenko_pastur: None, power_law: None, ..found }
}

#[cfg(test)]
mod tests;
