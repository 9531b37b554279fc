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
fn the_error_of_a_ratio_is_that_of_a_mean_where_all_windows_are_alike() {
    let parts = [[1.0, 2.0], [3.0, 2.0], [5.0, 2.0], [3.0, 2.0]];
    let (r, error) = ratio(&parts);
    // Means 0.5, 1.5, 2.5, 1.5: deviation √(2/3), of the mean of four √(2/3)/2.
    assert_eq!(r, 1.5);
    assert!((error - (2.0f64 / 3.0).sqrt() / 2.0).abs() < 1e-12);
    assert_eq!(ratio(&parts[..1]).1, 0.0);
}

#[test]
fn batches_hold_windows_of_one_length_in_order() {
    let window = |n: usize| Unit::Window { tokens: vec![0; n], bytes: n - 1 };
    let units: Vec<Unit> = (0..11).map(|_| window(256)).chain([window(40)]).collect();
    let sizes: Vec<usize> = batches(&units).iter().map(|b| b.len()).collect();
    assert_eq!(sizes, [4, 4, 3, 1]);
}
