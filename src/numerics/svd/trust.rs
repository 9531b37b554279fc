//! Whether singular values computed in `f32` are accurate enough, or have to be computed again in `f64`.
//!
//! The computed values are those of A + E with the rounding errors E. Once the entries are mixed (`mix.rs`), E consists
//! of two parts. One has entries that behave like independent random numbers, each proportional to the entries that the
//! transformations spread over the matrix: its norm stays below 2u·‖A‖_F (u: unit roundoff), which the tests check on
//! orthogonal matrices, where it is largest. The other comes from long sums of terms of one sign, which a strong common
//! direction makes: a few u·σ₁, more for tall matrices, whose rows arrive in many stretches.
//!
//! A bound on ‖E‖₂ alone would refuse every large matrix. But a value that lies apart from the others feels only the
//! part of E between its own two singular vectors, ‖E‖₂/√n of it; only where k values lie closer together than E
//! reaches do they feel its compression to k dimensions, which grows to all of ‖E‖₂ when k = n. So equal and clustered
//! values are what `f32` cannot resolve.

use super::real::Real;

/// Accuracy that is promised, relative to the largest value.
pub const PROMISED: f64 = 1e-6;

/// Norm of the random part of E in units of u·‖A‖_F.
const RANDOM: f64 = 2.0;
/// Norm of the part that a common direction makes in units of u·σ₁.
const COMMON: f64 = 8.0;
/// Values within so many times ‖E‖₂ of each other count as one cluster. All others together move a value by no more than
/// Σ|Eᵢⱼ|²/gap ≤ n·(‖E‖₂/2√n)²/(8‖E‖₂) = ‖E‖₂/32.
const REACH: f64 = 8.0;

/// Whether `f32` may do for a matrix of such sides, whatever its values: of very tall ones it loses too much.
pub fn possible(larger: usize, smaller: usize) -> bool {
    common(larger, smaller) <= 0.75 * PROMISED
}

/// Norm of the part of E that a common direction makes, relative to σ₁.
fn common(larger: usize, smaller: usize) -> f64 {
    COMMON * f32::ROUNDOFF * (1.0 + larger as f64 / (16.0 * smaller.max(1) as f64)).sqrt()
}

/// ‖E‖₂, from above.
#[cfg(test)]
pub fn reach(sigma: &[f64], larger: usize) -> f64 {
    random(sigma) + common(larger, sigma.len()) * sigma.first().copied().unwrap_or(0.0)
}

/// Norm of the part of E that behaves like random numbers.
fn random(sigma: &[f64]) -> f64 {
    RANDOM * f32::ROUNDOFF * sigma.iter().map(|s| s * s).sum::<f64>().sqrt()
}

/// Whether all values of a matrix with this larger side, descending and computed in `f32`, are as accurate as promised.
pub fn trusted(sigma: &[f64], larger: usize) -> bool {
    let n = sigma.len();
    let Some(&top) = sigma.first() else { return true };
    let random = random(sigma);
    let room = (PROMISED - common(larger, n)) * top;
    if random <= room {
        return true;
    }
    let reach = REACH * random;
    sigma.iter().all(|&s| {
        let above = sigma.partition_point(|&x| x > s + reach);
        let near = sigma.partition_point(|&x| x >= s - reach) - above;
        // ±σ are the eigenvalues of [[0, A], [Aᵀ, 0]]: near zero, the negative ones are neighbours as well.
        let mirrored = n - sigma.partition_point(|&x| x > reach - s);
        let share = (((near + mirrored) as f64).sqrt() + 1.5) / (n as f64).sqrt();
        random * (share.min(1.0) + 1.0 / (4.0 * REACH)) <= room
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separated_values_are_trusted_and_clustered_ones_are_not() {
        let n = 2048;
        let spread: Vec<f64> = (0..n).map(|i| 1.0 - i as f64 / n as f64).collect();
        assert!(trusted(&spread, n));
        assert!(!trusted(&vec![1.0; n], n));
        // Two levels a millionth apart, or one strong value above equal ones.
        let levels: Vec<f64> = (0..n).map(|i| if i < n / 2 { 1.0 } else { 1.0 - 1e-6 }).collect();
        assert!(!trusted(&levels, n));
        let mut strong = vec![0.5; n];
        strong[0] = 1.0;
        assert!(!trusted(&strong, n));
        // Equal values that are small against the largest carry no error that counts.
        let few: Vec<f64> = (0..n).map(|i| if i < 8 { 1.0 - i as f64 / 16.0 } else { 1e-3 }).collect();
        assert!(trusted(&few, n));
        let mut one = vec![1e-3; n];
        one[0] = 1.0;
        assert!(trusted(&one, n) && !trusted(&one, 100 * n));
        assert!(trusted(&[], 0) && trusted(&[0.0; 300], 300));
    }
}
