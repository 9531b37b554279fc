//! Optimal brain surgery layer by layer, as SparseGPT does it (Frantar & Alistarh 2023): columns are gone through in order, and
//! what an entry's removal does to the outputs is made up for by the entries of its row that are still to come.
//!
//! With H = G + damping and H⁻¹ = UᵀU (U upper), removing w_ij costs w_ij²/U_jj² when all earlier columns are fixed. Of every
//! 128 columns those of least cost go, chosen over all rows together; of N:M when their group is reached.

use super::{Act, Criterion, Way, entries_only, gram_seen};
use crate::model::{Layer, Matrix};
use crate::numerics::root::inverse_root;
use crate::numerics::{KeepGoing, interrupt::check};
use crate::probe::ProbeError;
use crate::treat::error::wide_gram;
use crate::treat::{Pattern, Prune};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, Par};

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::Obs,
    name: "obs",
    words: "what the other entries of a row can make up for, and do (SparseGPT, Frantar & Alistarh 2023); needs activations",
    short: "what others make up for",
    weighs: true,
    applies: |layer, pattern| {
        entries_only(pattern)?;
        gram_seen(layer)
    },
    pattern: Pattern::PerRow,
    act: Act::Rewrite(rewrite),
};

/// Columns whose entries are chosen together.
const BLOCK: usize = 128;
/// What is added to the diagonal of the Gram matrix, as a share of its mean.
pub(super) const DAMPING: f64 = 0.01;
/// Rows brought up to date between two questions whether to go on.
const TOGETHER: usize = 256;

/// Prunes and rewrites what stays.
pub(super) fn rewrite(
    layer: &Layer,
    matrix: &mut Matrix,
    how: Prune,
    keep_going: KeepGoing<'_>,
) -> Result<(), ProbeError> {
    Curvature::of(layer, keep_going)?.prune(layer, matrix, how, keep_going)
}

/// What the inputs say of a layer, whatever share of it goes.
pub struct Curvature {
    /// U of H⁻¹ = UᵀU.
    upper: Mat<f64>,
    /// 1/U_jj²; 0 where no input reaches.
    costs: Vec<f64>,
    /// Columns that no input reaches.
    dead: Vec<bool>,
}

impl Curvature {
    /// Of a layer whose inputs were seen whole.
    pub fn of(layer: &Layer, keep_going: KeepGoing<'_>) -> Result<Self, ProbeError> {
        gram_seen(layer).map_err(ProbeError::Inputs)?;
        let gram = layer.inputs.as_ref().map(|i| wide_gram(i)).transpose()?.flatten();
        let gram = gram.ok_or_else(|| ProbeError::Inputs(crate::treat::error::NO_GRAM.to_owned()))?;
        Self::damped(gram, DAMPING, keep_going)
    }

    fn damped(mut gram: Mat<f64>, damping: f64, keep_going: KeepGoing<'_>) -> Result<Self, ProbeError> {
        let n = gram.nrows();
        let mean = (0..n).map(|j| gram[(j, j)]).sum::<f64>() / n.max(1) as f64;
        let dead: Vec<bool> = (0..n).map(|j| gram[(j, j)] <= 0.0).collect();
        for j in 0..n {
            let unreached = if mean > 0.0 { mean } else { 1.0 };
            gram[(j, j)] = if dead[j] { unreached } else { gram[(j, j)] } + damping * mean;
        }
        let upper = inverse_root(gram, keep_going)?.ok_or_else(|| {
            ProbeError::Inputs("its Gram matrix is not positive semidefinite; calibrate again".to_owned())
        })?;
        let costs = (0..n).map(|j| if dead[j] { 0.0 } else { upper[(j, j)].powi(-2) }).collect();
        Ok(Self { upper, costs, dead })
    }

    /// Sets what goes to zero and rewrites what stays.
    pub fn prune(
        &self,
        layer: &Layer,
        matrix: &mut Matrix,
        how: Prune,
        keep_going: KeepGoing<'_>,
    ) -> Result<(), ProbeError> {
        let removed = how.pattern.removed(how.remove, layer);
        let which = match how.pattern {
            Pattern::PerRow => Which::PerRow(removed),
            Pattern::Groups(m) => Which::Groups(m, removed as usize),
            _ => Which::Of(removed),
        };
        self.sweep(matrix, which, keep_going).map(drop)
    }
}

/// How many entries go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    /// So many of all.
    Of(u64),
    /// So many of each row.
    PerRow(u64),
    /// Of every so many of a row, so many.
    Groups(usize, usize),
    /// These columns of every row.
    #[cfg_attr(not(test), expect(dead_code, reason = "the worked examples name them"))]
    Columns(&'a [usize]),
}

