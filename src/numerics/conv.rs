//! Convolutions as operators on whole images: their true norm is not that of the unfolded kernel.

use super::certificate;
use super::lanczos::{Map, largest_within};
use super::{KeepGoing, Stopped, interrupt::check};
use ndarray::Array2;

/// A kernel `[out, in_per_group, kh, kw]`, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Kernel<'a> {
    /// Entries.
    pub data: &'a [f32],
    /// Output channels.
    pub out: usize,
    /// Input channels of each group.
    pub inp: usize,
    /// Height.
    pub kh: usize,
    /// Width.
    pub kw: usize,
    /// Groups; each maps `inp` channels to `out / groups`.
    pub groups: usize,
}

impl<'a> Kernel<'a> {
    fn at(&self, o: usize, i: usize, a: usize, b: usize) -> f32 {
        self.data[((o * self.inp + i) * self.kh + a) * self.kw + b]
    }
    /// Output channels of each group.
    pub fn per_group(&self) -> usize {
        self.out / self.groups.max(1)
    }
    /// The kernel of a layer whose entries are `data`, row by row of its matrix view.
    pub fn of(out: usize, shape: &[usize], groups: usize, data: &'a [f32]) -> Self {
        let (kh, kw) = match shape {
            [_, _, w] => (1, *w),
            [_, _, h, w] => (*h, *w),
            [_, _, rest @ ..] => (1, rest.iter().product()),
            _ => (1, 1),
        };
        Self { data, out, inp: shape.get(1).copied().unwrap_or(1), kh, kw, groups: groups.max(1) }
    }
    /// Largest row sum of |entries| of the operator: its ℓ∞ norm on inputs larger than the kernel.
    pub fn max_row_sum(&self) -> f64 {
        let row = self.inp * self.kh * self.kw;
        self.data.chunks(row.max(1)).map(|r| r.iter().map(|w| f64::from(w.abs())).sum()).fold(0.0, f64::max)
    }
    /// Largest column sum at stride 1: its ℓ1 norm there, and an upper bound at larger strides.
    pub fn max_col_sum(&self) -> f64 {
        let (per, taps) = (self.per_group(), self.kh * self.kw);
        let mut best = 0.0f64;
        for g in 0..self.groups {
            for i in 0..self.inp {
                let sum: f64 = (g * per..(g + 1) * per)
                    .map(|o| {
                        let from = (o * self.inp + i) * taps;
                        self.data[from..from + taps].iter().map(|w| f64::from(w.abs())).sum::<f64>()
                    })
                    .sum();
                best = best.max(sum);
            }
        }
        best
    }
}

/// √(kh·kw) times the smallest of four unfoldings' norms: an upper bound for every input size, padding and stride
/// (Singla & Feizi, ICLR 2021), rounding included. Which one is smallest is estimated; its norm is proven.
pub fn four_unfoldings(k: &Kernel, keep_going: KeepGoing<'_>) -> Result<f64, Stopped> {
    let mut worst = 0.0f64;
    let taps = k.per_group() * k.inp * k.kh * k.kw;
    for g in 0..k.groups {
        check(keep_going)?;
        let energy: f64 = k.data[g * taps..(g + 1) * taps].iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
        let frobenius = energy.sqrt() * (1.0 + (taps + 4) as f64 * f64::EPSILON);
        if frobenius <= worst {
            continue;
        }
        let mut best = 0;
        let mut least = f64::INFINITY;
        for which in 0..4 {
            let mut unfolded = Dense(unfolding(k, g, which));
            let norm = largest_within(&mut unfolded, ESTIMATE, keep_going)?.value;
            // The first two are decomposed faster.
            if norm < least * if which < 2 { 1.0 } else { 0.99 } {
                (best, least) = (which, norm);
            }
        }
        let proven = certificate::upper(unfolding(k, g, best).view(), 1, keep_going)?;
        worst = worst.max(proven.unwrap_or(frobenius).min(frobenius));
    }
    Ok(worst * ((k.kh * k.kw) as f64).sqrt() * (1.0 + 2.0 * f64::EPSILON))
}

/// Steps of the iteration that tells which unfolding has the smallest norm.
const ESTIMATE: usize = 6;

