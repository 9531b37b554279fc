use super::*;
use ndarray::Array2;
use proptest::prelude::*;

const GO: KeepGoing<'static> = &|| true;
const PLENTY: f64 = 1e11;

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        })
        .collect()
}

/// σ₁ of the symbol at one frequency, from its real form in `f64`.
fn norm_at(k: &Kernel, omega: [f64; 2]) -> f64 {
    let (per, taps) = (k.out / k.groups, k.kh * k.kw);
    let mut best = 0.0f64;
    for g in 0..k.groups {
        let mut real = faer::Mat::<f64>::zeros(2 * per, 2 * k.inp);
        for o in 0..per {
            for i in 0..k.inp {
                let slice = &k.data[((g * per + o) * k.inp + i) * taps..];
                let (mut re, mut im) = (0.0, 0.0);
                for (t, w) in slice.iter().take(taps).enumerate() {
                    let angle = (t / k.kw) as f64 * omega[0] + (t % k.kw) as f64 * omega[1];
                    re += f64::from(*w) * angle.cos();
                    im += f64::from(*w) * angle.sin();
                }
                real[(o, i)] = re;
                real[(per + o, k.inp + i)] = re;
                real[(per + o, i)] = im;
                real[(o, k.inp + i)] = -im;
            }
        }
        best = best.max(real.singular_values().unwrap().into_iter().fold(0.0, f64::max));
    }
    best
}

/// The supremum from below: the best of a fine grid, then a search around it.
fn supremum(k: &Kernel) -> f64 {
    let tau = 2.0 * std::f64::consts::PI;
    let points = |taps: usize| if taps > 1 { 6 * taps } else { 1 };
    let (nh, nw) = (points(k.kh), points(k.kw));
    let mut best = (0.0, [0.0; 2]);
    for p in 0..nh {
        for q in 0..nw {
            let omega = [tau * p as f64 / nh as f64, tau * q as f64 / nw as f64];
            let norm = norm_at(k, omega);
            if norm > best.0 {
                best = (norm, omega);
            }
        }
    }
    let mut step = [tau / nh as f64 / 2.0, tau / nw as f64 / 2.0];
    for _ in 0..14 {
        let [h, w] = best.1;
        for (a, b) in [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (1.0, 1.0), (-1.0, -1.0)] {
            let omega = [h + a * step[0], w + b * step[1]];
            let norm = norm_at(k, omega);
            if norm > best.0 {
                best = (norm, omega);
            }
        }
        step = step.map(|s| s * 0.6);
    }
    best.0
}

#[test]
fn bound_is_never_below_the_supremum_and_close_to_it() {
    // Outputs, inputs a group, kernel, groups: 1-D and 2-D, one input, one output, depthwise, grouped, dense.
    let cases = [
        (6, 1, 1, 9, 1),
        (1, 5, 1, 16, 1),
        (7, 1, 3, 3, 7),
        (4, 1, 5, 2, 2),
        (5, 3, 1, 4, 1),
        (3, 5, 3, 3, 1),
        (4, 2, 2, 3, 2),
        (8, 8, 1, 1, 1),
        (1, 1, 7, 1, 1),
        (12, 9, 1, 7, 1),
    ];
    for (seed, (out, inp, kh, kw, groups)) in cases.into_iter().enumerate() {
        for shift in [0.0, 0.8] {
            let data: Vec<f32> = random(out * inp * kh * kw, seed as u64 + 1).into_iter().map(|w| w + shift).collect();
            let k = Kernel { data: &data, out, inp, kh, kw, groups };
            let (bound, least) = (bound(&k, PLENTY, GO).unwrap().unwrap(), supremum(&k));
            assert!(bound >= least * (1.0 - 1e-13), "{k:?}: {bound} {least}");
            assert!(bound <= least * 1.006, "{k:?}: {bound} {least}");
        }
    }
}

#[test]
fn closed_forms_are_met() {
    // 1 − 2z + z²: 4 at z = −1. Two equal outputs: √2 times as much.
    let second = [1.0, -2.0, 1.0];
    let k = Kernel { data: &second, out: 1, inp: 1, kh: 1, kw: 3, groups: 1 };
    let found = bound(&k, PLENTY, GO).unwrap().unwrap();
    assert!((4.0..4.0 * 1.001).contains(&found), "{found}");
    let twice = [second, second].concat();
    let found = bound(&Kernel { data: &twice, out: 2, ..k }, PLENTY, GO).unwrap().unwrap();
    assert!((4.0 * 2f64.sqrt()..4.0 * 2f64.sqrt() * 1.001).contains(&found), "{found}");
    // 1×1: the matrix itself; all zero: nothing.
    let matrix = [3.0, 0.0, 4.0, 5.0];
    let found = bound(&Kernel { data: &matrix, out: 2, inp: 2, kh: 1, kw: 1, groups: 1 }, PLENTY, GO).unwrap().unwrap();
    let root = 3.0 * 5f64.sqrt();
    assert!((root..root * 1.001).contains(&found), "{found}");
    let found = bound(&Kernel { data: &[0.0; 9], out: 1, inp: 1, kh: 3, kw: 3, groups: 1 }, PLENTY, GO).unwrap();
    assert_eq!(found, Some(0.0));
}