impl Curvature {
    /// Goes through the columns; Σe², which undamped is the energy that the outputs lose, (w − ŵ)G(w − ŵ)ᵀ over all rows.
    ///
    /// Of a column that no input reaches nothing is known: its entries go first, and those beyond the number asked for stay as
    /// they are (SparseGPT clears them all).
    fn sweep(&self, matrix: &mut Matrix, which: Which<'_>, keep_going: KeepGoing<'_>) -> Result<f64, ProbeError> {
        let Self { upper, costs, dead } = self;
        let (m, n) = (matrix.rows, matrix.cols);
        if upper.nrows() != n {
            return Err(ProbeError::Inputs(format!("its inputs are {} features: of another layer", upper.nrows())));
        }
        let mut w: Vec<f64> = matrix.data.iter().map(|&w| f64::from(w)).collect();
        let width = if let Which::Groups(size, _) = which { (BLOCK / size.max(1)).max(1) * size.max(1) } else { BLOCK };
        let mut lost = 0.0;
        for start in (0..n).step_by(width) {
            check(keep_going)?;
            let (end, count) = ((start + width).min(n), width.min(n - start));
            let mut gone = chosen(&w, n, start..end, costs, which);
            let mut errors = Mat::<f64>::zeros(count, m);
            for (r, (row, gone)) in w.chunks_exact_mut(n).zip(gone.chunks_exact_mut(count)).enumerate() {
                if r % TOGETHER == 0 {
                    check(keep_going)?;
                }
                for j in start..end {
                    if let Which::Groups(size, removed) = which
                        && j % size == 0
                        && j + size <= n
                    {
                        let cost = |k: usize| row[j + k] * row[j + k] * costs[j + k];
                        least(size, removed, cost).into_iter().for_each(|k| gone[j - start + k] = true);
                    }
                    if !gone[j - start] {
                        continue;
                    }
                    let error = row[j] / upper[(j, j)];
                    for (k, w) in row[j..end].iter_mut().enumerate() {
                        *w -= error * upper[(j, j + k)];
                    }
                    row[j] = 0.0;
                    errors[(j - start, r)] = error;
                    lost += if dead[j] { 0.0 } else { error * error };
                }
            }
            if end == n {
                break;
            }
            let rest = upper.as_ref().submatrix(start, end, count, n - end);
            for (i, rows) in w.chunks_mut(TOGETHER * n).enumerate() {
                check(keep_going)?;
                let rows_here = rows.len() / n;
                let into = MatMut::from_row_major_slice_mut(rows, rows_here, n).subcols_mut(end, n - end);
                let errors = errors.as_ref().subcols(i * TOGETHER, rows_here);
                matmul(into, Accum::Add, errors.transpose(), rest, -1.0, Par::Seq);
            }
        }
        matrix.data.iter_mut().zip(&w).for_each(|(to, from)| *to = *from as f32);
        Ok(lost)
    }
}

/// What goes of a block of columns, row after row; of groups that is only known once they are reached.
fn chosen(w: &[f64], n: usize, of: std::ops::Range<usize>, costs: &[f64], which: Which<'_>) -> Vec<bool> {
    let (start, count, m) = (of.start, of.len(), w.len() / n.max(1));
    let mut gone = vec![false; m * count];
    // As many as there ought to be up to a column, so that they add up to the number asked for.
    let up_to = |removed: u64, column: usize| (u128::from(removed) * column as u128 / n.max(1) as u128) as usize;
    let here = |removed: u64| up_to(removed, of.end) - up_to(removed, of.start);
    let cost = |row: usize, k: usize| {
        let w = w[row * n + start + k];
        w * w * costs[start + k]
    };
    match which {
        Which::Of(removed) => {
            let all = least(m * count, here(removed), |i| cost(i / count, i % count));
            all.into_iter().for_each(|i| gone[i] = true);
        }
        Which::PerRow(removed) => {
            for row in 0..m {
                let some = least(count, here(removed), |k| cost(row, k));
                some.into_iter().for_each(|k| gone[row * count + k] = true);
            }
        }
        Which::Groups(..) => {}
        Which::Columns(columns) => {
            for column in columns.iter().filter(|c| of.contains(c)) {
                (0..m).for_each(|row| gone[row * count + column - start] = true);
            }
        }
    }
    gone
}

/// Places of the `removed` least; of equals the first.
fn least(count: usize, removed: usize, cost: impl Fn(usize) -> f64) -> Vec<usize> {
    let removed = removed.min(count);
    let mut order: Vec<(f64, usize)> = (0..count).map(|k| (cost(k), k)).collect();
    if removed > 0 && removed < count {
        order.select_nth_unstable_by(removed - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
    order.truncate(removed);
    order.into_iter().map(|(_, k)| k).collect()
}

#[cfg(test)]
mod tests;
