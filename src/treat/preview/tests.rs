use super::*;
use crate::model::{DType, Kind, Orientation};
use crate::numerics::svd::singular_values;
use crate::probe::Ask;
use crate::probe::magnitude::magnitude;
use crate::treat::Prune;
use crate::treat::pattern::CYCLE;
use std::sync::Mutex;

const GO: KeepGoing<'static> = &|| true;

/// Noise with a few strong directions, as BF16 bytes.
fn bytes(rows: usize, cols: usize) -> Vec<u8> {
    let mut state = 3u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let (u, v): (Vec<f32>, Vec<f32>) = ((0..rows).map(|_| next()).collect(), (0..cols).map(|_| next()).collect());
    let entry = |(x, y): (f32, f32), noise: f32| (((0.5 * x * y + noise).to_bits() >> 16) as u16).to_le_bytes();
    u.iter().flat_map(|x| v.iter().map(move |y| (*x, *y))).flat_map(|xy| entry(xy, next())).collect()
}

#[test]
fn each_rung_of_every_pattern_is_near_what_the_exact_run_finds() {
    let (rows, cols) = (420, 300);
    let bytes = bytes(rows, cols);
    let layer = Layer { dtype: DType::BF16, ..Layer::alone(Kind::Linear, &[rows, cols]) };
    let stored = Stored::new(DType::BF16, [rows, cols], Orientation::OutIn, &bytes).unwrap();
    let known = magnitude(&stored, &Ask { keep_going: GO, threads: 1 }).unwrap();
    let mut warm = Warm::default();
    for pattern in CYCLE {
        // The second ratio starts from what the first one left.
        for remove in [0.25, 0.5] {
            let how = Prune::of(remove, pattern);
            let treatment = Treatment::prune(how);
            let threshold = if pattern == Pattern::Unstructured { known.prune(remove).threshold } else { 0.0 };
            let told = Mutex::new(Vec::new());
            let tell = |p| told.lock().unwrap().push(p);
            preview(&layer, &stored, (treatment, threshold), &mut warm, (GO, GO), &tell).unwrap();
            let told = told.into_inner().unwrap();
            assert_eq!(told.len(), 3, "norm, density, first values");
            assert!(told[0].spectrum.is_none() && told[1].sharp == 0 && told[2].sharp >= 32);
            let mut matrix = stored.matrix().clone();
            if pattern == Pattern::Unstructured {
                // At ties more may go than the exact number: the threshold decides.
                matrix.data.iter_mut().for_each(|w| *w = if w.abs() > threshold { *w } else { 0.0 });
            } else {
                prune(&mut matrix, &layer, how, GO).unwrap();
            }
            let exact = singular_values(matrix.view(), GO, 1).unwrap();
            for rung in &told {
                let norm = rung.norm.value;
                assert!(norm <= exact[0] * (1.0 + 2e-6) && norm > exact[0] * 0.99, "{how:?}: {norm} {}", exact[0]);
            }
            let sketched = told[2].spectrum.as_ref().unwrap();
            for (i, (got, want)) in sketched.sigma.iter().zip(&exact).enumerate().take(told[2].sharp) {
                assert!((got / want - 1.0).abs() < 0.06, "{how:?} {i}: {got} {want}");
            }
            // Where zeros lie below a gap, the estimate of the least values is the worst.
            let (got, want) = (sketched.energy(), exact.iter().map(|s| s * s).sum::<f64>());
            assert!((got / want - 1.0).abs() < 0.1, "{how:?}: {}", got / want);
        }
    }
}

#[test]
fn a_newer_question_is_not_kept_waiting() {
    let bytes = bytes(420, 300);
    let layer = Layer { dtype: DType::BF16, ..Layer::alone(Kind::Linear, &[420, 300]) };
    let stored = Stored::new(DType::BF16, [420, 300], Orientation::OutIn, &bytes).unwrap();
    let told = Mutex::new(0);
    let tell = |_| *told.lock().unwrap() += 1;
    let treatment = Treatment::prune(Prune::unstructured(0.5));
    let asked = preview(&layer, &stored, (treatment, 0.3), &mut Warm::default(), (GO, &|| false), &tell);
    assert_eq!((asked, *told.lock().unwrap()), (Err(Stopped), 1), "the norm is told all the same");
}
