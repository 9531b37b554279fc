//! The layer as the loss of its outputs sees it: the same facts of the matrix weighted by its inputs. Magnitudes and patterns
//! are of |w_ij|·√E\[x_j²\], Wanda's scores; singular values are of WS, SSᵀ = E\[x xᵀ\], whose tail is what the whitened
//! form of a rank loses of the outputs (see `treat/error.rs`).

use super::book::LayerFacts;
use super::magnitude::MagnitudeProbe;
use super::spectrum::Spectrum;
use super::structure::StructureProbe;
use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::model::{Layer, Matrix, Stored};
use crate::numerics::svd;
use crate::treat::error::{NO_INPUTS, whitened_sigma, workspace};
use std::sync::Arc;

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
        super::of_inputs(self.title(), layer)
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable() && layer.eligible() && layer.inputs.is_some()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let (m, n) = (layer.rows() as f64, layer.cols() as f64);
        // The root of the second moments, the product, its decomposition, all in `f64`.
        0.3 * (n * n * n + m * n * n + 4.0 * m * n * m.min(n)) + 10.0 * m * n
    }
    fn workspace(&self, layer: &Layer, _threads: usize) -> u64 {
        let (m, n) = (layer.rows() as u64, layer.cols() as u64);
        4 * m * n + 16 * m * n + 16 * n * n + workspace(layer)
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        let inputs = layer.inputs.as_ref().ok_or_else(|| ProbeError::Inputs(NO_INPUTS.to_owned()))?;
        let matrix = entries.matrix();
        let sigma = whitened_sigma(layer, matrix, ask.keep_going)?;
        let scales: Vec<f32> = inputs.diagonal().iter().map(|g| g.sqrt()).collect();
        let scaled: Vec<f32> =
            matrix.row_iter().flat_map(|row| row.iter().zip(&scales).map(|(w, s)| w.abs() * s)).collect();
        let scaled: Stored = Matrix { rows: matrix.rows, cols: matrix.cols, data: scaled }.into();
        let mut found = MagnitudeProbe.measure(layer, &scaled, ask)?;
        found.extend(StructureProbe.measure(layer, &scaled, ask)?);
        let (rows, cols) = (layer.rows(), layer.cols());
        let spectrum = Spectrum::from_sigma(sigma, rows, cols, 0.0, svd::accuracy_f64(rows, cols));
        found.push(Fact::Spectrum(Arc::new(spectrum)));
        Ok(vec![Fact::Weighted(Arc::new(of(found)))])
    }
}

/// The facts of a weighted matrix. What is fitted to the entries of a layer, a noise edge and a power law, says nothing of it.
pub fn of(facts: Vec<Fact>) -> LayerFacts {
    let mut out = LayerFacts::of(facts);
    if let Some(spectrum) = out.spectrum.take() {
        let spectrum = Spectrum { marchenko_pastur: None, power_law: None, ..(*spectrum).clone() };
        out.spectrum = Some(Arc::new(spectrum));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Inputs, Kind};
    use crate::plan::project_layer;
    use crate::treat::{Criterion, Factors, Pattern, Prune, Treatment, refine};
    use proptest::prelude::*;

    const GO: Ask<'static> = Ask { keep_going: &|| true, threads: 1 };

    fn facts(layer: &Layer, matrix: &Matrix) -> LayerFacts {
        LayerFacts::of(WeightedProbe.measure(layer, &matrix.clone().into(), &GO).unwrap())
    }

    fn layer(matrix: &Matrix, gram: &Matrix) -> Layer {
        let mut layer = Layer::alone(Kind::Linear, &[matrix.rows, matrix.cols]);
        layer.inputs = Some(Arc::new(Inputs::of_gram(4, gram)));
        layer
    }

    #[test]
    fn the_worked_example_has_its_singular_values_and_error() {
        let matrix = Matrix::new(2, 3, vec![2.0, 1.0, 0.0, 0.0, 1.0, 1.0]).unwrap();
        let gram = Matrix::new(3, 3, vec![6.0, 3.0, 4.0, 3.0, 3.0, 1.0, 4.0, 1.0, 10.0]).unwrap();
        let layer = layer(&matrix, &gram);
        let found = facts(&layer, &matrix);
        let sigma = &found.weighted().spectrum.as_ref().unwrap().sigma;
        assert!((sigma[0] - 6.973_758_502_6).abs() < 1e-6 && (sigma[1] - 2.316_612_256_6).abs() < 1e-6, "{sigma:?}");
        let whitened = Treatment { form: Factors::Whitened, ..Treatment::rank(1) };
        let error = project_layer(&layer, &found, whitened, None).weighed.unwrap().output_error;
        assert!((error.value - 0.315_250_997_8).abs() < 1e-6, "{error:?}");
        assert_eq!(error.bound, crate::known::Bound::Exact);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_projected_is_what_a_run_finds(
            data in prop::collection::vec(-2f32..2.0, 12 * 9),
            seen in prop::collection::vec(-2f32..2.0, 9 * 20),
            rank in 1usize..9,
            remove in 0.1f64..0.9,
        ) {
            let matrix = Matrix::new(12, 9, data).unwrap();
            let seen = Matrix::new(20, 9, seen).unwrap();
            let product = seen.view().t().dot(&seen.view());
            let gram = Matrix::new(9, 9, product.iter().copied().collect()).unwrap();
            let layer = layer(&matrix, &gram);
            let found = facts(&layer, &matrix);
            let whitened = Treatment { form: Factors::Whitened, ..Treatment::rank(rank) };
            let projected = project_layer(&layer, &found, whitened, None).weighed.unwrap().output_error.value;
            let ran = refine(&layer, &matrix, whitened, None, &GO).unwrap().weighed.unwrap().output_error.value;
            prop_assert!((projected - ran).abs() < 1e-4, "{projected} {ran}");
            // Under a diagonal Gram the estimate of Wanda's error is the error.
            let mut diagonal = layer.clone();
            let moments: Vec<f32> = (0..9).map(|i| gram.data[i * 10]).collect();
            diagonal.inputs = Some(Arc::new(Inputs::of_diagonal(20, moments)));
            let found = facts(&diagonal, &matrix);
            let how = Prune { criterion: Criterion::Wanda, ..Prune::of(remove, Pattern::PerRow) };
            let treatment = Treatment::prune(how);
            let projected = project_layer(&diagonal, &found, treatment, None).weighed.unwrap().output_error.value;
            let ran = refine(&diagonal, &matrix, treatment, None, &GO).unwrap().weighed.unwrap().output_error.value;
            prop_assert!((projected - ran).abs() < 1e-4, "{projected} {ran}");
        }
    }
}
