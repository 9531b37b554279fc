//! How the scores |w|·‖x‖ of a layer's entries (Wanda) are distributed: their mean, and how many lie far above it. Only of layers
//! whose inputs a calibration pass saw.

use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::model::{DType, Layer, Orientation, Stored};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Scores |w_ij|·√E\[x_j²\], counted by the upper half of their bits: bins of at most 1/128 of their value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Activations {
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// Σ of all scores.
    pub sum: f64,
    /// Bins that hold any, ascending: upper half of the bits, and how many.
    pub bins: Vec<(u16, u64)>,
}

impl Activations {
    /// Scores that there are.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|b| b.1).sum()
    }
    /// Mean of the scores.
    pub fn mean(&self) -> f64 {
        self.sum / self.count().max(1) as f64
    }
    /// About how many lie above a line: of the bin that it cuts an even part.
    pub fn above(&self, line: f64) -> f64 {
        let edge = |bin: u16| f64::from(f32::from_bits(u32::from(bin) << 16));
        let part = |bin: u16| {
            let (low, high) = (edge(bin), edge(bin.saturating_add(1)));
            if low > line { 1.0 } else { ((high - line) / (high - low)).clamp(0.0, 1.0) }
        };
        self.bins.iter().map(|&(bin, count)| part(bin) * count as f64).sum()
    }
}

/// Layer outlier distribution (OWL, Yin et al. 2023): the share of the scores of several layers, taken together, that lie above
/// `times` their mean, in percent.
pub fn outliers<'a>(layers: impl Iterator<Item = &'a Activations> + Clone, times: f64) -> f64 {
    let count: u64 = layers.clone().map(Activations::count).sum();
    let line = times * mean(layers.clone());
    100.0 * layers.map(|l| l.above(line)).sum::<f64>() / count.max(1) as f64
}

/// Mean of the scores of several layers, taken together.
pub fn mean<'a>(layers: impl Iterator<Item = &'a Activations> + Clone) -> f64 {
    let count: u64 = layers.clone().map(Activations::count).sum();
    layers.map(|l| l.sum).sum::<f64>() / count.max(1) as f64
}

/// Measures [`Activations`].
pub struct ActivationsProbe;

impl Probe for ActivationsProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Activations
    }
    fn title(&self) -> &'static str {
        "activations"
    }
    fn question(&self, layer: &Layer) -> Option<String> {
        super::of_inputs(self.title(), layer)
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable() && layer.eligible() && layer.inputs.is_some()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        2.0 * layer.rows() as f64 * layer.cols() as f64
    }
    fn decodes(&self, layer: &Layer) -> bool {
        layer.orientation == Orientation::InOut || layer.dtype == DType::F64
    }
    fn workspace(&self, _layer: &Layer, _threads: usize) -> u64 {
        1 << 21
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        entries.fit()?;
        let missing = || ProbeError::Inputs("no inputs of it were seen: --calibration FILE".to_owned());
        let inputs = layer.inputs.as_ref().ok_or_else(missing)?;
        Ok(vec![Fact::Activations(Arc::new(measured(entries, inputs.diagonal(), ask)?))])
    }
}

/// Counts the scores of a matrix whose inputs have these E\[x_j²\].
fn measured(entries: &Stored, diagonal: &[f32], ask: &Ask) -> Result<Activations, ProbeError> {
    let shape @ [rows, cols] = entries.shape();
    let scales: Vec<f32> = diagonal.iter().map(|g| g.sqrt()).collect();
    if scales.len() != cols {
        return Err(ProbeError::Inputs(format!("its inputs are {} features: of another layer", scales.len())));
    }
    let together = ((1 << 16) / cols.max(1)).max(1);
    let mut buffer = vec![0f32; together.min(rows) * cols];
    let (mut counts, mut sum) = (vec![0u64; 1 << 16], 0f64);
    for from in (0..rows).step_by(together) {
        if !(ask.keep_going)() {
            return Err(ProbeError::Stopped);
        }
        let block = &mut buffer[..together.min(rows - from) * cols];
        entries.rows_into(from, block);
        for row in block.chunks_exact(cols.max(1)) {
            for (w, scale) in row.iter().zip(&scales) {
                let score = w.abs() * scale;
                sum += f64::from(score);
                counts[(score.to_bits() >> 16) as usize] += 1;
            }
        }
    }
    if !sum.is_finite() {
        return Err(ProbeError::NotFinite);
    }
    let bins: BTreeMap<u16, u64> =
        counts.into_iter().enumerate().filter(|(_, n)| *n > 0).map(|(bin, n)| (bin as u16, n)).collect();
    Ok(Activations { shape, sum, bins: bins.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Inputs, Kind, Matrix};

    fn of(data: Vec<f32>, diagonal: &[f32]) -> Activations {
        let cols = diagonal.len();
        let matrix = Matrix::new(data.len() / cols, cols, data).unwrap();
        measured(&Stored::from(matrix), diagonal, &Ask { keep_going: &|| true, threads: 1 }).unwrap()
    }

    #[test]
    fn outliers_of_the_worked_example() {
        let ones = |n: usize, of: f32| vec![of; n];
        let found = of([ones(95, 1.0), ones(5, 100.0)].concat(), &[1.0]);
        assert!((found.mean() - 5.95).abs() < 1e-12, "{}", found.mean());
        assert_eq!(outliers([&found].into_iter(), 5.0), 5.0);
        // The same in two layers, and with the size in the inputs.
        let parts = [of(ones(95, -1.0), &[1.0]), of(ones(5, 2.0), &[2500.0])];
        assert!((outliers(parts.iter(), 5.0) - 5.0).abs() < 1e-12);
        assert!((mean(parts.iter()) - 5.95).abs() < 1e-6);
        assert!(outliers(std::iter::empty(), 5.0) == 0.0);
        // A bin that is cut counts in part.
        let even: Vec<f32> = (0..1000).map(|i| 1.0 + i as f32 / 1000.0).collect();
        assert!((of(even, &[1.0]).above(1.5) - 500.0).abs() < 5.0);
    }

    #[test]
    fn its_answers_are_kept_for_these_inputs_alone() {
        let layer = |diagonal: Vec<f32>| Layer {
            inputs: Some(Arc::new(Inputs::of_diagonal(3, diagonal))),
            ..Layer::alone(Kind::Linear, &[1, 2])
        };
        let question = |l: &Layer| ActivationsProbe.question(l).unwrap();
        assert_ne!(question(&layer(vec![1.0, 2.0])), question(&layer(vec![1.0, 3.0])));
        assert_eq!(question(&layer(vec![1.0, 2.0])), question(&layer(vec![1.0, 2.0])));
        let blind = Layer::alone(Kind::Linear, &[1, 2]);
        assert!(!ActivationsProbe.applies(&blind) && ActivationsProbe.question(&blind).is_none());
    }
}
