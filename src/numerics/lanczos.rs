//! The largest singular value from below: Golub–Kahan–Lanczos with full reorthogonalisation.

use super::{KeepGoing, Stopped, interrupt::check};

/// What the iteration found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Largest {
    /// ‖A v‖/‖v‖ for a vector v: never above σ₁ but for rounding.
    pub value: f64,
    /// ‖Aᵀ(Av) − θv‖/θ for θ = value²: small when v is near a singular vector. No proof that it is the first.
    pub residual: f64,
    /// Products with A and Aᵀ.
    pub steps: usize,
}

/// Steps after which the iteration gives what it has.
const MAX_STEPS: usize = 160;
/// Relative residual at which it stops.
const TOLERANCE: f64 = 1e-8;

/// A linear map, as products with vectors.
pub trait Map {
    /// `(rows, columns)`.
    fn dim(&self) -> (usize, usize);
    /// y = A x.
    fn apply(&mut self, x: &[f64], y: &mut [f64]);
    /// x = Aᵀ y.
    fn apply_transposed(&mut self, y: &[f64], x: &mut [f64]);
}

/// Largest singular value of a map. Deterministic: the start vector depends on the size alone.
pub fn largest(map: &mut dyn Map, keep_going: KeepGoing<'_>) -> Result<Largest, Stopped> {
    largest_within(map, MAX_STEPS, keep_going)
}

/// The same in at most so many steps.
pub fn largest_within(map: &mut dyn Map, steps: usize, keep_going: KeepGoing<'_>) -> Result<Largest, Stopped> {
    let (m, n) = map.dim();
    let nothing = Largest { value: 0.0, residual: 0.0, steps: 0 };
    if m == 0 || n == 0 {
        return Ok(nothing);
    }
    let mut v = start(n);
    let mut basis = vec![v.clone()];
    let (mut alphas, mut betas): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut u: Vec<f64> = vec![0.0; m];
    let mut left: Vec<Vec<f64>> = Vec::new();
    let mut best = nothing;
    let limit = MAX_STEPS.min(steps.max(1)).min(n).min(m);
    for step in 1..=limit {
        check(keep_going)?;
        let mut next = vec![0.0; m];
        map.apply(&v, &mut next);
        if let Some(&beta) = betas.last() {
            axpy(-beta, &u, &mut next);
        }
        orthogonalise(&mut next, &left);
        let alpha = normalise(&mut next);
        alphas.push(alpha);
        u = next;
        left.push(u.clone());
        check(keep_going)?;
        let mut w = vec![0.0; n];
        map.apply_transposed(&u, &mut w);
        axpy(-alpha, &v, &mut w);
        orthogonalise(&mut w, &basis);
        let beta = normalise(&mut w);
        let (theta, last) = top_of_bidiagonal(&alphas, &betas);
        let residual = if theta > 0.0 { beta * last.abs() / theta } else { 0.0 };
        best = Largest { value: theta, residual, steps: step };
        let exhausted = beta <= theta * 1e-14;
        if residual < TOLERANCE || exhausted {
            break;
        }
        betas.push(beta);
        v = w;
        basis.push(v.clone());
    }
    if betas.len() == alphas.len() {
        // Out of steps: the last product with Aᵀ is known as well, and ‖Aᵀu‖ is a lower bound just as good.
        best.value = top_of_bidiagonal(&alphas, &betas).0;
    }
    Ok(best)
}

/// A start vector without special directions, from a fixed linear congruence.
fn start(n: usize) -> Vec<f64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ n as u64;
    let mut v: Vec<f64> = (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        })
        .collect();
    normalise(&mut v);
    v
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn axpy(f: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += f * x);
}

/// Removes what lies along the basis; twice, since once leaves rounding behind.
fn orthogonalise(v: &mut [f64], basis: &[Vec<f64>]) {
    for _ in 0..2 {
        for b in basis {
            let f = dot(v, b);
            axpy(-f, b, v);
        }
    }
}

fn normalise(v: &mut [f64]) -> f64 {
    let norm = dot(v, v).sqrt();
    if norm > 0.0 {
        v.iter_mut().for_each(|x| *x /= norm);
    }
    norm
}

