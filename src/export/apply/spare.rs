//! Buffers that go round: fresh memory costs the system more than the work that is done in it.

use std::sync::{Mutex, PoisonError};

/// Buffers that are not in use.
#[derive(Debug, Default)]
pub struct Spare(Mutex<Vec<Vec<u8>>>);

/// Buffers kept.
const KEPT: usize = 4;

impl Spare {
    /// Room for so many bytes: the smallest buffer that has it, or a new one.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = (0..spare.len()).filter(|&i| spare[i].capacity() >= bytes);
        let best = fits.min_by_key(|&i| spare[i].capacity());
        best.map_or_else(|| Vec::with_capacity(bytes), |i| spare.swap_remove(i))
    }
    /// Takes a buffer back. Of too many the smallest goes.
    pub fn put(&self, buffer: Vec<u8>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(buffer);
        if spare.len() > KEPT {
            let smallest = (0..spare.len()).min_by_key(|&i| spare[i].capacity());
            smallest.map(|i| spare.swap_remove(i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_comes_back_and_the_largest_are_kept() {
        let spare = Spare::default();
        assert!(spare.take(10).capacity() >= 10);
        for size in [100, 5, 50, 400, 300] {
            spare.put(Vec::with_capacity(size));
        }
        assert_eq!([60, 40, 1000].map(|n| spare.take(n).capacity()), [100, 50, 1000]);
        assert_eq!([6, 6, 6].map(|n| spare.take(n).capacity()), [300, 400, 6]);
    }
}