/// One of the four ways to lay the kernel of a group out as a matrix.
fn unfolding(k: &Kernel, group: usize, which: usize) -> Array2<f32> {
    let per = k.per_group();
    let at = |o: usize, i: usize, a: usize, b: usize| k.at(group * per + o, i, a, b);
    let taps = k.kh * k.kw;
    match which {
        0 => Array2::from_shape_fn((per, k.inp * taps), |(r, c)| at(r, c / taps, c / k.kw % k.kh, c % k.kw)),
        1 => Array2::from_shape_fn((k.inp, per * taps), |(r, c)| at(c / taps, r, c / k.kw % k.kh, c % k.kw)),
        2 => Array2::from_shape_fn((per * k.kh, k.inp * k.kw), |(r, c)| at(r / k.kh, c / k.kw, r % k.kh, c % k.kw)),
        _ => Array2::from_shape_fn((per * k.kw, k.inp * k.kh), |(r, c)| at(r / k.kw, c / k.kh, c % k.kh, r % k.kw)),
    }
}

/// A matrix as products with vectors.
struct Dense(Array2<f32>);

impl Map for Dense {
    fn dim(&self) -> (usize, usize) {
        self.0.dim()
    }
    fn apply(&mut self, x: &[f64], y: &mut [f64]) {
        for (row, y) in self.0.rows().into_iter().zip(y) {
            *y = row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        }
    }
    fn apply_transposed(&mut self, y: &[f64], x: &mut [f64]) {
        x.fill(0.0);
        for (row, y) in self.0.rows().into_iter().zip(y) {
            row.iter().zip(&mut *x).for_each(|(w, x)| *x += f64::from(*w) * y);
        }
    }
}

/// How often circular padding can repeat an output: 1 unless it pads by more than the kernel needs, so that the output
/// runs around the image more than once. The symbol and the unfoldings know nothing of such copies: they multiply the
/// norm by the square root of their number, and sums over columns by the number.
pub fn repeats(input: [usize; 2], output: [usize; 2], stride: [usize; 2]) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a.max(1)
    };
    let along = |axis: usize| output[axis].div_ceil((input[axis] / gcd(stride[axis], input[axis])).max(1)).max(1);
    along(0) * along(1)
}

/// The operator itself, for images of one size, as products with vectors.
pub struct Operator<'a> {
    /// The kernel.
    pub kernel: Kernel<'a>,
    /// Input height and width.
    pub input: [usize; 2],
    /// Output height and width.
    pub output: [usize; 2],
    /// Stride.
    pub stride: [usize; 2],
    /// Padding on each side.
    pub padding: [usize; 2],
    /// Dilation.
    pub dilation: [usize; 2],
    /// Whether the padding wraps around.
    pub circular: bool,
}

impl Operator<'_> {
    /// Calls `f(output index, input index, weight)` for every entry of the operator.
    fn each(&self, mut f: impl FnMut(usize, usize, f64)) {
        let k = &self.kernel;
        let ([h, w], [oh, ow], per) = (self.input, self.output, k.per_group());
        for o in 0..k.out {
            let channel0 = o / per.max(1) * k.inp;
            for i in 0..k.inp {
                for a in 0..k.kh {
                    for b in 0..k.kw {
                        let weight = f64::from(k.at(o, i, a, b));
                        for y in 0..oh {
                            let Some(iy) = self.source(y, a, 0, h) else { continue };
                            for x in 0..ow {
                                let Some(ix) = self.source(x, b, 1, w) else { continue };
                                f((o * oh + y) * ow + x, ((channel0 + i) * h + iy) * w + ix, weight);
                            }
                        }
                    }
                }
            }
        }
    }
    fn source(&self, out: usize, tap: usize, axis: usize, extent: usize) -> Option<usize> {
        let at = out * self.stride[axis] + tap * self.dilation[axis];
        if self.circular {
            return Some(
                (at + extent * self.padding[axis].div_ceil(extent.max(1)) - self.padding[axis]) % extent.max(1),
            );
        }
        at.checked_sub(self.padding[axis]).filter(|&i| i < extent)
    }
}

impl Map for Operator<'_> {
    fn dim(&self) -> (usize, usize) {
        let k = &self.kernel;
        (k.out * self.output[0] * self.output[1], k.inp * k.groups * self.input[0] * self.input[1])
    }
    fn apply(&mut self, x: &[f64], y: &mut [f64]) {
        y.fill(0.0);
        self.each(|o, i, w| y[o] += w * x[i]);
    }
    fn apply_transposed(&mut self, y: &[f64], x: &mut [f64]) {
        x.fill(0.0);
        self.each(|o, i, w| x[i] += w * y[o]);
    }
}

