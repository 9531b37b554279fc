#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use candle_core::{D, Device, Tensor};
use candle_nn::ops;

/// Numbers between −8 and 8 that look random.
fn numbers(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.754_877_7).fract() * 16.0 - 8.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn apart(a: &Tensor, b: &Tensor) -> f32 {
    let off = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    off.max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn the_exponential_is_exact_to_two_units_and_keeps_nan() {
    for i in -87_000..88_000 {
        let x = i as f32 / 1000.0;
        let right = f64::from(x).exp();
        for found in [exp::<true>(x), exp::<false>(x)] {
            assert!((f64::from(found) - right).abs() <= 2.4e-7 * right, "{x}: {found} {right}");
        }
    }
    assert!(exp::<true>(f32::NAN).is_nan() && exp::<false>(f32::NAN).is_nan());
    assert!(exp::<true>(f32::NEG_INFINITY) < 2e-38 && exp::<true>(f32::INFINITY) > 1e38);
}

#[test]
fn softmax_is_that_of_the_masked_scores() {
    let (heads, t) = (3, 37);
    let scores = numbers(&[heads, t, t]);
    for window in [None, Some(usize::MAX), Some(5), Some(1)] {
        let sees = |i: usize, j: usize| window.is_none_or(|w| j <= i && i - j < w);
        let mask = (0..t * t).map(|at| if sees(at / t, at % t) { 0f32 } else { f32::NEG_INFINITY }).collect();
        let mask = Tensor::from_vec(mask, (t, t), &Device::Cpu).unwrap();
        let masked = (&scores * 0.3).unwrap().broadcast_add(&mask).unwrap();
        let right = ops::softmax(&masked, D::Minus1).unwrap();
        let found = scores.copy().unwrap();
        found.inplace_op1(&Softmax { scale: 0.3, tokens: t, window }).unwrap();
        assert!(apart(&found, &right) < 1e-6, "{window:?}");
    }
    let wrong = Tensor::from_slice(&[1.0, f32::NAN], (1, 2), &Device::Cpu).unwrap();
    wrong.inplace_op1(&Softmax { scale: 1.0, tokens: 2, window: None }).unwrap();
    assert!(wrong.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|x| x.is_nan()));
}

#[test]
fn functions_sums_and_products_are_candles() {
    // More than a thread takes at once.
    let x = numbers(&[70, 500]);
    for activation in [Activation::Silu, Activation::GeluTanh, Activation::Relu] {
        let found = x.copy().unwrap();
        found.inplace_op1(&Pointwise::of(activation).unwrap()).unwrap();
        assert!(apart(&found, &activation.of(&x).unwrap()) < 2e-6, "{activation:?}");
    }
    assert!(Pointwise::of(Activation::Gelu).is_none());
    let (same, row) = ((&x * 0.5).unwrap(), numbers(&[500]));
    for by in [&same, &row] {
        let (sum, product) = (x.copy().unwrap(), x.copy().unwrap());
        sum.inplace_op2(by, &With::Plus).unwrap();
        product.inplace_op2(by, &With::Times).unwrap();
        assert!(apart(&sum, &x.broadcast_add(by).unwrap()) == 0.0);
        assert!(apart(&product, &x.broadcast_mul(by).unwrap()) == 0.0);
    }
    assert!(x.copy().unwrap().inplace_op2(&numbers(&[499]), &With::Plus).is_err());
    assert!(x.t().unwrap().inplace_op1(&Softmax { scale: 1.0, tokens: 70, window: None }).is_err());
}
