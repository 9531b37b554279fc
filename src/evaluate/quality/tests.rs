#![allow(clippy::unwrap_used, reason = "tests")]

use super::judge::{cross_entropy, judge, judge_there};
use super::*;
use candle_core::{Device, Tensor};

#[test]
fn cross_entropy_is_that_of_the_softmax_and_shifts_do_not_matter() {
    let row = [1.0f32, 2.0, 3.0];
    let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
    for label in 0..3u32 {
        let right = sum.ln() - f64::from(row[label as usize]);
        assert!((cross_entropy(&row, label) - right).abs() < 1e-6);
        let shifted = row.map(|l| l + 300.0);
        assert!((cross_entropy(&shifted, label) - right).abs() < 1e-4);
    }
    assert!(cross_entropy(&row, 3).is_nan(), "a label that is no class");
}

#[test]
fn batches_hold_windows_of_one_length_in_order() {
    let window = |n: usize| Unit::Window { tokens: vec![0; n], bytes: n - 1 };
    let units: Vec<Unit> = (0..11).map(|_| window(256)).chain([window(40)]).collect();
    let sizes: Vec<usize> = batches(&units, 1024).iter().map(|b| b.len()).collect();
    assert_eq!(sizes, [4, 4, 3, 1]);
}

#[test]
fn logits_are_judged_alike_where_they_lie_and_here() {
    let rows = [0.5f32, -1.0, 7.0, 3.0, 300.0, 299.0, 1.0, 2.0, -90.0, 5.0, 5.5, -4.0];
    let logits = Tensor::from_slice(&rows, (3, 4), &Device::Cpu).unwrap();
    for right in [[2, 1, 2], [0, 0, 0], [3, 2, 1]] {
        let (here, there) = (judge(&logits, &right).unwrap(), judge_there(&logits, &right).unwrap());
        for (a, b) in here.iter().zip(&there) {
            assert!((a.nats - b.nats).abs() < 1e-6 * a.nats.max(1.0) && a.hit == b.hit, "{a:?} {b:?}");
        }
    }
    let none = [judge(&logits, &[4, 0, 0]).unwrap()[0], judge_there(&logits, &[4, 0, 0]).unwrap()[0]];
    assert!(none.iter().all(|s| s.nats.is_nan() && !s.hit));
}
