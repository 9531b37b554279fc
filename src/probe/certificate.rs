//! A proven upper bound on σ₁, for those who ask.

use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::known::Known;
use crate::model::{DType, Layer, Stored};
use crate::numerics::{certificate, norms};

/// Measures a proven upper bound on σ₁ of the matrix view. Runs only when asked for: it takes about half as long as
/// all singular values.
pub struct CertificateProbe;

impl Probe for CertificateProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Certificate
    }
    fn title(&self) -> &'static str {
        "certificates"
    }
    fn on_request(&self) -> bool {
        true
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let (k, n) = (layer.full_rank() as f64, layer.rows().max(layer.cols()) as f64);
        0.03 * k * k * n
    }
    fn workspace(&self, layer: &Layer, _threads: usize) -> u64 {
        let (k, n) = (layer.full_rank() as u64, 512u64);
        2 * k * k * 8 + n * k * 8
    }
    fn measure(&self, _layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        let matrix = entries.matrix();
        entries.fit()?;
        let bound = certificate::upper(matrix.view(), ask.threads, ask.keep_going)?.ok_or(ProbeError::NoConvergence)?;
        // Doubles were rounded to `f32` when they were decoded: half a unit in the last place of every entry.
        let rounding = match entries.dtype() {
            DType::F64 => norms::frobenius_squared(matrix.view()).sqrt() * f64::from(f32::EPSILON),
            _ => 0.0,
        };
        Ok(vec![Fact::Certificate(Known::upper(bound + rounding))])
    }
}
