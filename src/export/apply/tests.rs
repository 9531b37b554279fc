use super::*;
use crate::numerics::KeepGoing;
use crate::plan::{Entry, Outcome, Prune, Treatment, project};
use crate::probe::book::FactBook;
use crate::probe::{Ask, PROBES, ProbeId};
use crate::source;

const GO: KeepGoing<'static> = &|| true;

fn sample(name: &str) -> (Model, Weights) {
    source::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(name)).unwrap()
}

/// A stored weight by itself: factors are parts of a layer.
fn bare(model: &Model, name: &str) -> Option<Layer> {
    let id = model.tensors.iter().position(|t| t.name == format!("{name}.weight"))?;
    Some(Layer::of_tensor(name, id, &model.tensors[id]))
}

/// A treatment of every kind, one after the other.
fn mixed(model: &Model) -> Plan {
    let mut plan = Plan::new(model.layers.len());
    let kinds = crate::treat::pattern::CYCLE;
    for (i, layer) in model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none()).enumerate() {
        let pattern = kinds[i % kinds.len()];
        let prune = (i % 4 != 3).then_some(Prune::of(0.5, pattern));
        let rank = (i % 3 == 2 || i % 4 == 3).then_some((layer.full_rank() / 2).max(1));
        plan.set(layer.id, Entry { treatment: Treatment { rank, prune, ..Treatment::default() }, pinned: false });
    }
    plan
}

fn apply<'a>(model: &'a Model, weights: &'a Weights, plan: &'a Plan, out: &'a Path) -> Apply<'a> {
    let limits = Limits { threads: 2, memory: 1 << 20 };
    Apply { model, weights, plan, out, form: Form::Dense, mark: "this plan".to_owned(), limits }
}

#[test]
fn only_treated_tensors_change_and_they_become_what_the_plan_says() {
    for name in ["bytelm", "digits_mlp", "fashion_mlp", "fashion_cnn"] {
        let (model, weights) = sample(name);
        let plan = mixed(&model);
        let dir = tempfile::tempdir().unwrap();
        let mut told = Vec::new();
        let job = apply(&model, &weights, &plan, dir.path());
        let written = job.run(&mut |done, total| told.push((done, total)), GO).unwrap();
        assert_eq!((written.files.as_slice(), written.kept), (&["model.safetensors".to_owned()][..], 0));
        assert!(told.windows(2).all(|w| w[0].0 <= w[1].0) && told.last().is_some_and(|l| l.0 == l.1));
        let (result, stored) = source::open(dir.path()).unwrap();
        let (old, new) = (weights.file(&model, 0).unwrap(), stored.file(&result, 0).unwrap());
        assert_eq!(old.len(), new.len());
        let data = model.tensors.iter().map(|t| t.range.start).min().unwrap();
        assert_eq!(old[..data], new[..data], "{name}: the header");
        let mut changed = 0;
        for (id, tensor) in model.tensors.iter().enumerate() {
            let layer = model.layers.iter().find(|l| l.tensor == id && l.tied_to.is_none());
            let treatment = layer.map_or(Treatment::default(), |l| plan.treatment(l.id));
            let same = old[tensor.range.clone()] == new[tensor.range.clone()];
            assert_eq!(same, treatment.is_dense(), "{name} {}", tensor.name);
            let Some(layer) = layer.filter(|_| !same) else { continue };
            changed += 1;
            let (want, got) = (
                treated(layer, &weights.matrix(&model, layer).unwrap(), treatment, GO).unwrap(),
                stored.matrix(&result, &result.layers[layer.id.0]).unwrap(),
            );
            let largest = want.data.iter().fold(0f32, |t, w| t.max(w.abs()));
            let slack = if treatment.rank.is_some() { largest * layer.dtype.epsilon() as f32 } else { 0.0 };
            assert!(want.data.iter().zip(&got.data).all(|(a, b)| (a - b).abs() <= slack), "{name} {}", layer.name);
        }
        assert!(changed >= 3);
        let folder = &model.files[0].path.parent().unwrap();
        assert_eq!(fs::read(folder.join("config.json")).unwrap(), fs::read(dir.path().join("config.json")).unwrap());
        assert!(fs::read_dir(dir.path()).unwrap().flatten().all(|f| !f.path().ends_with(MARK)), "no mark is left");
    }
}

