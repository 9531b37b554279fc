//! A first look at the spectrum, in a few passes over the stored entries.

use super::{Ask, Fact, Probe, ProbeError, ProbeId, Spectrum};
use crate::known::Known;
use crate::model::{DType, Layer, Orientation, Stored};
use crate::numerics::density::{Density, density};
use crate::numerics::gram::{Held, Sparse};
use crate::numerics::norms;
use std::sync::Arc;

/// What a few Lanczos steps tell, before the exact spectrum is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    /// σ₁ from below.
    pub norm: Known,
    /// Estimated singular values with their error bars; every quantity that follows from them is an estimate.
    pub spectrum: Spectrum,
    /// What it was made from, without its vector.
    pub density: Density,
}

impl Sketch {
    /// The sketch of a layer's spectrum.
    pub fn new(layer: &Layer, norm: Known, density: Density) -> Self {
        let spectrum = Spectrum::estimated(density.values(), layer.rows(), layer.cols(), layer.dtype.epsilon());
        Self { norm, spectrum, density: Density { vector: Vec::new(), ..density } }
    }
}

/// Measures [`Sketch`].
pub struct SketchProbe;

/// Entries of a matrix for products, without decoding where that can be avoided.
pub fn sparse<'a>(entries: &'a Stored, threshold: f32) -> Sparse<'a> {
    let [rows, cols] = entries.shape();
    let held = match (entries.patterns(), entries.words()) {
        (Some(patterns), _) if entries.by_rows() && entries.dtype() == DType::BF16 => Held::BF16(patterns),
        (_, Some(words)) if entries.by_rows() => Held::Bytes(words),
        _ => Held::F32(&entries.matrix().data),
    };
    Sparse { threshold, ..Sparse::new(held, rows, cols) }
}

impl Probe for SketchProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Sketch
    }
    fn title(&self) -> &'static str {
        "sketches"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        4.0 * layer.rows() as f64 * layer.cols() as f64
    }
    fn decodes(&self, layer: &Layer) -> bool {
        !matches!(layer.dtype, DType::BF16 | DType::F32) || layer.orientation == Orientation::InOut
    }
    fn workspace(&self, layer: &Layer, _threads: usize) -> u64 {
        // The Lanczos basis.
        (layer.full_rank() * 8 * 48 + layer.cols() * 8) as u64
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        entries.fit()?;
        let sparse = sparse(entries, 0.0);
        let found = density(&sparse, ask.keep_going)?;
        if !found.largest.is_finite() {
            return Err(ProbeError::NotFinite);
        }
        let norm = sparse.stretch(&found.vector, ask.keep_going)?;
        // Doubles were rounded to `f32`, by half a unit in the last place of every entry: σ₁ moves by at most the Frobenius
        // norm of that, 2⁻²⁴‖W‖_F; twice that holds the rounding of the bound as well.
        let rounding = match entries.dtype() {
            DType::F64 => norms::frobenius_squared(entries.matrix().view()).sqrt() * f64::from(f32::EPSILON),
            _ => 0.0,
        };
        let norm = Known::lower((norm - rounding).max(0.0));
        Ok(vec![Fact::Sketch(Arc::new(Sketch::new(layer, norm, found)))])
    }
}
