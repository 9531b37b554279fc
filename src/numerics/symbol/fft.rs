//! Fast Fourier transform of a power of two of numbers (radix 2, in place).

use faer::c64;

/// A transform of one length, with its roots of unity.
pub struct Fft {
    /// e^(−2πik/n) for k < n/2.
    roots: Vec<c64>,
    n: usize,
}

impl Fft {
    /// Of `n` numbers, a power of two.
    pub fn new(n: usize) -> Self {
        let angle = |k: usize| -2.0 * std::f64::consts::PI * k as f64 / n as f64;
        let roots = (0..n / 2).map(|k| c64::new(angle(k).cos(), angle(k).sin())).collect();
        Self { roots, n }
    }

    /// Replaces x by Σ_t x_t e^(−2πikt/n), k = 0, 1, …
    pub fn process(&self, x: &mut [c64]) {
        let n = self.n;
        if n < 2 {
            return;
        }
        let bits = n.trailing_zeros();
        for i in 0..n {
            let j = i.reverse_bits() >> (usize::BITS - bits);
            if i < j {
                x.swap(i, j);
            }
        }
        let mut half = 1;
        while half < n {
            let stride = n / (2 * half);
            for block in x.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((a, b), root) in low.iter_mut().zip(high).zip(self.roots.iter().step_by(stride)) {
                    let turned = *b * *root;
                    (*a, *b) = (*a + turned, *a - turned);
                }
            }
            half *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transform_is_the_sum_that_defines_it() {
        for n in [1usize, 2, 4, 8, 32, 128] {
            let x: Vec<c64> = (0..n).map(|t| c64::new((t * t % 7) as f64 - 3.0, (t % 5) as f64)).collect();
            let mut found = x.clone();
            Fft::new(n).process(&mut found);
            for (k, found) in found.iter().enumerate() {
                let mut want = c64::new(0.0, 0.0);
                for (t, x) in x.iter().enumerate() {
                    let angle = -2.0 * std::f64::consts::PI * ((k * t) % n) as f64 / n as f64;
                    want += *x * c64::new(angle.cos(), angle.sin());
                }
                assert!((want - *found).norm_sqr().sqrt() < 1e-12 * n as f64, "{n} {k}: {found} {want}");
            }
        }
    }
}
