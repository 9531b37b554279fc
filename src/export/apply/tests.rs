use super::*;
use crate::numerics::KeepGoing;
use crate::plan::{Entry, Prune};
use crate::source;

const GO: KeepGoing<'static> = &|| true;

fn sample(name: &str) -> (Model, Weights) {
    source::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(name)).unwrap()
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
    Apply { model, weights, plan, out, mark: "this plan".to_owned() }
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
    assert!(matches!(job.run(&mut |_, _| (), &|| false), Err(ApplyError::Layer { .. })), "told to stop");
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().flatten().map(|f| f.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), [MARK]);
    let other = Apply { mark: "another plan".to_owned(), ..apply(&model, &weights, &plan, dir.path()) };
    assert!(matches!(other.run(&mut |_, _| (), GO), Err(ApplyError::Occupied(_))));
    // A file that was finished before is kept.
    job.prepare().unwrap();
    job.shard(0, &dir.path().join("model.safetensors"), &mut |_| (), GO).unwrap();
    let written = job.run(&mut |_, _| (), GO).unwrap();
    assert_eq!(written.kept, 1);
    assert!(!names().contains(&MARK.to_owned()) && names().contains(&"model.safetensors".to_owned()));
}
