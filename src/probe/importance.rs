//! What pruning by relative importance costs, from a sample of rows: the curve of single entries, of each row, of N:M.

use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::model::{DType, Layer, Orientation, Stored};
use crate::treat::Pattern;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Rows that stand for all.
const SAMPLE: usize = 256;
/// Stretches between the places at which a curve is kept.
const PLACES: usize = 256;
/// Values of M that are measured.
const SIZES: [usize; 3] = [4, 8, 16];

/// Shares of the energy that go with the least important entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// At even shares of all entries, from none to all.
    pub layer: Vec<f64>,
    /// The same with the same share of every row.
    pub row: Vec<f64>,
    /// For each M with 0, 1, … M entries of a group removed.
    pub groups: Vec<(usize, Vec<f64>)>,
}

impl Importance {
    /// About which share of the energy goes at a share of the entries; `None` for patterns that were not measured.
    pub fn removed(&self, pattern: Pattern, share: f64) -> Option<f64> {
        let along = |curve: &[f64]| {
            let at = share.clamp(0.0, 1.0) * curve.len().checked_sub(1)? as f64;
            let (low, high) = (*curve.get(at.floor() as usize)?, *curve.get(at.ceil() as usize)?);
            Some(low + (high - low) * at.fract())
        };
        match pattern {
            Pattern::Unstructured => along(&self.layer),
            Pattern::PerRow => along(&self.row),
            Pattern::Groups(m) => along(&self.groups.iter().find(|g| g.0 == m)?.1),
            _ => None,
        }
    }
}

/// Measures [`Importance`].
pub struct ImportanceProbe;

impl Probe for ImportanceProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Importance
    }
    fn title(&self) -> &'static str {
        "importance"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable() && layer.eligible()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let (rows, cols) = (layer.rows() as f64, layer.cols() as f64);
        0.7 * rows * cols + 250.0 * rows.min(SAMPLE as f64) * cols
    }
    fn decodes(&self, layer: &Layer) -> bool {
        layer.orientation == Orientation::InOut || layer.dtype == DType::F64
    }
    fn workspace(&self, layer: &Layer, _threads: usize) -> u64 {
        (1 << 20) + (layer.rows().min(SAMPLE) * layer.cols()) as u64 * 8
    }
    fn measure(&self, _layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        Ok(vec![Fact::Importance(Arc::new(importance(entries, ask)?))])
    }
}

/// Measures a matrix: a pass for the sums of all columns, then the sampled rows.
pub fn importance(entries: &Stored, ask: &Ask) -> Result<Importance, ProbeError> {
    entries.fit()?;
    let shape @ [rows, cols] = entries.shape();
    let together = ((1 << 16) / cols.max(1)).max(1);
    let mut buffer = vec![0f32; together.min(rows) * cols];
    let mut columns = vec![0f64; cols];
    for from in (0..rows).step_by(together) {
        if !(ask.keep_going)() {
            return Err(ProbeError::Stopped);
        }
        let block = &mut buffer[..together.min(rows - from) * cols];
        entries.rows_into(from, block);
        for row in block.chunks_exact(cols.max(1)) {
            columns.iter_mut().zip(row).for_each(|(sum, w)| *sum += f64::from(w.abs()));
        }
    }
    let inverse = |sum: f64| if sum > 0.0 { 1.0 / sum } else { 0.0 };
    columns.iter_mut().for_each(|sum| *sum = inverse(*sum));
    let sampled = rows.min(SAMPLE);
    let mut row = vec![0f32; cols];
    let mut own = Vec::with_capacity(cols);
    let mut all: Vec<(f32, f32)> = Vec::with_capacity(sampled * cols);
    let mut out = Importance { shape, row: vec![0.0; PLACES + 1], ..Importance::default() };
    out.groups = SIZES.map(|m| (m, vec![0.0; m + 1])).into();
    for i in 0..sampled {
        if !(ask.keep_going)() {
            return Err(ProbeError::Stopped);
        }
        entries.rows_into(i * rows / sampled, &mut row);
        let mine = inverse(row.iter().map(|w| f64::from(w.abs())).sum());
        own.clear();
        own.extend(row.iter().zip(&columns).map(|(w, column)| ((f64::from(w.abs()) * (column + mine)) as f32, *w)));
        for (m, removed) in &mut out.groups {
            for group in own.chunks_exact(*m) {
                let mut sorted = group.to_vec();
                sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                sorted.iter().zip(&mut removed[1..]).for_each(|((_, w), sum)| *sum += f64::from(*w).powi(2));
            }
        }
        all.extend(&own);
        own.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        add(&own, &mut out.row);
    }
    if !(ask.keep_going)() {
        return Err(ProbeError::Stopped);
    }
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    out.layer = vec![0.0; PLACES + 1];
    add(&all, &mut out.layer);
    let total = out.layer.last().copied().unwrap_or(0.0);
    for (_, removed) in &mut out.groups {
        // Of the entries at each place to those up to it.
        (1..removed.len()).for_each(|k| removed[k] += removed[k - 1]);
    }
    let curves = [&mut out.layer, &mut out.row].into_iter().chain(out.groups.iter_mut().map(|g| &mut g.1));
    curves.flatten().for_each(|e| *e *= inverse(total));
    Ok(out)
}

/// Adds the energy of the first entries at even shares of them.
fn add(sorted: &[(f32, f32)], curve: &mut [f64]) {
    let (mut energy, mut from) = (0f64, 0);
    let places = curve.len() - 1;
    for (place, sum) in curve.iter_mut().enumerate() {
        let to = place * sorted.len() / places.max(1);
        energy += sorted[from..to].iter().map(|(_, w)| f64::from(*w).powi(2)).sum::<f64>();
        from = to;
        *sum += energy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matrix;

    #[test]
    fn the_worked_matrix_loses_what_it_should() {
        // RI of the first row 1.24, 0, .67, .42: {0, −1} go, 1 of 18; of the second .76, 1.22, .61, 1.08: {3, −1}, 10 of 23.
        let matrix = Matrix::new(2, 4, vec![4.0, 0.0, 1.0, -1.0, 3.0, -2.0, -1.0, -3.0]).unwrap();
        let found = importance(&Stored::from(matrix), &Ask { keep_going: &|| true, threads: 1 }).unwrap();
        for pattern in [Pattern::PerRow, Pattern::Groups(4)] {
            let share = found.removed(pattern, 0.5).unwrap();
            assert!((share - 11.0 / 41.0).abs() < 1e-12, "{pattern:?} {share}");
        }
        // Of all entries 0, .417, .611, .667: 0, −1, −1, 1.
        assert!((found.removed(Pattern::Unstructured, 0.5).unwrap() - 3.0 / 41.0).abs() < 1e-12);
        assert_eq!(found.removed(Pattern::Unstructured, 0.0), Some(0.0));
        assert!((found.removed(Pattern::Unstructured, 1.0).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(found.removed(Pattern::Rows, 0.5), None);
        let zero = Stored::from(Matrix::new(3, 2, vec![0.0; 6]).unwrap());
        let found = importance(&zero, &Ask { keep_going: &|| true, threads: 1 }).unwrap();
        assert_eq!(found.removed(Pattern::Unstructured, 1.0), Some(0.0));
    }
}
