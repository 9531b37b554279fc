//! The whole spectrum at a glance: stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017; Lin, Saad and Yang 2016).
//!
//! A few Lanczos steps on AᵀA from a random vector give nodes and weights of a Gauss rule for the distribution of the
//! eigenvalues as that vector sees it. The largest node is σ₁² from below; the weights, cumulated, say what share of
//! the singular values lies above each node. Two errors, both told: the rule knows the share at a node only up to the
//! node's own weight (Chebyshev, Markov, Stieltjes: a theorem), and one vector of n entries sees a share c with a
//! standard deviation of √(2c(1−c)/(n+2)).

use super::gram::{Held, Sparse, dots, remove};
use super::{KeepGoing, Stopped};
use faer::{Mat, Side};
use serde::{Deserialize, Serialize};

/// What the iteration found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// √ of the largest node: σ₁ from below, but for rounding in `f32`.
    pub largest: f64,
    /// ‖AᵀAx − θx‖/θ for its vector x.
    pub residual: f64,
    /// Products with AᵀA.
    pub steps: usize,
    /// One `(σ, weight)` list for each random vector, σ descending; weights add up to 1.
    pub rules: Vec<Vec<(f64, f64)>>,
    /// Number of singular values.
    pub count: usize,
    /// Unit vector that stretches most, for a warm start.
    pub vector: Vec<f32>,
}

/// Steps of each vector: enough for the bulk.
const STEPS: usize = 16;
/// Most steps of the first vector, which goes on until σ₁ is known.
const MOST: usize = 40;
/// Steps from one look at the values to the next.
const LOOK_EVERY: usize = 4;
/// Relative residual at which σ₁ is known: its relative error is then about the square of this over the gap.
const TOLERANCE: f64 = 1e-3;

/// A node whose residual is below this share of its distance to the next has converged to one singular value.
const APART: f64 = 0.1;
/// Norms of which the squares, and what is far below them, fit `f32`.
const SAFE: std::ops::Range<f64> = 1e-10..1e10;

/// Random vectors worth their time: small matrices see little of their spectrum through one.
fn probes(n: usize) -> usize {
    (2048 / n.max(1)).clamp(1, 3)
}

/// Sketches the spectrum. Deterministic: start vectors depend on the size alone.
pub fn density(a: &Sparse<'_>, keep_going: KeepGoing<'_>) -> Result<Density, Stopped> {
    let found = sketch(a, keep_going)?;
    if a.scale != 1.0 || SAFE.contains(&found.largest) {
        return Ok(found);
    }
    // Squares of entries this large or small leave the range of `f32`.
    let scaled = a.scaled(keep_going)?;
    let mut found = if scaled.scale == 1.0 { found } else { sketch(&scaled, keep_going)? };
    let back = 1.0 / f64::from(scaled.scale);
    found.largest *= back;
    found.rules.iter_mut().flatten().for_each(|(sigma, _)| *sigma *= back);
    Ok(found)
}

fn sketch(a: &Sparse<'_>, keep_going: KeepGoing<'_>) -> Result<Density, Stopped> {
    let n = a.small();
    let mut out = Density { largest: 0.0, residual: 0.0, steps: 0, rules: Vec::new(), count: n, vector: Vec::new() };
    for probe in 0..probes(n) {
        let run = lanczos(a, random(n, probe), STEPS, if probe == 0 { MOST } else { STEPS }, keep_going)?;
        out.steps += run.steps;
        if run.largest > out.largest || probe == 0 {
            (out.largest, out.residual, out.vector) = (run.largest, run.residual, run.vector);
        }
        out.rules.push(run.rule);
    }
    Ok(out)
}

/// σ₁ from below, starting from `warm`, a guess of its right (small-side) vector.
pub fn largest(a: &Sparse<'_>, warm: &[f32], keep_going: KeepGoing<'_>) -> Result<(f64, Vec<f32>), Stopped> {
    let n = a.small();
    let (start, most) = if warm.len() == n { (warm, 4) } else { (&*random(n, 0), MOST) };
    let run = lanczos(a, start.to_vec(), 2, most, keep_going)?;
    if a.scale != 1.0 || SAFE.contains(&run.largest) {
        return Ok((run.largest / f64::from(a.scale), run.vector));
    }
    let scaled = a.scaled(keep_going)?;
    if scaled.scale == 1.0 {
        return Ok((run.largest, run.vector));
    }
    largest(&scaled, warm, keep_going)
}