#[test]
fn its_own_input_and_what_others_wrote_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    fs::create_dir(&folder).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models/digits_mlp");
    for name in ["model.safetensors", "config.json"] {
        fs::copy(from.join(name), folder.join(name)).unwrap();
    }
    let (model, weights) = source::open(&folder).unwrap();
    let plan = mixed(&model);
    let run = |out: &Path| apply(&model, &weights, &plan, out).run(&mut |_, _| (), GO);
    assert!(matches!(run(&folder), Err(ApplyError::Itself(_))));
    assert!(matches!(run(&dir.path().join("model/../model")), Err(ApplyError::Itself(_))));
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("model.safetensors"), b"somebody's").unwrap();
    assert!(matches!(run(&other), Err(ApplyError::Occupied(_))));
    assert_eq!(fs::read(other.join("model.safetensors")).unwrap(), b"somebody's");
}

#[test]
fn an_interrupted_run_leaves_no_half_file_and_is_taken_up_again() {
    let (model, weights) = sample("digits_mlp");
    let plan = mixed(&model);
    let dir = tempfile::tempdir().unwrap();
    let job = apply(&model, &weights, &plan, dir.path());
    let stopped = job.run(&mut |_, _| (), &|| false).unwrap_err();
    assert!(matches!(stopped, ApplyError::Stopped { done: 0, all: 1, .. }), "{stopped}");
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().flatten().map(|f| f.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), [MARK]);
    let other = Apply { mark: "another plan".to_owned(), ..apply(&model, &weights, &plan, dir.path()) };
    assert!(matches!(other.run(&mut |_, _| (), GO), Err(ApplyError::Unfinished(_))));
    // What a kill left half-written goes; a file that was finished before is kept.
    fs::write(dir.path().join("model.safetensors.partial"), b"half").unwrap();
    fs::write(dir.path().join("config.json.partial"), b"half").unwrap();
    let other = tempfile::tempdir().unwrap();
    apply(&model, &weights, &plan, other.path()).run(&mut |_, _| (), GO).unwrap();
    fs::copy(other.path().join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    let written = job.run(&mut |_, _| (), GO).unwrap();
    assert_eq!(written.kept, 1);
    assert_eq!(names(), ["config.json", "eval.safetensors", "model.safetensors", "train.py"]);
    let checks = job.check(&outcome(&model, &weights, &plan), &written, &mut |_, _| (), GO).unwrap();
    assert!(checks.iter().all(|c| c.wrong.is_none()), "errors are found again: {checks:?}");
    assert!(matches!(job.run(&mut |_, _| (), GO), Err(ApplyError::Occupied(_))), "it is whole");
}

/// What the plan amounts to by a first look alone.
fn outcome(model: &Model, weights: &Weights, plan: &Plan) -> Outcome {
    let mut facts = FactBook::new(model.layers.len());
    let ask = Ask { keep_going: GO, threads: 1 };
    for layer in model.layers.iter().filter(|l| l.measurable()) {
        let stored = weights.stored(model, layer).unwrap();
        for probe in PROBES.iter().filter(|p| p.applies(layer) && p.id() != ProbeId::Certificate) {
            probe.measure(layer, &stored, &ask).unwrap().into_iter().for_each(|f| facts.merge(layer.id, f));
        }
    }
    project(model, &facts, &vec![None; model.layers.len()], plan)
}

