//! What is projected against what runs find, and the worked example.

use super::*;
use crate::model::{Inputs, Kind};
use crate::plan::project_layer;
use crate::treat::{Criterion, Factors, Pattern, Prune, Treatment, refine};
use proptest::prelude::*;

const GO: Ask<'static> = Ask { keep_going: &|| true, threads: 1 };

fn facts(layer: &Layer, matrix: &Matrix) -> LayerFacts {
    LayerFacts::of(WeightedProbe.measure(layer, &matrix.clone().into(), &GO).unwrap())
}

fn layer(matrix: &Matrix, gram: &Matrix) -> Layer {
    let mut layer = Layer::alone(Kind::Linear, &[matrix.rows, matrix.cols]);
    layer.inputs = Some(Arc::new(Inputs::of_gram(4, gram)));
    layer
}

#[test]
fn the_worked_example_has_its_singular_values_and_error() {
    let matrix = Matrix::new(2, 3, vec![2.0, 1.0, 0.0, 0.0, 1.0, 1.0]).unwrap();
    let gram = Matrix::new(3, 3, vec![6.0, 3.0, 4.0, 3.0, 3.0, 1.0, 4.0, 1.0, 10.0]).unwrap();
    let layer = layer(&matrix, &gram);
    let found = facts(&layer, &matrix);
    let sigma = &found.weighted().spectrum.as_ref().unwrap().sigma;
    assert!((sigma[0] - 6.973_758_502_6).abs() < 1e-6 && (sigma[1] - 2.316_612_256_6).abs() < 1e-6, "{sigma:?}");
    for (form, relative) in [(Factors::Whitened, 0.315_250_997_8), (Factors::Matrix, 0.360_832_189_8)] {
        let treatment = Treatment { form, ..Treatment::rank(1) };
        let error = project_layer(&layer, &found, treatment, None).weighed.unwrap().output_error;
        assert!((error.value - relative).abs() < 1e-6, "{form:?} {error:?}");
        assert_eq!(error.bound, crate::known::Bound::Exact);
    }
}

/// Inputs of a layer with their second moments and mean magnitudes.
fn inputs(seen: &[f32], features: usize, whole: bool) -> Inputs {
    let tokens = seen.len() / features;
    let mean = |f: &dyn Fn(&[f32]) -> f32| seen.chunks_exact(features).map(f).sum::<f32>() / tokens as f32;
    let mut out = if whole {
        let moments = (0..features * features).map(|k| mean(&|x| x[k / features] * x[k % features])).collect();
        Inputs::of_gram(tokens as u64, &Matrix::new(features, features, moments).unwrap())
    } else {
        Inputs::of_diagonal(tokens as u64, (0..features).map(|j| mean(&|x| x[j] * x[j])).collect())
    };
    out.abs_mean = Some((0..features).map(|j| mean(&|x| x[j].abs())).collect());
    out
}