/// Largest singular value of the upper bidiagonal matrix (square, or with one column more) and the last entry of its left singular vector, by bisection
/// on the tridiagonal B Bᵀ and its eigenvector recurrence.
fn top_of_bidiagonal(alphas: &[f64], betas: &[f64]) -> (f64, f64) {
    let k = alphas.len();
    // T = B Bᵀ: diagonal αᵢ² + βᵢ², off-diagonal βᵢ αᵢ₊₁.
    let diagonal: Vec<f64> = (0..k).map(|i| alphas[i].powi(2) + betas.get(i).map_or(0.0, |b| b * b)).collect();
    let off: Vec<f64> = (0..k.saturating_sub(1)).map(|i| betas[i] * alphas[i + 1]).collect();
    let reach = |i: usize| off.get(i).copied().unwrap_or(0.0).abs() + if i > 0 { off[i - 1].abs() } else { 0.0 };
    let mut hi = (0..k).map(|i| diagonal[i] + reach(i)).fold(0.0, f64::max);
    let mut lo = diagonal.iter().copied().fold(0.0, f64::max);
    // All pivots of T − xI negative exactly when x lies above the largest eigenvalue.
    let above = |x: f64| {
        let mut d = diagonal[0] - x;
        for i in 1..k {
            if d >= 0.0 {
                return false;
            }
            d = diagonal[i] - x - off[i - 1].powi(2) / d;
        }
        d < 0.0
    };
    for _ in 0..80 {
        let mid = f64::midpoint(lo, hi);
        if mid <= lo || mid >= hi {
            break;
        }
        if above(mid) { hi = mid } else { lo = mid }
    }
    let theta = hi;
    // Forward recurrence for the eigenvector: stable for the largest eigenvalue of a Lanczos matrix.
    let mut s = vec![1.0f64; k];
    for i in 1..k {
        let before = if i > 1 { off[i - 2] * s[i - 2] } else { 0.0 };
        s[i] = if off[i - 1] == 0.0 { 0.0 } else { ((theta - diagonal[i - 1]) * s[i - 1] - before) / off[i - 1] };
    }
    let norm = dot(&s, &s).sqrt();
    (lo.max(0.0).sqrt(), if norm.is_finite() && norm > 0.0 { s[k - 1] / norm } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2, ArrayView2, arr2};

    struct Dense(Array2<f64>);

    impl Map for Dense {
        fn dim(&self) -> (usize, usize) {
            self.0.dim()
        }
        fn apply(&mut self, x: &[f64], y: &mut [f64]) {
            y.copy_from_slice(self.0.dot(&Array1::from(x.to_vec())).as_slice().unwrap());
        }
        fn apply_transposed(&mut self, y: &[f64], x: &mut [f64]) {
            x.copy_from_slice(self.0.t().dot(&Array1::from(y.to_vec())).as_slice().unwrap());
        }
    }

    fn norm(a: ArrayView2<'_, f32>, keep_going: KeepGoing<'_>) -> Result<Largest, Stopped> {
        largest(&mut Dense(a.mapv(f64::from)), keep_going)
    }

    #[test]
    fn it_finds_the_norm_of_the_small_matrix_and_of_degenerate_ones() {
        let go = || true;
        let m = arr2(&[[3.0f32, 0.0], [4.0, 5.0]]);
        assert!((norm(m.view(), &go).unwrap().value - 45f64.sqrt()).abs() < 1e-9);
        assert_eq!(norm(Array2::zeros((4, 3)).view(), &go).unwrap().value, 0.0);
        let row = arr2(&[[1.0f32, 2.0, 2.0]]);
        assert!((norm(row.view(), &go).unwrap().value - 3.0).abs() < 1e-12);
        let wide = Array2::from_shape_fn((40, 90), |(i, j)| ((i * 7 + j * 13) % 17) as f32 - 8.0);
        let exact = super::super::svd::singular_values(wide.view(), &go, 1).unwrap()[0];
        let found = norm(wide.view(), &go).unwrap().value;
        assert!(found <= exact * (1.0 + 1e-12) && found > exact * (1.0 - 1e-9), "{found} {exact}");
    }

    #[test]
    fn it_stops_when_told() {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let go = || calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3;
        let a = Array2::from_shape_fn((30, 30), |(i, j)| ((i * 31 + j * 17) % 23) as f32);
        assert_eq!(norm(a.view(), &go), Err(Stopped));
    }
}
