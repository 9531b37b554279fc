//! The runner of the dashboard: trials on two slices of one model.

use super::{Extent, Runner};
use crate::engine::cache::{Cache, Key};
use crate::evaluate::{Kept, Measured, Slice, Trials};
use crate::numerics::KeepGoing;
use crate::treat::Treatment;
use std::sync::Arc;

/// Runs a model on a small and a large slice.
pub struct TwoSlices {
    /// The model.
    pub trials: Trials,
    /// The small slice, and the large one.
    pub slices: [Slice; 2],
}

impl Runner for TwoSlices {
    fn measure(
        &mut self,
        plan: &[Treatment],
        extent: Extent,
        wanted: KeepGoing<'_>,
        tell: &mut dyn FnMut(&Measured) -> bool,
    ) -> Result<Option<Measured>, String> {
        let slice = &self.slices[usize::from(extent == Extent::Large)];
        self.trials.run(plan, slice, wanted, tell).map_err(|e| e.to_string())
    }
}

/// Measurements in the folder where facts are kept.
pub struct KeptInCache(pub Arc<Cache>);

impl Kept for KeptInCache {
    fn get(&self, question: &str) -> Option<Vec<u8>> {
        self.0.get(Key::named(question))
    }
    fn put(&self, question: &str, answer: &[u8]) {
        // A full disk is no reason to stop; the cache counts what it could not keep.
        let _ = self.0.put(Key::named(question), answer);
    }
}
