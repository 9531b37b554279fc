//! Magnitude pruning of a matrix, exactly: which entries go, and what that costs.

use crate::model::Matrix;
use crate::probe::ProbeError;

/// What pruning did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pruned {
    /// Largest magnitude removed.
    pub threshold: f32,
    /// Σ w² of the entries removed.
    pub energy: f64,
    /// Entries left that are not zero.
    pub nonzeros: u64,
    /// Such entries in each row.
    pub rows: Vec<u32>,
    /// Such entries in each column.
    pub cols: Vec<u32>,
}

/// Sets the `removed` smallest magnitudes to zero. Of equal ones those that come first in the matrix go first.
pub fn prune(matrix: &mut Matrix, removed: u64, keep_going: &dyn Fn() -> bool) -> Result<Pruned, ProbeError> {
    let removed = removed.min(matrix.data.len() as u64);
    let (threshold, mut ties) = threshold(&matrix.data, removed, keep_going)?;
    let mut out = Pruned { rows: vec![0; matrix.rows], cols: vec![0; matrix.cols], ..Pruned::default() };
    if removed > 0 {
        out.threshold = f32::from_bits(threshold);
    }
    let block = (262_144 / matrix.cols.max(1)).max(1);
    for (r, row) in matrix.data.chunks_exact_mut(matrix.cols.max(1)).enumerate() {
        if r % block == 0 && !keep_going() {
            return Err(ProbeError::Stopped);
        }
        for (w, column) in row.iter_mut().zip(&mut out.cols) {
            let bits = w.to_bits() & 0x7fff_ffff;
            let tie = bits == threshold && ties > 0;
            if removed > 0 && (bits < threshold || tie) {
                ties -= u64::from(tie);
                out.energy += f64::from(*w) * f64::from(*w);
                *w = 0.0;
            } else if bits != 0 {
                out.nonzeros += 1;
                out.rows[r] += 1;
                *column += 1;
            }
        }
    }
    Ok(out)
}

/// Bit pattern of the `k`-th smallest magnitude and how many entries of exactly that magnitude are among the `k`
/// smallest: a radix selection over the upper, then the lower 16 bits.
fn threshold(data: &[f32], k: u64, keep_going: &dyn Fn() -> bool) -> Result<(u32, u64), ProbeError> {
    if k == 0 {
        return Ok((0, 0));
    }
    let mut prefix = 0u32;
    let mut left = k;
    for (shift, bits) in [(16u32, 15u32), (0, 16)] {
        let mut counts = vec![0u64; 1 << bits];
        for block in data.chunks(1 << 18) {
            if !keep_going() {
                return Err(ProbeError::Stopped);
            }
            for w in block {
                let pattern = w.to_bits() & 0x7fff_ffff;
                if shift == 16 || pattern >> 16 == prefix >> 16 {
                    counts[(pattern >> shift) as usize & ((1 << bits) - 1)] += 1;
                }
            }
        }
        for (digit, count) in counts.iter().enumerate() {
            if left <= *count {
                prefix |= (digit as u32) << shift;
                break;
            }
            left -= count;
        }
    }
    Ok((prefix, left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exactly_the_smallest_go_ties_by_index(data in prop::collection::vec(-4i8..4, 1..120), share in 0.0f64..=1.0) {
            let data: Vec<f32> = data.into_iter().map(|x| f32::from(x) / 3.0).collect();
            let k = (share * data.len() as f64).round() as usize;
            let mut matrix = Matrix::new(1, data.len(), data.clone()).unwrap();
            let pruned = prune(&mut matrix, k as u64, &|| true).unwrap();
            let mut order: Vec<usize> = (0..data.len()).collect();
            order.sort_by(|&a, &b| data[a].abs().total_cmp(&data[b].abs()).then(a.cmp(&b)));
            let mut want = data.clone();
            order[..k].iter().for_each(|&i| want[i] = 0.0);
            prop_assert_eq!(&matrix.data, &want);
            let energy: f64 = order[..k].iter().map(|&i| f64::from(data[i]).powi(2)).sum();
            prop_assert!((pruned.energy - energy).abs() < 1e-9);
            prop_assert_eq!(pruned.nonzeros as usize, want.iter().filter(|w| **w != 0.0).count());
            prop_assert_eq!(pruned.rows[0] as u64, pruned.nonzeros);
        }
    }
}