#[test]
fn what_is_read_back_is_held_against_the_plan_and_the_checkpoint() {
    let (model, weights) = sample("digits_mlp");
    let plan = mixed(&model);
    let said = outcome(&model, &weights, &plan);
    for form in [Form::Dense, Form::Factored] {
        let dir = tempfile::tempdir().unwrap();
        let job = Apply { form, ..apply(&model, &weights, &plan, dir.path()) };
        let written = job.run(&mut |_, _| (), GO).unwrap();
        let check = || job.check(&said, &written, &mut |_, _| (), GO);
        let checks = check().unwrap();
        assert_eq!(checks.len(), 3);
        assert!(checks.iter().all(|c| c.wrong.is_none()), "{checks:?}");
        assert!(matches!(job.check(&said, &written, &mut |_, _| (), &|| false), Err(ApplyError::Unchecked(_))));
        // One byte anywhere, and it is seen.
        let path = dir.path().join("model.safetensors");
        let whole = fs::read(&path).unwrap();
        let (result, _) = source::open(dir.path()).unwrap();
        for tensor in &result.tensors {
            let mut bytes = whole.clone();
            // The exponent of the first element.
            bytes[tensor.range.start + tensor.dtype.bits() / 8 - 1] ^= 0x44;
            fs::write(&path, bytes).unwrap();
            let seen = match check() {
                Ok(checks) => checks.iter().any(|c| c.wrong.is_some()),
                Err(e) => matches!(e, ApplyError::Changed { .. }),
            };
            assert!(seen, "{form:?} {}", tensor.name);
        }
        fs::write(&path, &whole[..]).unwrap();
        assert!(check().is_ok());
    }
}

#[test]
fn factors_take_the_place_of_a_weight_and_all_else_stays() {
    for name in ["bytelm", "digits_mlp", "fashion_mlp", "fashion_cnn"] {
        let (model, weights) = sample(name);
        let plan = mixed(&model);
        let dir = tempfile::tempdir().unwrap();
        let job = Apply { form: Form::Factored, ..apply(&model, &weights, &plan, dir.path()) };
        job.run(&mut |_, _| (), GO).unwrap();
        let (result, stored) = source::open(dir.path()).unwrap();
        assert_eq!(result.metadata, model.metadata);
        let tensor = |name: &str| result.tensors.iter().find(|t| t.name == name);
        let mut factored = 0;
        for old in &model.tensors {
            let layer = model.layers.iter().find(|l| model.tensors[l.tensor].name == old.name && l.tied_to.is_none());
            let treatment = layer.map_or(Treatment::default(), |l| plan.treatment(l.id));
            let Some(layer) = layer.filter(|_| treatment.rank.is_some()) else {
                let new = tensor(&old.name).unwrap();
                assert_eq!((new.dtype, &new.shape), (old.dtype, &old.shape));
                let same = weights.bytes(&model, old).unwrap() == stored.bytes(&result, new).unwrap();
                assert_eq!(same, treatment.is_dense(), "{name} {}", old.name);
                continue;
            };
            factored += 1;
            assert!(tensor(&old.name).is_none());
            let part = |p: &str| {
                let found = bare(&result, &format!("{}.{p}", layer.name)).unwrap();
                assert_eq!((found.dtype, found.shape.len()), (layer.dtype, layer.shape.len()));
                stored.matrix(&result, &found).unwrap()
            };
            let (a, b) = (part("mod_a"), part("mod_b"));
            let rank = treatment.rank.unwrap();
            assert_eq!((a.rows, a.cols, b.rows, b.cols), (rank, layer.cols(), layer.rows(), rank), "{}", layer.name);
            let before = weights.matrix(&model, layer).unwrap();
            let want = treated(layer, &before, treatment, GO).unwrap();
            let mut product = crate::treat::low_rank::multiplied(&b, &a);
            if treatment.prune.is_some() {
                let s = part("mod_s");
                product.data.iter_mut().zip(&s.data).for_each(|(p, s)| *p += s);
            }
            let off = difference(&want, &product);
            assert!(off < 2.0 * layer.dtype.epsilon(), "{name} {}: {off}", layer.name);
            let told = result.config.as_ref().unwrap().pointer(&format!("/rank_dict/{}", layer.name)).unwrap();
            assert_eq!(told.as_u64(), Some(rank as u64));
        }
        assert!(factored >= 1, "{name}");
        // The configuration is what it was, and the ranks after it.
        let text = |folder: &Path| fs::read_to_string(folder.join("config.json")).unwrap();
        let (old, new) = (text(model.files[0].path.parent().unwrap()), text(dir.path()));
        assert!(new.starts_with(old.trim_end().trim_end_matches('}').trim_end()), "{new}");
    }
}