#[test]
fn long_kernel_of_one_channel_has_its_supremum_at_once() {
    // Windowed waves like those of an STFT: 258 outputs, 256 taps.
    let tau = 2.0 * std::f64::consts::PI;
    let data: Vec<f32> = (0..258 * 256)
        .map(|at| {
            let (o, t) = ((at / 256) as f64, (at % 256) as f64);
            let window = (std::f64::consts::PI * t / 256.0).sin().powi(2);
            let angle = tau * (o % 129.0) * t / 256.0;
            (window * if o < 129.0 { angle.cos() } else { -angle.sin() }) as f32
        })
        .collect();
    let k = Kernel { data: &data, out: 258, inp: 1, kh: 1, kw: 256, groups: 1 };
    let bound = bound(&k, 2e8, GO).unwrap().unwrap();
    // Directly at the frequencies of a fine grid: Σ_o |F_o(ω)|².
    let mut least = 0.0f64;
    for p in (0..4096).step_by(8) {
        let square: f64 = data
            .chunks_exact(256)
            .map(|row| {
                let (mut re, mut im) = (0.0, 0.0);
                for (t, w) in row.iter().enumerate() {
                    let (s, c) = (tau * ((p * t) % 4096) as f64 / 4096.0).sin_cos();
                    re += f64::from(*w) * c;
                    im += f64::from(*w) * s;
                }
                re * re + im * im
            })
            .sum();
        least = least.max(square.sqrt());
    }
    assert!(bound >= least && bound < least * 1.002, "{bound} {least}");
}

#[test]
fn every_budget_gives_a_bound_or_none_and_more_is_no_worse() {
    let data = random(24 * 16 * 9, 3);
    let k = Kernel { data: &data, out: 24, inp: 16, kh: 3, kw: 3, groups: 1 };
    let least = supremum_coarse(&k);
    let mut before = f64::INFINITY;
    for budget in [1e3, 1e6, 3e6, 1e7, 1e8, 1e10] {
        if let Some(found) = bound(&k, budget, GO).unwrap() {
            assert!(found >= least && found <= before * (1.0 + 1e-12), "{budget}: {found} {least} {before}");
            before = found;
        }
    }
    assert!(before < least * 1.05, "{before} {least}");
    assert_eq!(bound(&k, 1e3, GO), Ok(None));
    assert!(bound(&k, PLENTY, &|| false).is_err());
}

fn supremum_coarse(k: &Kernel) -> f64 {
    let tau = 2.0 * std::f64::consts::PI;
    (0..64).map(|f| norm_at(k, [tau * (f / 8) as f64 / 8.0, tau * (f % 8) as f64 / 8.0])).fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn bound_holds_for_operators_on_images_of_every_kind(
        out in 1usize..4, inp in 1usize..4, kh in 1usize..4, kw in 1usize..5, seed in 1u64..1000, scale in -25i32..25,
        stride in 1usize..3, dilation in 1usize..3, circular in any::<bool>(),
    ) {
        use crate::numerics::conv::Operator;
        use crate::numerics::lanczos::Map;
        let data: Vec<f32> = random(out * inp * kh * kw, seed).into_iter().map(|w| w * 2f32.powi(scale)).collect();
        let kernel = Kernel { data: &data, out, inp, kh, kw, groups: 1 };
        let input = [7, 8];
        let output = [(7 + 2 - dilation * (kh - 1) - 1) / stride + 1, (8 + 2 - dilation * (kw - 1) - 1) / stride + 1];
        let mut op = Operator {
            kernel, input, output, stride: [stride; 2], padding: [1, 1], dilation: [dilation; 2], circular,
        };
        let (m, n) = op.dim();
        let mut dense = Array2::<f32>::zeros((m, n));
        let (mut x, mut y) = (vec![0.0; n], vec![0.0; m]);
        for j in 0..n {
            x[j] = 1.0;
            op.apply(&x, &mut y);
            x[j] = 0.0;
            (0..m).for_each(|i| dense[(i, j)] = y[i] as f32);
        }
        let exact = crate::numerics::svd::direct(dense.view(), GO).unwrap()[0];
        let copies = if circular { crate::numerics::conv::repeats(input, output, [stride; 2]) } else { 1 };
        let found = bound(&kernel, PLENTY, GO).unwrap().unwrap() * (copies as f64).sqrt();
        prop_assert!(found >= exact * (1.0 - 1e-7), "{found} {exact}");
    }
}
