use super::*;
use crate::model::{Kind, LayerId, Stored};
use crate::plan::outcome::project_layer;
use crate::probe::PROBES;
use crate::probe::book::{FactBook, LayerFacts};
use crate::treat::Pattern;
use proptest::prelude::*;

const GO: Ask = Ask { keep_going: &|| true, threads: 1 };

fn layer(rows: usize, cols: usize) -> Layer {
    Layer::alone(Kind::Linear, &[rows, cols])
}

fn facts(layer: &Layer, matrix: &Matrix) -> LayerFacts {
    let mut book = FactBook::new(1);
    let entries = Stored::from(matrix.clone());
    for probe in PROBES.iter().filter(|p| p.applies(layer)) {
        for fact in probe.measure(layer, &entries, &GO).unwrap() {
            book.merge(LayerId(0), fact);
        }
    }
    book.of(LayerId(0)).clone()
}

/// Ŵ by the book: an f64 SVD for the rank, a sort for the pruning; and how far apart the largest magnitude removed and the
/// smallest kept lie.
fn treated(matrix: &Matrix, t: Treatment) -> (Vec<f64>, f64) {
    let (m, n) = (matrix.rows, matrix.cols);
    let w = faer::Mat::<f64>::from_fn(m, n, |i, j| f64::from(matrix.data[i * n + j]));
    let base = match t.rank {
        Some(r) => {
            let svd = w.thin_svd().unwrap();
            let s = svd.S().column_vector();
            faer::Mat::<f64>::from_fn(m, n, |i, j| {
                (0..r.min(m.min(n))).map(|k| svd.U()[(i, k)] * s[k] * svd.V()[(j, k)]).sum()
            })
        }
        None => faer::Mat::zeros(m, n),
    };
    let rest: Vec<f64> = (0..m * n).map(|k| w[(k / n, k % n)] - base[(k / n, k % n)]).collect();
    let removed =
        t.prune.map_or(if t.rank.is_some() { m * n } else { 0 }, |p| (p.remove * (m * n) as f64).round() as usize);
    let mut order: Vec<usize> = (0..m * n).collect();
    order.sort_by(|&a, &b| rest[a].abs().total_cmp(&rest[b].abs()).then(a.cmp(&b)));
    let mut kept = rest.clone();
    order[..removed].iter().for_each(|&k| kept[k] = 0.0);
    let at = |i: usize| rest[order[i]].abs();
    let gap = if (1..m * n).contains(&removed) { at(removed) - at(removed - 1) } else { f64::INFINITY };
    ((0..m * n).map(|k| base[(k / n, k % n)] + kept[k]).collect(), gap)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_a_scrub_shows_and_what_a_run_finds_are_what_treating_the_matrix_gives(
        rows in 2usize..14, cols in 2usize..14, seed in 0u32..1000, rank in 1usize..14, ratio in 0.02f64..0.98, which in 0u8..3,
    ) {
        let data: Vec<f32> = (0..rows * cols).map(|i| (((i as u32 * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0).powi(3)).collect();
        let matrix = Matrix::new(rows, cols, data).unwrap();
        let layer = layer(rows, cols);
        let rank = rank.min(rows.min(cols));
        let t = match which {
            0 => Treatment::rank(rank),
            1 => Treatment::prune(Prune::unstructured(ratio)),
            _ => Treatment::both(rank, Prune::unstructured(ratio)),
        };
        let known = facts(&layer, &matrix);
        let (w_hat, gap) = treated(&matrix, t);
        // The residual is formed in f32: of two magnitudes that are equal to its rounding either may go.
        prop_assume!(t.rank.is_none() || gap > 1e-5);
        let difference: Vec<f64> = w_hat.iter().zip(&matrix.data).map(|(a, b)| a - f64::from(*b)).collect();
        let error: f64 = difference.iter().map(|d| d * d).sum();
        let energy: f64 = matrix.data.iter().map(|w| f64::from(*w).powi(2)).sum();
        let as_matrix = |v: &[f64]| faer::Mat::<f64>::from_fn(rows, cols, |i, j| v[i * cols + j]);
        let sigma = as_matrix(&w_hat).singular_values().unwrap();
        let delta = as_matrix(&difference).singular_values().unwrap()[0];

        let refined = refine(&layer, &matrix, t, None, &GO).unwrap();
        let tight = 2e-6 * energy.max(1e-6);
        prop_assert!((refined.error_energy - error).abs() < tight, "{} {error}", refined.error_energy);
        prop_assert!((refined.sigma[0] - sigma[0]).abs() < 2e-6 * sigma[0].max(1e-3));
        // W − Ŵ is formed in f32: what cancels leaves a few roundings of the entries of W.
        let slack = 3e-6 * energy.sqrt().max(1.0);
        prop_assert!(refined.delta_norm.value <= delta * (1.0 + 1e-4) + slack, "{} {delta}", refined.delta_norm.value);
        prop_assert!(refined.delta_norm.value >= delta * 0.99 - slack, "{} {delta}", refined.delta_norm.value);

        let out = project_layer(&layer, &known, t, None);
        let projected = out.error_energy.unwrap();
        match projected.bound {
            crate::known::Bound::Exact => prop_assert!((projected.value - error).abs() < tight, "{} {error}", projected.value),
            _ => prop_assert!(projected.value <= energy * 1.0001),
        }
        if let (Some(norm), crate::known::Bound::Upper) = (out.norm_after, out.norm_after.unwrap().bound) {
            prop_assert!(norm.value >= sigma[0] * (1.0 - 1e-6));
        }
        if out.delta_norm.unwrap().bound == crate::known::Bound::Upper {
            prop_assert!(out.delta_norm.unwrap().value >= delta * (1.0 - 1e-6));
        }
        let nonzeros = w_hat.iter().filter(|w| **w != 0.0).count() as u64;
        match which {
            0 => prop_assert_eq!(out.after.params, (rank * (rows + cols)) as u64),
            1 => prop_assert_eq!(out.after.params, nonzeros),
            _ => {}
        }
        // Once the run is there, the projection shows it.
        let after = project_layer(&layer, &known, t, Some(&refined));
        prop_assert_eq!(after.after.params, refined.params);
        prop_assert_eq!(after.error_energy.unwrap().value, refined.error_energy);
    }
}

#[test]
fn the_densities_are_those_of_the_sparse_part() {
    let matrix = Matrix::new(2, 2, vec![3.0, 0.0, 4.0, 5.0]).unwrap();
    let t = Treatment::prune(Prune::unstructured(0.5));
    let refined = refine(&layer(2, 2), &matrix, t, None, &GO).unwrap();
    assert_eq!((refined.row_density, refined.col_density), (vec![0.0, 1.0], vec![0.5, 0.5]));
    assert_eq!(refined.threshold, 3.0);
    assert_eq!(refined.linf_l1, Some((9.0, 5.0)));
    assert_eq!(refined.params, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn patterns_show_while_scrubbing_what_a_run_finds(
        rows in 2usize..40, cols in 2usize..40, seed in 0u32..1000, rank in 0usize..6, share in 0.02f64..0.98, which in 0usize..8,
    ) {
        let data: Vec<f32> = (0..rows * cols).map(|i| (((i as u32 * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0).powi(3)).collect();
        let matrix = Matrix::new(rows, cols, data).unwrap();
        let layer = layer(rows, cols);
        let pattern = crate::treat::pattern::CYCLE[which];
        let prune = Some(Prune::of(pattern.on_grid(share), pattern));
        let rank = Some(rank.min(rows.min(cols) - 1)).filter(|r| *r > 0);
        let t = Treatment { rank, prune, ..Treatment::default() };
        let refined = refine(&layer, &matrix, t, None, &GO).unwrap();
        let known = facts(&layer, &matrix);
        let out = project_layer(&layer, &known, t, None);
        let energy = known.magnitude.as_ref().unwrap().sum_squares;
        let projected = out.error_energy.unwrap();
        if rank.is_none() {
            prop_assert_eq!(out.after.params, refined.params, "{:?}", pattern);
            let slack = if projected.bound == crate::known::Bound::Exact { 1e-5 } else { 0.05 };
            prop_assert!((projected.value - refined.error_energy).abs() <= slack * energy, "{pattern:?} {projected:?} {}", refined.error_energy);
        } else if refined.error_energy > 1e-9 * energy && pattern != Pattern::Rows && pattern != Pattern::Columns && !matches!(pattern, Pattern::Blocks(..)) {
            // Nonzeros of the residual are counted; those that happen to be zero before are rare.
            prop_assert!(out.after.params.abs_diff(refined.params) <= 2);
        }
        // Removing less than everything in a pattern never errs less than removing the same number of single entries.
        if let (None, Pattern::PerRow | Pattern::Groups(_) | Pattern::Rows | Pattern::Columns) = (rank, pattern) {
            let gone = (rows * cols) as u64 - refined.params;
            let free = known.magnitude.as_ref().unwrap().prune(gone as f64 / (rows * cols) as f64);
            prop_assert!(refined.error_energy >= free.range.0 * (1.0 - 1e-6) - 1e-9);
        }
    }
}

/// Entries of a matrix with a few large ones.
fn heavy(rows: usize, cols: usize, seed: u32) -> Matrix {
    let unit = |i: u32| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0;
    Matrix::new(rows, cols, (0..rows * cols).map(|i| unit(i as u32).powi(3)).collect()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn rounding_shows_while_scrubbing_what_a_run_finds(
        rows in 2usize..20, cols in 2usize..80, seed in 0u32..1000, bits in 2u8..=8, per in 0usize..5, which in 0usize..9,
        share in 0.1f64..0.9, rank in 1usize..6,
    ) {
        use crate::known::Bound;
        let (matrix, layer) = (heavy(rows, cols, seed), layer(rows, cols));
        let quantise = Some(crate::treat::Quantise { bits, per: crate::probe::rounding::GRANULARITIES[per] });
        let pattern = crate::treat::pattern::CYCLE.get(which).copied();
        let prune = pattern.map(|p| Prune::of(p.on_grid(share), p)).filter(|p| p.remove > 0.0);
        let rank = (which == 8).then_some(rank.min(rows.min(cols) - 1)).filter(|r| *r > 0);
        let t = Treatment { rank, prune, quantise, ..Treatment::default() };
        let refined = refine(&layer, &matrix, t, None, &GO).unwrap();
        let known = facts(&layer, &matrix);
        let out = project_layer(&layer, &known, t, None);
        let energy = known.magnitude.as_ref().unwrap().sum_squares;
        let (projected, found) = (out.error_energy.unwrap(), refined.error_energy);
        if rank.is_none() && prune.is_none() {
            prop_assert_eq!(projected.bound, Bound::Exact);
            prop_assert!((projected.value - found).abs() <= 1e-4 * found + 1e-9 * energy, "{} {found}", projected.value);
        } else {
            prop_assert_eq!(projected.bound, Bound::Estimate);
        }
        // What is said to be no more than so much is no more.
        let delta = out.delta_norm.unwrap();
        if delta.bound == Bound::Upper {
            prop_assert!(found <= delta.value.powi(2) * (1.0 + 1e-4) + 1e-9 * energy, "{t:?} {found} {}", delta.value.powi(2));
        }
        let norm = out.norm_after.unwrap();
        if norm.bound == Bound::Upper {
            prop_assert!(refined.sigma[0] <= norm.value * (1.0 + 1e-5));
        }
        let after = project_layer(&layer, &known, t, Some(&refined));
        if rank.is_none() && prune.is_none_or(|p| p.pattern == Pattern::Rows) {
            prop_assert_eq!(after.after, out.after);
        }
        prop_assert_eq!(after.error_energy.unwrap().value, found);
    }
}

#[test]
fn rounded_factors_err_about_as_much_as_is_said() {
    let layer = layer(60, 90);
    let unit = |i: u64| {
        let mixed = (i ^ (i >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let matrix = Matrix::new(60, 90, (0..5400).map(|i| unit(i).powi(3)).collect()).unwrap();
    let known = facts(&layer, &matrix);
    for per in crate::probe::rounding::GRANULARITIES {
        for (bits, rank) in [(3, 20), (4, 5), (4, 20), (4, 50), (8, 20)] {
            let quantise = Some(crate::treat::Quantise { bits, per });
            let t = Treatment { quantise, ..Treatment::rank(rank) };
            let tail = project_layer(&layer, &known, Treatment::rank(rank), None).error_energy.unwrap().value;
            let found = refine(&layer, &matrix, t, None, &GO).unwrap().error_energy - tail;
            let said = project_layer(&layer, &known, t, None).error_energy.unwrap().value - tail;
            assert!((0.6..1.7).contains(&(said / found)), "{per:?} {bits} bits, rank {rank}: {said} {found}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn criteria_show_while_scrubbing_what_a_run_finds(
        rows in 2usize..30, cols in 2usize..30, seed in 0u32..1000, which in 0usize..5, share in 0.05f64..0.95,
    ) {
        use crate::known::Bound;
        use crate::treat::Criterion::{BatchNormScale, Leverage, RelativeImportance};
        let matrix = heavy(rows, cols, seed);
        let mut layer = layer(rows, cols);
        layer.gains = Some((0..rows).map(|i| ((i * 31 + seed as usize) % 17) as f32 - 8.0).collect());
        let (criterion, pattern) = [
            (RelativeImportance, Pattern::Unstructured),
            (RelativeImportance, Pattern::PerRow),
            (RelativeImportance, Pattern::Groups(4)),
            (BatchNormScale, Pattern::Rows),
            (Leverage, Pattern::Rows),
        ][which];
        prop_assume!(criterion.applies(&layer, pattern).is_ok());
        let how = Prune { criterion, ..Prune::of(pattern.on_grid(share), pattern) };
        prop_assume!(how.remove > 0.0);
        let t = Treatment::prune(how);
        let refined = refine(&layer, &matrix, t, None, &GO).unwrap();
        let known = facts(&layer, &matrix);
        let out = project_layer(&layer, &known, t, None);
        let energy = known.magnitude.as_ref().unwrap().sum_squares;
        prop_assert_eq!(out.after.params, refined.params, "{:?}", how);
        if let Some(error) = out.error_energy {
            match error.bound {
                Bound::Exact => prop_assert!((error.value - refined.error_energy).abs() <= 1e-6 * energy, "{how:?}"),
                Bound::Lower => prop_assert!(error.value <= refined.error_energy + 1e-6 * energy, "{how:?}"),
                _ => {
                    prop_assert_eq!(criterion, RelativeImportance);
                    prop_assert!((error.value - refined.error_energy).abs() <= 0.1 * energy, "{how:?} {error:?} {}", refined.error_energy);
                }
            }
        }
        let norm = out.norm_after.unwrap();
        if norm.bound == Bound::Upper {
            prop_assert!(refined.sigma[0] <= norm.value * (1.0 + 1e-5));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn spatial_factors_show_while_scrubbing_what_a_run_finds(
        outputs in 1usize..7, inputs in 1usize..6, height in 1usize..4, width in 1usize..4, seed in 0u32..1000, rank in 1usize..12,
    ) {
        use crate::known::Bound;
        use crate::treat::Factors;
        prop_assume!(height * width > 1);
        let layer = Layer::alone(Kind::Conv2d, &[outputs, inputs, height, width]);
        let matrix = heavy(outputs, inputs * height * width, seed);
        let t = Treatment { form: Factors::Spatial, ..Treatment::rank(rank.min(Factors::Spatial.full_rank(&layer))) };
        let known = facts(&layer, &matrix);
        let out = project_layer(&layer, &known, t, None);
        let refined = refine(&layer, &matrix, t, None, &GO).unwrap();
        let energy = known.magnitude.as_ref().unwrap().sum_squares;
        let (error, found) = (out.error_energy.unwrap(), refined.error_energy);
        prop_assert_eq!(error.bound, Bound::Exact);
        prop_assert!((error.value - found).abs() <= 2e-6 * energy.max(1e-6), "{} {found}", error.value);
        let whole = crate::treat::treated(&layer, &matrix, t, GO.keep_going).unwrap();
        let lost: f64 = whole.data.iter().zip(&matrix.data).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        prop_assert!((lost - found).abs() <= 2e-6 * energy.max(1e-6));
        prop_assert_eq!(out.after.params, refined.params);
        prop_assert_eq!(refined.params, (t.rank.unwrap() * (inputs * height + outputs * width)) as u64);
        if out.norm_after.unwrap().bound == Bound::Upper {
            prop_assert!(refined.sigma[0] <= out.norm_after.unwrap().value * (1.0 + 1e-5) + 1e-9);
        }
        prop_assert!(refined.delta_norm.value <= out.delta_norm.unwrap().value * (1.0 + 1e-4) + 3e-6 * energy.sqrt());
        let after = project_layer(&layer, &known, t, Some(&refined));
        prop_assert_eq!(after.after, out.after);
    }
}

#[test]
fn groups_of_any_size_have_a_live_error() {
    let (rows, cols) = (60, 97);
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    // Heavier than a Gaussian: a product of two.
    let data = (0..rows * cols).map(|_| uniform() * (uniform() + uniform() + uniform())).collect();
    let matrix = Matrix::new(rows, cols, data).unwrap();
    let layer = layer(rows, cols);
    let known = facts(&layer, &matrix);
    for (m, places) in [(3u8, 1u8), (5, 3), (6, 2), (12, 9), (32, 16)] {
        let how = Prune::of(f64::from(places) / f64::from(m), crate::treat::Pattern::Groups(usize::from(m)));
        let t = Treatment::prune(how);
        let said = project_layer(&layer, &known, t, None).error_energy.unwrap();
        let found = refine(&layer, &matrix, t, None, &GO).unwrap().error_energy;
        assert_eq!(said.bound, crate::known::Bound::Estimate, "{m}");
        assert!((said.value / found - 1.0).abs() < 0.1, "{places} of {m}: {} {found}", said.value);
    }
}

/// Norm of a convolution on 9×9 images with zero padding, in `f64`.
fn on_images(layer: &Layer, matrix: &Matrix) -> f64 {
    let kernel = conv::Kernel::of(layer.rows(), &layer.shape, 1, &matrix.data);
    let [a, b] = [kernel.kh, kernel.kw];
    let mut op = conv::Operator {
        kernel,
        input: [9, 9],
        output: [9 + 2 * (a / 2) - a + 1, 9 + 2 * (b / 2) - b + 1],
        stride: [1, 1],
        padding: [a / 2, b / 2],
        dilation: [1, 1],
        circular: false,
    };
    crate::numerics::lanczos::largest(&mut op, &|| true).unwrap().value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bounds_of_treated_convolutions_hold_before_and_after_a_run(
        out in 1usize..6, inp in 1usize..5, kh in 1usize..4, kw in 1usize..4, seed in 0u32..1000, share in 0.1f64..0.9,
        rank in 1usize..4, which in 0u8..4,
    ) {
        let cols = inp * kh * kw;
        let (matrix, layer) = (heavy(out, cols, seed), Layer::alone(Kind::Conv2d, &[out, inp, kh, kw]));
        let t = match which {
            0 => Treatment::prune(Prune::unstructured(share)),
            1 => Treatment::prune(Prune::of(share, Pattern::Columns)),
            2 => Treatment::rank(rank.min(layer.full_rank())),
            _ => Treatment { quantise: Some(crate::treat::Quantise { bits: 3, per: crate::probe::rounding::GRANULARITIES[0] }), ..Treatment::default() },
        };
        let known = facts(&layer, &matrix);
        let done = crate::treat::treated(&layer, &matrix, t, &|| true).unwrap();
        let refined = refine(&layer, &matrix, t, None, &GO).unwrap();
        let truth = on_images(&layer, &done);
        let mut bounds = vec![("run", project_layer(&layer, &known, t, Some(&refined)).lipschitz_after.unwrap())];
        bounds.extend(project_layer(&layer, &known, t, None).lipschitz_after.map(|k| ("projected", k)));
        for (what, bound) in bounds {
            if bound.bound == crate::known::Bound::Upper {
                prop_assert!(bound.value >= truth * (1.0 - 1e-9), "{t:?} {what}: {} {truth}", bound.value);
            }
        }
        let run = refined.convolution.unwrap();
        prop_assert!(run.after >= truth * (1.0 - 1e-9));
        prop_assert!(run.change >= on_images(&layer, &difference(&matrix, &done)) * (1.0 - 1e-9));
    }
}

#[test]
fn pruned_layers_of_the_sample_are_bounded_as_tightly_as_before() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models/fashion_cnn");
    let (model, weights) = crate::source::open(&path).unwrap();
    let mut seen = 0;
    for layer in model.layers.iter().filter(|l| l.kind.is_conv() && l.eligible()) {
        let matrix = weights.matrix(&model, layer).unwrap();
        let known = facts(layer, &matrix);
        let t = Treatment::prune(Prune::unstructured(0.5));
        let refined = refine(layer, &matrix, t, None, &GO).unwrap();
        let out = project_layer(layer, &known, t, Some(&refined));
        let (before, after) = (out.lipschitz_before.unwrap().value, out.lipschitz_after.unwrap().value);
        // Removing the smaller half of the entries hardly changes these norms.
        assert!(after <= before * 1.05, "{:?}: {before} {after}", layer.shape);
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}
