#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

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
    let sizes: Vec<usize> = batches(&units).iter().map(|b| b.len()).collect();
    assert_eq!(sizes, [4, 4, 3, 1]);
}
