//! N:M patterns: the error of keeping N of every M consecutive input columns of a row.

use super::{Ask, ProbeError};
use crate::model::Matrix;

/// Relative error ‖W−Ŵ‖_F/‖W‖_F for each `(n, m)`; columns that fill no group stay dense.
pub fn errors(
    matrix: &Matrix,
    patterns: &[(usize, usize)],
    sum_squares: f64,
    ask: &Ask,
) -> Result<Vec<(usize, usize, f64)>, ProbeError> {
    let mut out = Vec::new();
    for &(n, m) in patterns {
        let mut removed = 0.0;
        let rows = (262_144 / matrix.cols.max(1)).max(1);
        for block in matrix.data.chunks(rows * matrix.cols.max(1)) {
            if !(ask.keep_going)() {
                return Err(ProbeError::Stopped);
            }
            removed += block.chunks_exact(matrix.cols.max(1)).map(|row| removed_energy(row, n, m)).sum::<f64>();
        }
        let error = if sum_squares > 0.0 { (removed / sum_squares).sqrt() } else { 0.0 };
        out.push((n, m, error));
    }
    Ok(out)
}

/// Sum of squares that the pattern removes from a row.
fn removed_energy(row: &[f32], n: usize, m: usize) -> f64 {
    match (n, m) {
        (2, 4) => row.chunks_exact(4).map(two_of_four).sum(),
        (1, 2) => row.chunks_exact(2).map(|g| square(g[0].abs().min(g[1].abs()))).sum(),
        _ => {
            let mut group = [0.0f32; 64];
            let group = &mut group[..m.min(64)];
            row.chunks_exact(m)
                .map(|g| {
                    group.copy_from_slice(g);
                    group.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
                    group[..m - n].iter().map(|&w| square(w)).sum::<f64>()
                })
                .sum()
        }
    }
}

/// The two smallest of four, without branches.
fn two_of_four(g: &[f32]) -> f64 {
    let [a, b, c, d] = [g[0].abs(), g[1].abs(), g[2].abs(), g[3].abs()];
    let (low1, high1, low2, high2) = (a.min(b), a.max(b), c.min(d), c.max(d));
    let (smallest, other) = (low1.min(low2), low1.max(low2));
    square(smallest) + square(other.min(high1.min(high2)))
}

fn square(w: f32) -> f64 {
    f64::from(w) * f64::from(w)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(data: &[f32], n: usize, m: usize) -> f64 {
        let matrix = Matrix::new(1, data.len(), data.to_vec()).unwrap();
        let squares = data.iter().map(|&w| square(w)).sum();
        let ask = Ask { keep_going: &|| true, threads: 1 };
        errors(&matrix, &[(n, m)], squares, &ask).unwrap()[0].2
    }

    #[test]
    fn the_worked_example_keeps_3_4_8_7() {
        let w = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0];
        assert!((error(&w, 2, 4) - 0.568_796_459_0).abs() < 1e-9);
        // a column that fills no group stays
        let longer = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0, 100.0];
        assert!((error(&longer, 2, 4) - (66f64 / 10_204.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_branchless_forms_agree_with_sorting() {
        let mut x = 1u32;
        let data: Vec<f32> = (0..4096)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as f32 - 128.0
            })
            .collect();
        let slow = |n: usize, m: usize| -> f64 {
            data.chunks_exact(m)
                .map(|g| {
                    let mut g: Vec<f64> = g.iter().map(|&w| square(w)).collect();
                    g.sort_by(f64::total_cmp);
                    g[..m - n].iter().sum::<f64>()
                })
                .sum()
        };
        for (n, m) in [(2, 4), (1, 2), (4, 8), (1, 4)] {
            assert!((removed_energy(&data, n, m) - slow(n, m)).abs() < 1e-6, "{n}:{m}");
        }
    }
}
