//! BF16 and F16 have 65,536 bit patterns: counting each of them is one pass, and then every quantile, threshold and
//! prune error is exact.

use super::bins::{Bins, SHIFT};

/// Magnitudes of a 16-bit type: the sign bit left out.
const MAGNITUDES: usize = 1 << 15;
/// Tables counted into in turn, so that a value that repeats does not wait for its own last count.
const TABLES: usize = 4;
/// Entries after which the counts of a table might overflow.
const FOLD: usize = 1 << 31;

/// Counts magnitudes by their bit pattern.
pub(super) struct PatternCounter {
    tables: Vec<u32>,
    total: Vec<u64>,
    since: usize,
}

/// What the counts tell.
pub(super) struct Table {
    pub zeros: u64,
    pub min_nonzero: f64,
    pub max: f64,
    pub sum_squares: f64,
    pub sum_abs: f64,
    pub sum_roots: f64,
    pub bins: Bins,
}

impl PatternCounter {
    pub fn new() -> Self {
        Self { tables: vec![0; MAGNITUDES * TABLES], total: vec![0; MAGNITUDES], since: 0 }
    }

    pub fn add(&mut self, patterns: &[[u8; 2]]) {
        if self.since + patterns.len() > FOLD {
            self.fold();
        }
        self.since += patterns.len();
        let magnitude = |p: [u8; 2]| usize::from(u16::from_le_bytes(p) & 0x7fff);
        let (tables, _) = self.tables.as_chunks_mut::<MAGNITUDES>();
        let [a, b, c, d] = tables else { return };
        let (chunks, tail) = patterns.as_chunks::<4>();
        for &[p, q, r, s] in chunks {
            a[magnitude(p)] += 1;
            b[magnitude(q)] += 1;
            c[magnitude(r)] += 1;
            d[magnitude(s)] += 1;
        }
        for &p in tail {
            a[magnitude(p)] += 1;
        }
    }

    /// Takes in what another counted.
    pub fn append(&mut self, mut other: Self) {
        self.fold();
        other.fold();
        self.total.iter_mut().zip(&other.total).for_each(|(a, b)| *a += b);
    }

    fn fold(&mut self) {
        for table in self.tables.chunks_exact_mut(MAGNITUDES) {
            for (total, count) in self.total.iter_mut().zip(table) {
                *total += u64::from(std::mem::take(count));
            }
        }
        self.since = 0;
    }

    /// Reads the counts; `value` gives the number that a pattern (sign bit clear) stands for.
    pub fn finish(mut self, value: impl Fn(u16) -> f32) -> Table {
        self.fold();
        let mut bins = Bins { exact: true, ..Bins::default() };
        let mut t = Table {
            zeros: 0,
            min_nonzero: 0.0,
            max: 0.0,
            sum_squares: 0.0,
            sum_abs: 0.0,
            sum_roots: 0.0,
            bins: Bins::default(),
        };
        let mut count = 0;
        // Patterns ascend with the magnitudes they stand for.
        for (bits, &held) in self.total.iter().enumerate().filter(|(_, held)| **held > 0) {
            let w = value(bits as u16);
            if w == 0.0 {
                t.zeros += held;
            } else {
                let (w64, many) = (f64::from(w), held as f64);
                t.min_nonzero = if t.min_nonzero == 0.0 { w64 } else { t.min_nonzero };
                t.max = w64;
                t.sum_squares += many * w64 * w64;
                t.sum_abs += many * w64;
                t.sum_roots += many * w64.sqrt();
                count += held;
                bins.key.push(w.to_bits() >> SHIFT);
                bins.count.push(count);
                bins.energy.push(t.sum_squares);
            }
        }
        t.bins = bins;
        t
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DType;
    use crate::model::decode::pattern;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_those_of_plain_sorting(bits in prop::collection::vec(any::<u16>(), 0..300), half: bool) {
            let dtype = if half { DType::F16 } else { DType::BF16 };
            // A layer with other patterns is never counted.
            let bits: Vec<u16> = bits.into_iter().filter(|b| pattern(dtype, *b).unwrap().is_finite()).collect();
            let bytes: Vec<[u8; 2]> = bits.iter().map(|b| b.to_le_bytes()).collect();
            let mut counter = PatternCounter::new();
            let (head, tail) = bytes.split_at(bytes.len() / 3);
            counter.add(head);
            let mut other = PatternCounter::new();
            other.add(tail);
            counter.append(other);
            let table = counter.finish(|b| pattern(dtype, b).unwrap());
            let values: Vec<f32> = bits.iter().map(|&b| pattern(dtype, b).unwrap().abs()).collect();
            let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite() && *v > 0.0).collect();
            finite.sort_by(f32::total_cmp);
            prop_assert_eq!(table.zeros as usize, values.iter().filter(|v| **v == 0.0).count());
            prop_assert_eq!(table.bins.count.last().copied().unwrap_or(0) as usize, finite.len());
            prop_assert_eq!(table.min_nonzero as f32, finite.first().copied().unwrap_or(0.0));
            prop_assert_eq!(table.max as f32, finite.last().copied().unwrap_or(0.0));
            for k in [1, finite.len() / 2, finite.len()].into_iter().filter(|k| (1..=finite.len()).contains(k)) {
                let cut = table.bins.lowest(k as u64);
                let energy: f64 = finite[..k].iter().map(|v| f64::from(*v).powi(2)).sum();
                prop_assert_eq!(cut.threshold, finite[k - 1]);
                prop_assert!((cut.energy.1 - energy).abs() <= 1e-12 * energy, "{} {}", cut.energy.1, energy);
            }
        }
    }
}