/// Norm of the operator on images of its size, from below, with at most about `budget` multiplications.
pub fn operator_norm(mut operator: Operator, budget: f64, keep_going: KeepGoing<'_>) -> Result<f64, Stopped> {
    check(keep_going)?;
    let k = &operator.kernel;
    let product = (k.data.len() * operator.output[0] * operator.output[1]).max(1) as f64;
    let steps = (budget / (2.0 * product)).clamp(FEWEST, 1e6) as usize;
    largest_within(&mut operator, steps, keep_going).map(|l| l.value)
}

/// Steps that are taken whatever they cost.
const FEWEST: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::super::symbol;
    use super::*;
    use crate::numerics::svd::direct;

    const PLENTY: f64 = 1e10;

    fn symbol_bound(k: &Kernel) -> f64 {
        symbol::bound(k, PLENTY, &|| true).unwrap().unwrap()
    }

    fn random(n: usize) -> Vec<f32> {
        let mut x = 12345u32;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn dense_norm(op: &Operator) -> f64 {
        let (m, n) = op.dim();
        let mut a = Array2::<f32>::zeros((m, n));
        op.each(|o, i, w| a[(o, i)] += w as f32);
        direct(a.view(), &|| true).unwrap()[0]
    }

    #[test]
    fn the_second_difference_with_zero_padding_has_norm_two_plus_root_two() {
        let data = [1.0, -2.0, 1.0];
        let kernel = Kernel { data: &data, out: 1, inp: 1, kh: 1, kw: 3, groups: 1 };
        let op = |circular, n| Operator {
            kernel,
            input: [1, n],
            output: [1, n],
            stride: [1, 1],
            padding: [0, 1],
            dilation: [1, 1],
            circular,
        };
        assert!((operator_norm(op(false, 3), PLENTY, &|| true).unwrap() - (2.0 + 2f64.sqrt())).abs() < 1e-9);
        assert!((operator_norm(op(true, 3), PLENTY, &|| true).unwrap() - 3.0).abs() < 1e-9);
        // the norm on three points with zero padding exceeds the circular one there; the bound holds all the same
        assert!(symbol_bound(&kernel) >= 4.0);
    }

    #[test]
    fn circular_stride_one_is_the_grid_norm_and_every_bound_holds_for_every_geometry() {
        let data = random(4 * 3 * 9);
        let kernel = Kernel { data: &data, out: 4, inp: 3, kh: 3, kw: 3, groups: 1 };
        let go = || true;
        let n = 6;
        let op = |circular, stride: usize, dilation: usize| {
            let out = (n + 2 - dilation * 2 - 1) / stride + 1;
            let (input, output, padding) = ([n, n], [out, out], [1, 1]);
            Operator { kernel, input, output, stride: [stride; 2], padding, dilation: [dilation; 2], circular }
        };
        let exact = dense_norm(&op(true, 1, 1));
        assert!((operator_norm(op(true, 1, 1), PLENTY, &go).unwrap() - exact).abs() < 1e-5 * exact);
        let bounds = [symbol_bound(&kernel), four_unfoldings(&kernel, &go).unwrap()];
        for (circular, stride, dilation) in [(false, 1, 1), (true, 2, 1), (false, 2, 1), (false, 1, 2), (true, 3, 1)] {
            let truth = dense_norm(&op(circular, stride, dilation));
            for bound in bounds {
                assert!(bound >= truth * (1.0 - 1e-6), "{circular} {stride} {dilation}: {bound} < {truth}");
            }
        }
        // The unfolded kernel alone is no bound, which is why it is not used.
        let view = Array2::from_shape_vec((4, 27), data.clone()).unwrap();
        assert!(direct(view.view(), &go).unwrap()[0] < exact);
    }

    #[test]
    fn groups_are_blocks_of_the_operator() {
        let data = random(4 * 2 * 9);
        let kernel = Kernel { data: &data, out: 4, inp: 2, kh: 3, kw: 3, groups: 2 };
        let op = Operator {
            kernel,
            input: [5, 5],
            output: [5, 5],
            stride: [1, 1],
            padding: [1, 1],
            dilation: [1, 1],
            circular: true,
        };
        let exact = dense_norm(&op);
        assert!(symbol_bound(&kernel) >= exact * (1.0 - 1e-7));
        assert!(four_unfoldings(&kernel, &|| true).unwrap() >= exact);
    }
}