/// A checkpoint in two files with an index, GPT-2's orientation and tensors of several widths.
fn odd(folder: &Path) -> (Model, Weights) {
    let tensors = [
        ("h.0.attn.c_attn.weight", "F16", vec![9usize, 27], 1),
        ("h.0.attn.c_attn.bias", "F32", vec![27], 1),
        ("h.0.mlp.c_fc.weight", "BF16", vec![9, 11], 1),
        ("h.0.step", "I64", vec![3], 1),
        ("h.0.ln_1.weight", "F32", vec![9], 2),
        ("h.0.mlp.c_proj.weight", "F64", vec![11, 9], 2),
    ];
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    for file in 1..=2 {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        header.insert("__metadata__".to_owned(), serde_json::json!({"format": "pt"}));
        for (name, dtype, shape, _) in tensors.iter().filter(|t| t.3 == file) {
            let start = data.len();
            for _ in 0..shape.iter().product() {
                match *dtype {
                    "F16" => data.extend(half::f16::from_f32(next()).to_le_bytes()),
                    "BF16" => data.extend(half::bf16::from_f32(next()).to_le_bytes()),
                    "F32" => data.extend(next().to_le_bytes()),
                    _ => data.extend(f64::from(next()).to_le_bytes()),
                }
            }
            let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
            header.insert((*name).to_owned(), entry);
        }
        let text = serde_json::Value::Object(header).to_string();
        let bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &data].concat();
        fs::write(folder.join(format!("model-{file}.safetensors")), bytes).unwrap();
    }
    let map: serde_json::Map<_, _> =
        tensors.iter().map(|t| (t.0.to_owned(), format!("model-{}.safetensors", t.3).into())).collect();
    let index = serde_json::json!({"metadata": {"total_size": 1, "by": "hand"}, "weight_map": map});
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::write(folder.join("config.json"), r#"{"model_type":"gpt2","eps":1e-05}"#).unwrap();
    fs::write(folder.join("README.md"), "words").unwrap();
    fs::write(folder.join("pytorch_model.bin"), vec![0; (1 << 20) + 1]).unwrap();
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    fs::write(folder.join("1_Pooling/config.json"), "{}").unwrap();
    fs::create_dir_all(folder.join(".git")).unwrap();
    source::open(folder).unwrap()
}