#[test]
fn what_quantising_is_projected_to_do_to_outputs_is_near_what_a_run_finds() {
    let (rows, cols, tokens) = (96, 40, 200);
    let mut state = 3u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let matrix = Matrix::new(rows, cols, (0..rows * cols).map(|_| next()).collect()).unwrap();
    // Inputs with a mean that they share, and one that is large.
    let seen: Vec<f32> = (0..tokens * cols).map(|k| next() + 0.5 + if k % cols == 7 { 4.0 } else { 0.0 }).collect();
    let mut layer = Layer::alone(Kind::Linear, &[rows, cols]);
    layer.inputs = Some(Arc::new(inputs(&seen, cols, true)));
    let stored: Stored = matrix.clone().into();
    let mut found = WeightedProbe.measure(&layer, &stored, &GO).unwrap();
    let needed = [ProbeId::Magnitude, ProbeId::Rounding, ProbeId::Spectrum];
    for probe in crate::probe::PROBES.iter().filter(|p| needed.contains(&p.id())) {
        found.extend(probe.measure(&layer, &stored, &GO).unwrap());
    }
    let found = LayerFacts::of(found);
    let how = Prune { criterion: Criterion::Wanda, ..Prune::of(0.4, Pattern::Unstructured) };
    for base in [Treatment::default(), Treatment::rank(12), Treatment::prune(how)] {
        for bits in 2..=8 {
            let quantise = Some(crate::treat::Quantise { bits, per: crate::treat::Granularity::Row });
            let treatment = Treatment { quantise, ..base };
            let said = project_layer(&layer, &found, treatment, None).weighed.unwrap().output_error;
            let ran = refine::run(&layer, &matrix, treatment, &|| true).unwrap().weighed.unwrap().output_error;
            assert_eq!(said.bound, crate::known::Bound::Estimate);
            let ratio = said.value / ran.value;
            assert!((0.6..1.6).contains(&ratio), "{base:?} {bits} bits: {} {}", said.value, ran.value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_projected_is_what_a_run_finds(
        rows in 2usize..24,
        cols in 2usize..24,
        tokens in 1usize..40,
        whole in any::<bool>(),
        dead in any::<bool>(),
        seed in any::<u64>(),
        share in 0f64..1.0,
    ) {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        let data = (0..rows * cols).map(|_| next()).collect();
        let mut seen: Vec<f32> = (0..tokens * cols).map(|_| next()).collect();
        if dead {
            seen.chunks_exact_mut(cols).for_each(|x| x[0] = 0.0);
        }
        let matrix = Matrix::new(rows, cols, data).unwrap();
        let mut layer = Layer::alone(Kind::Linear, &[rows, cols]);
        layer.inputs = Some(Arc::new(inputs(&seen, cols, whole)));
        let found = facts(&layer, &matrix);
        let rank = ((share * rows.min(cols) as f64) as usize).max(1);
        for form in [Factors::Matrix, Factors::Whitened, Factors::Asvd] {
            let treatment = Treatment { form, ..Treatment::rank(rank) };
            let projected = project_layer(&layer, &found, treatment, None);
            let ran = refine(&layer, &matrix, treatment, None, &GO).unwrap();
            prop_assert!(projected.weighed.is_some() && ran.weighed.is_some(), "{form:?} {rank} {:?} {:?}", projected.weighed, ran.weighed);
            let (error, want) = (projected.weighed.unwrap().output_error, ran.weighed.unwrap().output_error);
            prop_assert!((error.value - want.value).abs() < 1e-3, "{form:?} {rank} {error:?} {want:?}");
            prop_assert_eq!(error.bound, want.bound);
            if form != Factors::Matrix {
                let energy = projected.error_energy.unwrap();
                prop_assert!((energy.value - ran.error_energy).abs() < 1e-3 * matrix.data.len() as f64, "{form:?} {energy:?} {ran:?}");
                prop_assert_eq!(energy.bound, crate::known::Bound::Exact);
            }
        }
        // From a diagonal, what is estimated of a choice is what it loses.
        if whole {
            return Ok(());
        }
        let patterns = crate::treat::pattern::CYCLE.map(|p| (Criterion::Magnitude, p));
        for (criterion, pattern) in patterns.into_iter().chain([(Criterion::Wanda, Pattern::PerRow)]) {
            // Of single entries of the whole layer the curve has 400 steps, between which it is straight.
            if pattern == Pattern::Unstructured || pattern.units(&layer) == 0 {
                continue;
            }
            let treatment = Treatment::prune(Prune { criterion, ..Prune::of(pattern.on_grid(share), pattern) });
            let projected = project_layer(&layer, &found, treatment, None).weighed.unwrap().output_error.value;
            let ran = refine(&layer, &matrix, treatment, None, &GO).unwrap().weighed.unwrap().output_error.value;
            prop_assert!((projected - ran).abs() < 1e-4, "{criterion:?} {pattern:?} {projected} {ran}");
        }
    }
}

#[test]
fn single_entries_go_in_the_order_of_their_magnitudes() {
    let data: Vec<f32> = (0..400 * 50).map(|k| ((k * 7919) % 20011) as f32 / 20011.0 - 0.5).collect();
    let matrix = Matrix::new(400, 50, data).unwrap();
    let moments: Vec<f32> = (0..50).map(|j| if j % 3 == 0 { 9.0 } else { 0.25 }).collect();
    let mut layer = Layer::alone(Kind::Linear, &[400, 50]);
    layer.inputs = Some(Arc::new(Inputs::of_diagonal(8, moments)));
    let found = facts(&layer, &matrix);
    for remove in [0.0, 0.1, 0.333, 0.5, 0.75, 0.991, 1.0] {
        let treatment = Treatment::prune(Prune::unstructured(remove));
        let projected = project_layer(&layer, &found, treatment, None).weighed.unwrap().output_error;
        let ran = refine(&layer, &matrix, treatment, None, &GO).unwrap().weighed.unwrap().output_error;
        assert!((projected.value - ran.value).abs() < 2e-3, "{remove} {projected:?} {ran:?}");
    }
}

#[test]
fn what_goes_together_with_others_is_estimated_within_a_sixth() {
    // Inputs of two factors common to all and a little of their own: G is far from diagonal.
    let (rows, cols, tokens) = (96, 64, 400);
    let mut state = 7u64;
    let mut next = || {
        let mut one = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        one() + one() + one()
    };
    let loads: Vec<[f32; 2]> = (0..cols).map(|_| [next(), next()]).collect();
    let mut seen = Vec::with_capacity(tokens * cols);
    for _ in 0..tokens {
        let common = [next(), next()];
        seen.extend(loads.iter().map(|l| l[0] * common[0] + l[1] * common[1] + 0.5 * next()));
    }
    let data = (0..rows * cols).map(|k| next() * if k % 3 == 0 { 2.0 } else { 0.5 }).collect();
    let matrix = Matrix::new(rows, cols, data).unwrap();
    let mut layer = Layer::alone(Kind::Linear, &[rows, cols]);
    layer.inputs = Some(Arc::new(inputs(&seen, cols, true)));
    let found = facts(&layer, &matrix);
    for pattern in [Pattern::Unstructured, Pattern::PerRow, Pattern::Groups(4), Pattern::Rows] {
        for criterion in [Criterion::Magnitude, Criterion::Wanda] {
            let treatment = Treatment::prune(Prune { criterion, ..Prune::of(0.5, pattern) });
            if criterion.applies(&layer, pattern).is_err() {
                continue;
            }
            let projected = project_layer(&layer, &found, treatment, None).weighed.unwrap().output_error;
            let ran = refine(&layer, &matrix, treatment, None, &GO).unwrap().weighed.unwrap().output_error;
            let ratio = projected.value / ran.value;
            assert!((0.85..1.17).contains(&ratio), "{criterion:?} {pattern:?} {projected:?} {ran:?}");
            assert_eq!(projected.bound, crate::known::Bound::Estimate);
        }
    }
}