/// σ₁ of a decoded matrix, surely from below.
pub fn norm(entries: &[f32], rows: usize, cols: usize, keep_going: KeepGoing<'_>) -> Result<f64, Stopped> {
    let sparse = Sparse::new(Held::F32(entries), rows, cols).scaled(keep_going)?;
    let (_, vector) = largest(&sparse, &[], keep_going)?;
    sparse.stretch(&vector, keep_going)
}

struct Run {
    largest: f64,
    residual: f64,
    steps: usize,
    rule: Vec<(f64, f64)>,
    vector: Vec<f32>,
}

/// Lanczos on the smaller Gram matrix with full reorthogonalisation, from `least` to `most` steps. In `f32`, as the
/// products are.
fn lanczos(
    a: &Sparse<'_>,
    mut start: Vec<f32>,
    least: usize,
    most: usize,
    keep_going: KeepGoing<'_>,
) -> Result<Run, Stopped> {
    let n = a.small();
    let most = most.min(n);
    let mut run = Run { largest: 0.0, residual: 0.0, steps: 0, rule: vec![(0.0, 1.0)], vector: vec![0.0; n] };
    if n == 0 || normalise(&mut start) == 0.0 {
        return Ok(run);
    }
    // The basis, vector after vector.
    let mut basis = start;
    let (mut alphas, mut betas): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut w = vec![0f32; n];
    for step in 1..=most {
        let v = &basis[(step - 1) * n..];
        a.gram(v, &mut w, keep_going)?;
        alphas.push(f64::from(dots(v, &w)[0]));
        // Twice is enough (Kahan; Parlett 1980, section 6.9).
        remove(&basis, &mut w);
        remove(&basis, &mut w);
        let beta = normalise(&mut w);
        let noise = f64::from(f32::EPSILON);
        let due = step >= least && (step - least).is_multiple_of(LOOK_EVERY);
        if due || step == most || beta <= noise * alphas[0].abs() {
            let (values, vectors) = eigen(&alphas, &betas);
            let k = values.len();
            let theta = values.last().copied().unwrap_or(0.0).max(0.0);
            run.largest = theta.sqrt();
            run.residual = if theta > 0.0 { beta * vectors[(k - 1, k - 1)].abs() / theta } else { 0.0 };
            run.steps = step;
            if step == most || run.residual < TOLERANCE || beta <= noise * theta {
                run.rule = rule(&values, &vectors, beta, n);
                for (i, v) in basis.chunks_exact(n).enumerate() {
                    let part = vectors[(i, k - 1)] as f32;
                    run.vector.iter_mut().zip(v).for_each(|(x, v)| *x += part * v);
                }
                break;
            }
        }
        betas.push(beta);
        basis.extend_from_slice(&w);
    }
    Ok(run)
}

/// Nodes and weights, σ descending. A node that has converged to one singular value, well apart from its neighbours,
/// stands for 1/n of them, whatever the random vector saw of it; the others share what remains.
fn rule(values: &[f64], vectors: &Mat<f64>, beta: f64, n: usize) -> Vec<(f64, f64)> {
    let k = values.len();
    let single = |i: usize| {
        let below = if i > 0 { values[i] - values[i - 1] } else { values[i] };
        let above = if i + 1 < k { values[i + 1] - values[i] } else { values[i] };
        let residual = beta * vectors[(k - 1, i)].abs();
        // A weight above that would be chance in one of a hundred vectors: more than one singular value.
        residual < APART * below.min(above) && vectors[(0, i)].powi(2) * n as f64 <= 7.0
    };
    let known: Vec<bool> = (0..k).map(single).collect();
    let count = known.iter().filter(|k| **k).count() as f64 / n as f64;
    let seen: f64 = (0..k).filter(|&i| !known[i]).map(|i| vectors[(0, i)].powi(2)).sum();
    let factor = if seen > 0.0 { (1.0 - count) / seen } else { 1.0 };
    let weight = |i: usize| if known[i] { 1.0 / n as f64 } else { vectors[(0, i)].powi(2) * factor };
    let total: f64 = (0..k).map(weight).sum();
    (0..k).rev().map(|i| (values[i].max(0.0).sqrt(), weight(i) / total)).collect()
}

