//! The whole spectrum at a glance: stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017; Lin, Saad and Yang 2016).
//!
//! A few block Lanczos steps on AᵀA (Golub and Underwood 1977) from random vectors give nodes and weights of a Gauss
//! rule for the distribution of the eigenvalues as these vectors see it. The largest node is σ₁² from below; the
//! weights, cumulated, say what share of the singular values lies above each node. Two errors, both told: the rule knows
//! the share at a node only up to the node's own weight (for one vector a theorem of Chebyshev, Markov and Stieltjes),
//! and b vectors of n entries see a share c with a standard deviation of √(2c(1−c)/((n+2)b)). A pass over the matrix
//! takes a whole block along at little more cost than one vector.

use super::gram::{BLOCK, Held, Sparse, products, remove, remove_block};
use super::{KeepGoing, Stopped};
use faer::{Mat, Side};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What the iteration found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// √ of the largest node: σ₁ from below, but for rounding in `f32`.
    pub largest: f64,
    /// ‖AᵀAx − θx‖/θ for its vector x.
    pub residual: f64,
    /// Products of AᵀA with a block.
    pub steps: usize,
    /// `(σ, weight)`, σ descending; weights add up to 1.
    pub rule: Vec<(f64, f64)>,
    /// Random vectors it was made from.
    pub vectors: usize,
    /// Number of singular values.
    pub count: usize,
    /// Whether the matrix is square: then its smallest singular value is next to zero.
    pub square: bool,
    /// Unit vector that stretches most, for a warm start.
    pub vector: Vec<f32>,
}

/// Steps of a block that are enough for the bulk: of a square matrix, whose density is even down to zero, and of one
/// whose bulk ends above zero.
const STEPS: [usize; 2] = [6, 9];
/// Most steps, taken until σ₁ is known. Of a block, and of one vector.
const MOST: [usize; 2] = [22, 40];
/// Steps from one look at the values to the next.
const LOOK_EVERY: usize = 4;
/// Relative residual at which σ₁ is known: its relative error is then about the square of this over the gap.
const TOLERANCE: f64 = 1e-3;
/// What is left of a vector, relative to the largest value, that is nothing but the rounding of `f32`.
const NOISE: f64 = 1e-6;

/// A node whose residual is below this share of its distance to the next has converged to one singular value.
const APART: f64 = 0.1;
/// Norms of which the squares, and what is far below them, fit `f32`.
const SAFE: Range<f64> = 1e-10..1e10;

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
    found.rule.iter_mut().for_each(|(sigma, _)| *sigma *= back);
    Ok(found)
}

fn sketch(a: &Sparse<'_>, keep_going: KeepGoing<'_>) -> Result<Density, Stopped> {
    let n = a.small();
    let start = (0..BLOCK.min(n)).flat_map(|number| random(n, number)).collect();
    let Run { largest, residual, steps, rule, vector } =
        lanczos(a, start, STEPS[usize::from(a.rows != a.cols)], MOST[0], keep_going)?;
    Ok(Density { largest, residual, steps, rule, vectors: BLOCK.min(n), count: n, square: a.rows == a.cols, vector })
}

