//! Cumulative energy of units that are removed one after the other, those of least energy an entry first.

use crate::known::Known;
use serde::{Deserialize, Serialize};

/// Steps kept at most; beyond, what lies between two of them is bracketed.
const MOST: usize = 4096;

/// Energy and entries of the first units removed. Three parallel arrays, ascending.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// Units removed up to this step.
    pub units: Vec<u32>,
    /// Their entries.
    pub entries: Vec<u64>,
    /// Their Σ w².
    pub energy: Vec<f64>,
}

impl Steps {
    /// Of units with `(Σ w², entries)` each.
    pub fn new(mut units: Vec<(f64, u32)>) -> Self {
        let mean = |u: &(f64, u32)| u.0 / f64::from(u.1.max(1));
        units.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
        let together = units.len().div_ceil(MOST).max(1);
        let mut out = Self::default();
        let (mut count, mut entries, mut energy) = (0u32, 0u64, 0.0);
        for some in units.chunks(together) {
            count += some.len() as u32;
            entries += some.iter().map(|u| u64::from(u.1)).sum::<u64>();
            energy += some.iter().map(|u| u.0).sum::<f64>();
            out.units.push(count);
            out.entries.push(entries);
            out.energy.push(energy);
        }
        out
    }

    /// Number of units.
    pub fn total(&self) -> u64 {
        self.units.last().map_or(0, |&u| u64::from(u))
    }

    /// What removing the first `k` units comes to: their energy and their entries. Exact at a step; between two, on the
    /// straight line, which the sorted energies stay below where all units are of one size.
    pub fn lowest(&self, k: u64) -> (Known, u64) {
        let k = k.min(self.total());
        let at = self.units.partition_point(|&u| u64::from(u) < k);
        let before = |v: &[f64]| at.checked_sub(1).map_or(0.0, |i| v[i]);
        let Some(&step) = self.units.get(at) else { return (Known::exact(0.0), 0) };
        if u64::from(step) == k {
            return (Known::exact(self.energy[at]), self.entries[at]);
        }
        let (units, entries) = at.checked_sub(1).map_or((0, 0), |i| (u64::from(self.units[i]), self.entries[i]));
        if k == units {
            return (Known::exact(before(&self.energy)), entries);
        }
        let share = (k - units) as f64 / (u64::from(step) - units) as f64;
        let energy = before(&self.energy) + share * (self.energy[at] - before(&self.energy));
        (Known::estimate(energy), entries + (share * (self.entries[at] - entries) as f64).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_units_are_exact_and_many_stay_below_the_line() {
        let few = Steps::new(vec![(4.0, 2), (1.0, 2), (9.0, 2)]);
        let energies: Vec<f64> = (0..=4).map(|k| few.lowest(k).0.value).collect();
        assert_eq!(energies, [0.0, 1.0, 5.0, 14.0, 14.0]);
        assert_eq!(few.lowest(2), (Known::exact(5.0), 4));
        assert_eq!(Steps::new(Vec::new()).lowest(3), (Known::exact(0.0), 0));
        let many = Steps::new((0..10_000).map(|i| (f64::from(i * 37 % 10_000), 16)).collect());
        assert!(many.units.len() <= MOST && many.total() == 10_000);
        for k in [1u64, 2, 3, 500, 501, 9_999, 10_000] {
            let exact = (k * (k - 1) / 2) as f64;
            let (found, entries) = many.lowest(k);
            assert!(found.value >= exact && found.value <= exact + 10_000.0, "{k}: {found:?} {exact}");
            assert_eq!(entries, 16 * k);
        }
    }

    #[test]
    fn small_units_go_when_their_entries_are_small() {
        // Means 3, 1, 2.
        let steps = Steps::new(vec![(3.0, 1), (4.0, 4), (4.0, 2)]);
        assert_eq!((steps.lowest(1), steps.lowest(2)), ((Known::exact(4.0), 4), (Known::exact(8.0), 6)));
    }
}