#[test]
fn an_index_names_the_factors_and_odd_tensors_stay_aligned() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    fs::create_dir(&folder).unwrap();
    let (model, weights) = odd(&folder);
    let mut plan = Plan::new(model.layers.len());
    for layer in model.layers.iter().filter(|l| l.eligible()) {
        plan.set(layer.id, Entry { treatment: Treatment::rank(3), pinned: false });
    }
    // Inside the folder of the checkpoint itself: fine, and not copied into itself.
    let out = folder.join("out");
    let job = Apply { form: Form::Factored, ..apply(&model, &weights, &plan, &out) };
    let written = job.run(&mut |_, _| (), GO).unwrap();
    assert_eq!(written.left_out, ["pytorch_model.bin"]);
    assert!(out.join("1_Pooling/config.json").is_file() && out.join("README.md").is_file());
    assert!(!out.join("out").exists() && !out.join(".git").exists());
    let checks = job.check(&outcome(&model, &weights, &plan), &written, &mut |_, _| (), GO).unwrap();
    assert_eq!(checks.iter().map(|c| (c.rank, c.wrong.clone())).collect::<Vec<_>>(), vec![(Some(3), None); 3]);
    let (result, stored) = source::open(&out).unwrap();
    assert!(result.tensors.iter().all(|t| t.range.start % (t.dtype.bits() / 8) == 0), "{:?}", result.tensors);
    let of = |name: &str| result.tensors.iter().find(|t| t.name == name).unwrap();
    assert_eq!(of("h.0.attn.c_attn.mod_a.weight").shape, [3, 9], "outputs first, whatever the weight had");
    assert_eq!(of("h.0.attn.c_attn.mod_b.weight").shape, [27, 3]);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("model.safetensors.index.json")).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"].as_u64(), Some(result.bytes()));
    assert_eq!(index["metadata"]["by"], "hand");
    assert_eq!(index["weight_map"].as_object().unwrap().len(), result.tensors.len());
    assert_eq!(index["weight_map"]["h.0.mlp.c_proj.mod_b.weight"], "model-2.safetensors");
    let (old, new) = (model.tensors.iter().find(|t| t.name == "h.0.step").unwrap(), of("h.0.step"));
    assert_eq!(weights.bytes(&model, old).unwrap(), stored.bytes(&result, new).unwrap());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (model, weights) = sample("fashion_cnn");
    let conv = model.layers.iter().find(|l| l.kind.is_conv() && l.eligible()).unwrap();
    let out = dir.path().join("out");
    let refused = |treatment: Treatment, said: &str| {
        let mut plan = Plan::new(model.layers.len());
        plan.set(conv.id, Entry { treatment, pinned: false });
        let job = Apply { form: Form::Factored, ..apply(&model, &weights, &plan, &out) };
        let told = job.run(&mut |_, _| (), GO).unwrap_err().to_string();
        assert!(told.contains(&conv.name) && told.contains(said), "{told}");
        assert!(!out.exists());
    };
    refused(Treatment { form: crate::treat::Factors::Spatial, ..Treatment::rank(2) }, "spatial");
    refused(Treatment::rank(0), "rank 0");
    let plan = mixed(&model);
    fs::write(dir.path().join("file"), "a file").unwrap();
    let onto = |path: &Path| apply(&model, &weights, &plan, path).run(&mut |_, _| (), GO).unwrap_err();
    assert!(matches!(onto(&dir.path().join("file")), ApplyError::NoFolder(_)));
    assert!(matches!(onto(&dir.path().join("file/out")), ApplyError::Write { .. }));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(model.files[0].path.parent().unwrap(), dir.path().join("link")).unwrap();
        assert!(matches!(onto(&dir.path().join("link")), ApplyError::Itself(_)));
    }
}

/// Inputs that go together, a few larger than the others.
fn inputs_of(n: usize) -> crate::model::Inputs {
    let draw = |i: usize, t: usize| (((i * 7919 + t * 104_729) % 9973) as f32 * 0.7).sin();
    let size = |i: usize| if i.is_multiple_of(17) { 8.0 } else { 1.0 };
    let tokens = 2 * n;
    let mut gram = vec![0f32; n * n];
    for t in 0..tokens {
        let shared = draw(n, t);
        let x: Vec<f32> = (0..n).map(|i| size(i) * (draw(i, t) + shared)).collect();
        (0..n * n).for_each(|k| gram[k] += x[k / n] * x[k % n] / tokens as f32);
    }
    let mut inputs = crate::model::Inputs::of_gram(tokens as u64, &Matrix::new(n, n, gram).unwrap());
    inputs.abs_mean = Some((0..n).map(size).collect());
    inputs
}