/// σ₁ from below, starting from `warm`, a guess of its right (small-side) vector.
pub fn largest(a: &Sparse<'_>, warm: &[f32], keep_going: KeepGoing<'_>) -> Result<(f64, Vec<f32>), Stopped> {
    let n = a.small();
    let (start, most) = if warm.len() == n { (warm, 4) } else { (&*random(n, 0), MOST[1]) };
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

/// Block Lanczos on the smaller Gram matrix with full reorthogonalisation, from `least` to `most` steps, as wide as
/// there are vectors of its order in `start`. In `f32`, as the products are.
fn lanczos(
    a: &Sparse<'_>,
    start: Vec<f32>,
    least: usize,
    most: usize,
    keep_going: KeepGoing<'_>,
) -> Result<Run, Stopped> {
    let n = a.small();
    let mut run = Run { largest: 0.0, residual: 0.0, steps: 0, rule: vec![(0.0, 1.0)], vector: vec![0.0; n] };
    let mut krylov = Krylov::new(start, n, a.rows == a.cols);
    for step in 1..=most {
        if krylov.block.is_empty() {
            break;
        }
        krylov.step(a, keep_going)?;
        let due = step >= least && (step - least).is_multiple_of(LOOK_EVERY);
        let full = krylov.next.is_empty();
        if due || step == most || full {
            let (values, vectors) = krylov.eigen();
            let top = values.len().saturating_sub(1);
            let theta = values.last().copied().unwrap_or(0.0).max(0.0);
            run.largest = theta.sqrt();
            run.residual = if theta > 0.0 { krylov.residual(&vectors, top) / theta } else { 0.0 };
            run.steps = step;
            if step == most || run.residual < TOLERANCE || full {
                run.rule = krylov.rule(&values, &vectors);
                for (i, v) in krylov.basis.chunks_exact(n).take(values.len()).enumerate() {
                    let part = vectors[(i, top)] as f32;
                    run.vector.iter_mut().zip(v).for_each(|(x, v)| *x += part * v);
                }
                break;
            }
        }
        krylov.block = krylov.next.clone();
    }
    Ok(run)
}

/// An orthonormal basis of a Krylov space, and AᵀA in it.
struct Krylov {
    n: usize,
    /// Vector after vector.
    basis: Vec<f32>,
    /// Entries (i, j), i ≥ j, of AᵀA in the basis.
    entries: Vec<(usize, usize, f64)>,
    /// How wide the first block is.
    width: usize,
    /// Whether the matrix is square.
    square: bool,
    /// The block that is multiplied next, and the one that its products lead to.
    block: Range<usize>,
    next: Range<usize>,
}

impl Krylov {
    fn new(mut start: Vec<f32>, n: usize, square: bool) -> Self {
        let mut this = Self { n, basis: Vec::new(), entries: Vec::new(), width: 0, square, block: 0..0, next: 0..0 };
        for w in start.chunks_exact_mut(n.max(1)) {
            normalise(w);
            this.push(w, NOISE);
        }
        this.width = this.basis.len() / n.max(1);
        this.block = 0..this.width;
        this
    }

    /// Adds a unit vector along what `w` holds beside the basis, unless that is below `noise`; the length of that.
    fn push(&mut self, w: &mut [f32], noise: f64) -> f64 {
        // Twice is enough (Kahan; Parlett 1980, section 6.9).
        remove(&self.basis, w);
        remove(&self.basis, w);
        let length = normalise(w);
        if length > noise {
            self.basis.extend_from_slice(w);
        }
        length
    }

    /// Multiplies the block and takes what is new into the basis.
    fn step(&mut self, a: &Sparse<'_>, keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
        let (n, block) = (self.n, self.block.clone());
        let mut w = vec![0f32; n * block.len()];
        if block.len() == 1 {
            a.gram(&self.basis[block.start * n..block.end * n], &mut w, keep_going)?;
        } else {
            // A block that lost vectors is filled up with zeros.
            let mut v = self.basis[block.start * n..block.end * n].to_vec();
            v.resize(n * BLOCK, 0.0);
            w.resize(n * BLOCK, 0.0);
            a.gram_block(&v, &mut w, keep_going)?;
        }
        let mut scale = 0f64;
        for c in 0..block.len() {
            let along = products(&self.basis[block.start * n..block.end * n], &w[c * n..(c + 1) * n]);
            self.entries.extend((c..block.len()).map(|d| (block.start + d, block.start + c, f64::from(along[d]))));
            scale = scale.max(f64::from(along[c]).abs());
        }
        if block.len() > 1 {
            remove_block(&self.basis, &mut w);
        }
        self.next = block.end..block.end;
        for (c, w) in w.chunks_exact_mut(n).take(block.len()).enumerate() {
            let along = products(&self.basis[block.end * n..], w);
            let new = block.end + along.len();
            self.entries.extend(along.iter().enumerate().map(|(d, x)| (block.end + d, block.start + c, f64::from(*x))));
            let length = self.push(w, NOISE * scale);
            if self.basis.len() > new * n {
                self.entries.push((new, block.start + c, length));
                self.next.end = new + 1;
            }
        }
        Ok(())
    }

    /// Eigenvalues, ascending, and vectors of AᵀA in the basis that has been multiplied.
    fn eigen(&self) -> (Vec<f64>, Mat<f64>) {
        let k = self.block.end;
        let mut t = Mat::<f64>::zeros(k, k);
        for &(i, j, x) in self.entries.iter().filter(|e| e.0 < k) {
            (t[(i, j)], t[(j, i)]) = (x, x);
        }
        match t.self_adjoint_eigen(Side::Lower) {
            Ok(found) => ((0..k).map(|i| found.S().column_vector()[i]).collect(), found.U().to_owned()),
            // Entries are finite and the matrix is small: it converges. If not, the diagonal is what is known.
            Err(_) => ((0..k).map(|i| t[(i, i)]).collect(), Mat::identity(k, k)),
        }
    }

    /// ‖AᵀAx − θx‖ of the k-th pair: what leads out of the basis.
    fn residual(&self, vectors: &Mat<f64>, k: usize) -> f64 {
        let mut out = vec![0f64; self.next.len()];
        for &(i, j, x) in self.entries.iter().filter(|e| self.next.contains(&e.0)) {
            out[i - self.next.start] += x * vectors[(j, k)];
        }
        out.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// Nodes and weights, σ descending. A node that has converged to one singular value, well apart from its neighbours,
    /// stands for 1/n of them, whatever the random vectors saw of it; the others share what remains.
    fn rule(&self, values: &[f64], vectors: &Mat<f64>) -> Vec<(f64, f64)> {
        let (k, n) = (values.len(), self.n as f64);
        let seen = |i: usize| (0..self.width).map(|c| vectors[(c, i)].powi(2)).sum::<f64>() / self.width as f64;
        let single = |i: usize| {
            let below = if i > 0 { values[i] - values[i - 1] } else { values[i] };
            let above = if i + 1 < k { values[i + 1] - values[i] } else { values[i] };
            // A weight above that would be chance in one of a hundred cases: more than one singular value.
            self.residual(vectors, i) < APART * below.min(above) && seen(i) * n <= SINGLE[self.width.min(BLOCK) - 1]
        };
        let known: Vec<bool> = (0..k).map(|i| k == self.n || single(i)).collect();
        let count = known.iter().filter(|k| **k).count() as f64 / n;
        let rest: f64 = (0..k).filter(|&i| !known[i]).map(seen).sum();
        let factor = if rest > 0.0 { (1.0 - count) / rest } else { 1.0 };
        let weight = |i: usize| if known[i] { 1.0 / n } else { seen(i) * factor };
        let total: f64 = (0..k).map(weight).sum();
        // Nodes of a block come in clusters, as many as it has vectors: smoothed over as many, those that are neither a
        // single value nor many equal ones. Those of a square matrix go on below zero as they are above: ±σ are the eigenvalues of [0 A; Aᵀ 0].
        let average = (0..k).filter(|&i| !known[i]).map(weight).sum::<f64>()
            / (k - known.iter().filter(|k| **k).count()).max(1) as f64;
        let alone: Vec<bool> = (0..k).map(|i| known[i] || weight(i) > HEAVY * average).collect();
        let level = |i: usize| {
            let free = |j: &usize| !alone[*j];
            let mut below = (0..i).rev().take_while(free).count();
            if self.square && below == i {
                below = k;
            }
            let above = (i + 1..k).take_while(free).count();
            let reach = (self.width / 2).min(below).min(above) as isize;
            let sigma = |j: isize| {
                let root = values[(if j < 0 { -1 - j } else { j }) as usize].max(0.0).sqrt();
                if j < 0 { -root } else { root }
            };
            let i = i as isize;
            if alone[i as usize] || reach == 0 {
                return sigma(i);
            }
            let ends = f64::midpoint(sigma(i - reach), sigma(i + reach));
            (ends + (i - reach + 1..i + reach).map(sigma).sum::<f64>()) / (2 * reach) as f64
        };
        (0..k).rev().map(|i| (level(i), weight(i) / total)).collect()
    }
}

/// A node so many times heavier than the average stands for many equal values.
const HEAVY: f64 = 6.0;

/// Mean of so many squares of standard normal numbers that is exceeded in one of a hundred cases.
const SINGLE: [f64; BLOCK] = [6.63, 4.61, 3.78, 3.32];

impl Density {
    /// Singular values as the sketch has them, descending, and between which bounds each lies: the error of the rule
    /// and two and a half standard deviations of its random vectors.
    pub fn values(&self) -> Curve {
        let n = self.count;
        let mass = |i: usize| (i as f64 + 0.5) / n as f64;
        let at = |c: f64| interpolate(&self.rule, self.square, c);
        let mut sigma: Vec<f64> = (0..n).map(|i| at(mass(i))).collect();
        if let Some(first) = sigma.first_mut() {
            *first = self.largest;
        }
        let spread = |c: f64| {
            let chance = (2.0 * c * (1.0 - c) / ((n + 2) as f64 * self.vectors.max(1) as f64)).sqrt();
            2.5 * chance + 0.75 * weight_around(&self.rule, c, self.vectors)
        };
        // What is this small drowns in the rounding of `f32` squares.
        let sure = |s: f64| if s > 4e-3 * self.largest { s } else { 0.0 };
        let mut low: Vec<f64> = (0..n).map(|i| sure(at(mass(i) + spread(mass(i))))).collect();
        let mut high: Vec<f64> = (0..n)
            .map(|i| {
                let c = mass(i) - spread(mass(i));
                if c <= 0.0 { self.largest } else { at(c) }
            })
            .collect();
        // Values descend, and so do the best bounds on them.
        for i in 1..n {
            high[i] = high[i].min(high[i - 1]);
            low[n - 1 - i] = low[n - 1 - i].max(low[n - i]);
        }
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
fn interpolate(rule: &[(f64, f64)], square: bool, c: f64) -> f64 {
    let average = 1.0 / rule.len().max(1) as f64;
    let mut before: Option<(f64, f64)> = None;
    let mut sum = 0.0;
    for &(sigma, weight) in rule {
        let level = if weight > HEAVY * average { weight / 2.0 - average } else { 0.0 };
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
    if square {
        return last * ((1.0 - c) / (1.0 - middle).max(1e-300)).clamp(0.0, 1.0);
    }
    let slope = match rule {
        [.., (s, w), (_, v)] => (s - last) / (f64::midpoint(*w, *v)).max(1e-300),
        _ => 0.0,
    };
    (last - slope * (c - middle)).max(0.0)
}

/// The weight of as many nodes, around the one in whose share `c` lies, as a block has vectors.
fn weight_around(rule: &[(f64, f64)], c: f64, width: usize) -> f64 {
    let mut sum = 0.0;
    let at = rule.iter().position(|r| {
        sum += r.1;
        c <= sum
    });
    let at = at.unwrap_or(rule.len().saturating_sub(1));
    let from = at.saturating_sub(width / 2);
    rule.iter().skip(from).take(width.max(1)).map(|r| r.1).sum()
}

/// Numbers between −1 and 1 that depend on the size and on which vector it is (splitmix64).
fn random(n: usize, number: usize) -> Vec<f32> {
    let mut state = (n as u64) << 8 | number as u64;
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ z >> 31) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
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