/// Eigenvalues, ascending, and vectors of the symmetric tridiagonal matrix.
fn eigen(alphas: &[f64], betas: &[f64]) -> (Vec<f64>, Mat<f64>) {
    let k = alphas.len();
    let t = Mat::<f64>::from_fn(k, k, |i, j| match i.abs_diff(j) {
        0 => alphas[i],
        1 => betas[i.min(j)],
        _ => 0.0,
    });
    match t.self_adjoint_eigen(Side::Lower) {
        Ok(found) => ((0..k).map(|i| found.S().column_vector()[i]).collect(), found.U().to_owned()),
        // Entries are finite and the matrix is tiny: it converges. If not, the diagonal is what is known.
        Err(_) => (alphas.to_vec(), Mat::identity(k, k)),
    }
}

impl Density {
    /// Singular values as the sketch has them, descending, and between which bounds each lies: the error of the rule
    /// and twice the standard deviation of its random vectors.
    pub fn values(&self) -> Curve {
        let n = self.count;
        let mass = |i: usize| (i as f64 + 0.5) / n as f64;
        let at = |c: f64| self.rules.iter().map(|r| interpolate(r, c)).sum::<f64>() / self.rules.len().max(1) as f64;
        let mut sigma: Vec<f64> = (0..n).map(|i| at(mass(i))).collect();
        if let Some(first) = sigma.first_mut() {
            *first = self.largest;
        }
        let spread = |c: f64| {
            let chance = (2.0 * c * (1.0 - c) / ((n + 2) as f64 * self.rules.len() as f64)).sqrt();
            let rule: f64 = self.rules.iter().map(|r| weight_at(r, c)).sum::<f64>() / self.rules.len() as f64;
            2.0 * chance + rule / 2.0
        };
        let low = (0..n).map(|i| at((mass(i) + spread(mass(i))).min(1.0))).collect();
        let high: Vec<f64> = (0..n)
            .map(|i| {
                let c = mass(i) - spread(mass(i));
                if c <= 0.0 { self.largest } else { at(c) }
            })
            .collect();
        Curve { sigma, low, high }
    }
}

/// A sketched spectrum.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// Singular values, descending.
    pub sigma: Vec<f64>,
    /// Probably not below this.
    pub low: Vec<f64>,
    /// Probably not above this.
    pub high: Vec<f64>,
}

/// The value above which the share `c` lies: straight lines through the middles of the weights. A node far heavier
/// than the average stands for many equal values: over what it has more than the average, the line is level.
fn interpolate(rule: &[(f64, f64)], c: f64) -> f64 {
    let average = 1.0 / rule.len().max(1) as f64;
    let mut before: Option<(f64, f64)> = None;
    let mut sum = 0.0;
    for &(sigma, weight) in rule {
        let level = (weight - 2.0 * average).max(0.0) / 2.0;
        let middle = sum + weight / 2.0;
        if c <= middle - level {
            return match before {
                None => sigma,
                Some((m, s)) => s + (sigma - s) * (c - m) / (middle - level - m).max(1e-300),
            };
        }
        if c <= middle + level {
            return sigma;
        }
        before = Some((middle + level, sigma));
        sum += weight;
    }
    // Beyond the middle of the last weight: on along the last line, not below zero.
    let Some((middle, last)) = before else { return 0.0 };
    let slope = match rule {
        [.., (s, w), (_, v)] => (s - last) / (f64::midpoint(*w, *v)).max(1e-300),
        _ => 0.0,
    };
    (last - slope * (c - middle)).max(0.0)
}

/// The weight of the node in whose share `c` lies.
fn weight_at(rule: &[(f64, f64)], c: f64) -> f64 {
    let mut sum = 0.0;
    for &(_, weight) in rule {
        sum += weight;
        if c <= sum {
            return weight;
        }
    }
    rule.last().map_or(0.0, |r| r.1)
}

/// A vector of signs, from a fixed linear congruence.
fn random(n: usize, number: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ n as u64 ^ (number as u64 + 1) << 32;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if state >> 63 == 0 { 1.0 } else { -1.0 }
        })
        .collect()
}

/// Makes it a unit vector; its length before.
fn normalise(v: &mut [f32]) -> f64 {
    let squares: f64 = v.chunks(64).map(|c| f64::from(c.iter().map(|x| x * x).sum::<f32>())).sum();
    let norm = squares.sqrt();
    if norm > 0.0 {
        let factor = (1.0 / norm) as f32;
        v.iter_mut().for_each(|x| *x *= factor);
    }
    norm
}

#[cfg(test)]
mod tests;
