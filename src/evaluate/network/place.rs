//! Where a network's arithmetic runs: on the cores of a pool, or on a GPU.

use super::Network;
use candle_core::Device;
use rayon::ThreadPool;
use std::sync::Arc;

/// Tokens that a core runs at once: at most, and at least, as products with fewer rows read a matrix for little.
const CORE: [usize; 2] = [1024, 256];

/// Batches that a short slice is cut into at least, so that many cores have some of it.
const PIECES: usize = 32;

/// Tokens that a GPU runs at once: enough to keep it busy, and the attention of 32 heads takes some GiB at most.
const GPU: usize = 4096;

impl Network {
    /// Its arithmetic runs on this pool, so that it takes no more cores than that has; without, on rayon's own.
    #[must_use]
    pub fn on(self, pool: Arc<ThreadPool>) -> Self {
        Self { threads: Some(pool), ..self }
    }

    /// The device it was loaded to.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Does something on the network's threads.
    pub(in crate::evaluate) fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.threads {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Does arithmetic of tensors: on the network's threads; a GPU is fed by the one that asks.
    pub(in crate::evaluate) fn arithmetic<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if self.device.is_cpu() { self.inside(work) } else { work() }
    }

    /// How many threads it has.
    pub(in crate::evaluate) fn breadth(&self) -> usize {
        self.inside(rayon::current_num_threads).max(1)
    }

    /// Batches that run side by side, and the tokens of each, for so many tokens in all. How they are cut does not depend
    /// on the number of threads, which thus changes no digit.
    pub(in crate::evaluate) fn lanes(&self, all: usize) -> (usize, usize) {
        let [most, least] = CORE;
        if self.device.is_cpu() { (self.breadth(), all.div_ceil(PIECES).clamp(least, most)) } else { (1, GPU) }
    }
}