#[test]
fn what_goes_by_activations_is_written_and_read_back_as_planned() {
    use crate::treat::error::weigh;
    use crate::treat::refine::{self, refine};
    use crate::treat::{Criterion, Factors, Pattern};
    let (mut model, weights) = sample("digits_mlp");
    let prune = |criterion, pattern| Treatment::prune(Prune { criterion, ..Prune::of(0.5, pattern) });
    let form = |form, rank| Treatment { form, ..Treatment::rank(rank) };
    let wanda = Prune { criterion: Criterion::Wanda, ..Prune::of(0.5, Pattern::PerRow) };
    let all = [
        form(Factors::Whitened, 6),
        form(Factors::Asvd, 6),
        prune(Criterion::Wanda, Pattern::PerRow),
        prune(Criterion::Ria, Pattern::Unstructured),
        prune(Criterion::Obs, Pattern::Groups(4)),
        prune(Criterion::ObsRefit, Pattern::Unstructured),
        Treatment { prune: Some(wanda), ..form(Factors::Whitened, 4) },
    ];
    let plain = model.clone();
    for layer in &mut model.layers {
        layer.inputs = layer.eligible().then(|| std::sync::Arc::new(inputs_of(layer.cols())));
    }
    for how in [Form::Dense, Form::Factored] {
        for treatment in all {
            let mut plan = Plan::new(model.layers.len());
            let layers: Vec<_> = model.layers.iter().filter(|l| l.eligible()).collect();
            layers.iter().for_each(|l| plan.set(l.id, Entry { treatment, pinned: false }));
            let dir = tempfile::tempdir().unwrap();
            let job = Apply { form: how, ..apply(&model, &weights, &plan, dir.path()) };
            let written = job.run(&mut |_, _| (), GO).unwrap();
            let said = outcome(&model, &weights, &plan);
            let checks = job.check(&said, &written, &mut |_, _| (), GO).unwrap();
            assert!(checks.iter().all(|c| c.wrong.is_none()), "{treatment:?} {checks:?}");
            let (result, stored) = source::open(dir.path()).unwrap();
            for layer in layers {
                let before = weights.matrix(&model, layer).unwrap();
                let ran = refine::run(layer, &before, treatment, GO).unwrap();
                let wanted = ran.weighed.unwrap().output_error.value;
                assert!(wanted > 0.0 && wanted < 1.0, "{treatment:?} {wanted}");
                let tensor = |part: &str| {
                    let name = format!("{}{part}", layer.name);
                    bare(&result, &name).map(|l| stored.matrix(&result, &l).unwrap())
                };
                let after = match (tensor(".mod_a"), tensor(".mod_b"), tensor("")) {
                    (Some(a), Some(b), _) => {
                        let mut product = crate::treat::low_rank::multiplied(&b, &a);
                        let rest = tensor(".mod_s").map_or_else(Vec::new, |s| s.data);
                        product.data.iter_mut().zip(&rest).for_each(|(p, s)| *p += s);
                        product
                    }
                    (_, _, whole) => whole.unwrap(),
                };
                let data = before.data.iter().zip(&after.data).map(|(a, b)| a - b).collect();
                let delta = Matrix::new(before.rows, before.cols, data).unwrap();
                let found = weigh(layer, &before, &delta, GO).unwrap().unwrap().output_error.value;
                let slack = 1e-4 + 4.0 * layer.dtype.epsilon();
                assert!((found - wanted).abs() < slack, "{treatment:?} {}: {found} {wanted}", layer.name);
                // What the whole refinement tells is the same.
                let ask = Ask { keep_going: GO, threads: 1 };
                let refined = refine(layer, &before, treatment, None, &ask).unwrap();
                assert!((refined.weighed.unwrap().output_error.value - wanted).abs() < 1e-5);
            }
            // Without the calibration it fails, and leaves nothing that looks whole.
            let empty = tempfile::tempdir().unwrap();
            let blind = Apply { form: how, ..apply(&plain, &weights, &plan, empty.path()) };
            let told = blind.run(&mut |_, _| (), GO).unwrap_err().to_string();
            assert!(told.contains("--calibration FILE"), "{told}");
            assert!(!empty.path().join("model.safetensors").exists());
        }
    }
}
