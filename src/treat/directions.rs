//! One decomposition for all ranks: the left singular directions of a layer, of which a rank keeps the first.

use super::Factors;
use super::error::root_of;
use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::numerics::root::Root;
use crate::numerics::weighted::{energies_of, leading, projected};
use crate::probe::ProbeError;
use faer::Mat;

/// Left singular vectors u_i of WS, SSᵀ = E\[x xᵀ\], or of W. Ŵ = Σ_{i≤r} u_i u_iᵀW is what two factors of rank r hold.
pub struct Directions {
    /// m × min(m, n).
    vectors: Mat<f64>,
    /// σ_i² of WS, or of W.
    squares: Vec<f64>,
    /// ‖u_iᵀW‖².
    weights: Vec<f64>,
}

/// What a rank loses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankLoss {
    /// ‖W − Ŵ‖_F².
    pub weights: f64,
    /// ‖(W − Ŵ)S‖_F²: of the outputs a token, or of the weights.
    pub outputs: f64,
    /// By how many nats a token the loss is expected to grow, see [`super::error::OutputEnergy::excess`]; `None` without
    /// gradients.
    pub excess: Option<f64>,
}

impl Directions {
    /// Of a layer in a form of factors that is no spatial one.
    pub fn of(layer: &Layer, matrix: &Matrix, form: Factors, keep_going: KeepGoing<'_>) -> Result<Self, ProbeError> {
        let root =
            if form.weighs() { root_of(layer, form, keep_going)? } else { Root::Diagonal(vec![1.0; matrix.cols]) };
        let found = leading(matrix.view(), &root, layer.full_rank(), keep_going)?;
        let weights = energies_of(matrix.view(), &found.vectors, keep_going)?;
        Ok(Self { vectors: found.vectors, squares: found.sigma.iter().map(|s| s * s).collect(), weights })
    }

    /// ‖WS‖_F².
    pub fn energy(&self) -> f64 {
        self.squares.iter().sum()
    }

    /// What is left out from a rank on. The change is ΔSSᵀΔᵀ = Σ_{i>r} σ_i² u_i u_iᵀ, so that of output k it takes
    /// Σ_{i>r} σ_i² u_ki².
    pub fn lost(&self, rank: usize, gradient: Option<&[f32]>) -> RankLoss {
        let left = rank.min(self.squares.len())..self.squares.len();
        let felt = |gradient: &[f32], i: usize| -> f64 {
            self.vectors.col_as_slice(i).iter().zip(gradient).map(|(u, g)| u * u * f64::from(*g)).sum()
        };
        RankLoss {
            weights: self.weights[left.clone()].iter().sum(),
            outputs: self.squares[left.clone()].iter().sum(),
            excess: gradient.map(|g| 0.5 * left.map(|i| self.squares[i] * felt(g, i)).sum::<f64>()),
        }
    }

    /// The factors of a rank, `[up, down]`: m × r, orthonormal, and r × n.
    pub fn pair(&self, matrix: &Matrix, rank: usize, keep_going: KeepGoing<'_>) -> Result<[Matrix; 2], ProbeError> {
        let vectors = self.vectors.subcols(0, rank.min(self.vectors.ncols())).to_owned();
        let (up, down) = projected(matrix.view(), &vectors, keep_going)?;
        Ok([super::low_rank::narrow(&up), super::low_rank::narrow(&down)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Inputs, Kind};
    use crate::treat::{Treatment, error, treated};
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_rank_loses_what_treating_the_layer_loses(
            data in prop::collection::vec(-2f32..2.0, 12 * 9),
            seen in prop::collection::vec(-2f32..2.0, 12 * 20),
            gradient in prop::collection::vec(0f32..2.0, 12),
            tall in any::<bool>(),
            whitened in any::<bool>(),
            rank in 1usize..9,
        ) {
            let (rows, cols) = if tall { (12, 9) } else { (9, 12) };
            let matrix = Matrix::new(rows, cols, data).unwrap();
            let mut layer = Layer::alone(Kind::Linear, &[rows, cols]);
            let tokens = seen.len() / cols;
            let moment = |k: usize| seen.chunks_exact(cols).map(|x| x[k / cols] * x[k % cols]).sum::<f32>() / tokens as f32;
            let gram = Matrix::new(cols, cols, (0..cols * cols).map(moment).collect()).unwrap();
            let mut inputs = Inputs::of_gram(tokens as u64, &gram);
            inputs.gradient = Some(gradient[..rows].to_vec());
            layer.inputs = Some(Arc::new(inputs));
            let form = if whitened { Factors::Whitened } else { Factors::Matrix };
            let directions = Directions::of(&layer, &matrix, form, &|| true).unwrap();
            let treatment = Treatment { form, ..Treatment::rank(rank) };
            let done = treated(&layer, &matrix, treatment, &|| true).unwrap();
            let delta = Matrix::new(rows, cols, matrix.data.iter().zip(&done.data).map(|(w, t)| w - t).collect()).unwrap();
            let weights: f64 = delta.data.iter().map(|d| f64::from(*d).powi(2)).sum();
            let lost = directions.lost(rank, Some(&gradient[..rows]));
            let close = |a: f64, b: f64, of: f64| (a - b).abs() <= 1e-4 * of;
            prop_assert!(close(lost.weights, weights, 100.0), "{lost:?} {weights}");
            if whitened {
                let energy = error::output_energy(&layer, &delta, &|| true).unwrap().unwrap();
                prop_assert!(close(lost.outputs, energy.total(), directions.energy()), "{lost:?} {energy:?}");
                let excess = energy.excess(&gradient[..rows]);
                prop_assert!(close(lost.excess.unwrap(), excess, directions.energy()), "{lost:?} {excess}");
            } else {
                prop_assert!(close(lost.outputs, weights, 100.0));
            }
            let [up, down] = directions.pair(&matrix, rank, &|| true).unwrap();
            let product = crate::treat::low_rank::multiplied(&up, &down);
            prop_assert!(product.data.iter().zip(&done.data).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }
}
