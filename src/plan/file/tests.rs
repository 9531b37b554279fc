use super::*;
use crate::config::sample;
use crate::model::LayerId;
use crate::source;
use proptest::prelude::*;

fn model() -> Model {
    source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap().0
}

/// The example of the format, for the bundled sample.
fn example(model: &Model) -> String {
    format!(
        r#"version = 1
[model]
name = "bytelm"
fingerprint = "{}"
[made]
by = "slimscope 0.1.0"
allocator = "waterfill"
budget = {{ of = "params", keep = 0.5 }}
[[layer]]
name = "model.layers.0.mlp.down_proj"
prune = {{ remove = 0.5, criterion = "magnitude", pattern = "unstructured" }}
[[layer]]
name = "model.layers.1.mlp.up_proj"
rank = 96
pinned = true
"#,
        fingerprint(model)
    )
}

fn wrong(model: &Model, from: &str, to: &str) -> String {
    let text = example(model);
    assert!(text.contains(from), "{from}");
    let read = PlanFile::parse(&text.replacen(from, to, 1)).and_then(|f| f.plan(model, false));
    read.unwrap_err().to_string()
}

#[test]
fn the_example_is_read_and_written_as_it_was() {
    let model = model();
    let file = PlanFile::parse(&example(&model)).unwrap();
    let plan = file.plan(&model, false).unwrap();
    let of = |name: &str| plan.entry(model.layers.iter().find(|l| l.name == name).unwrap().id);
    let pruned = of("model.layers.0.mlp.down_proj");
    assert_eq!((pruned.treatment.prune, pruned.pinned), (Some(Prune::unstructured(0.5)), false));
    let ranked = of("model.layers.1.mlp.up_proj");
    assert_eq!((ranked.treatment.rank, ranked.pinned), (Some(96), true));
    assert_eq!(plan.treated(), 2, "a layer that is not named stays dense");
    let again = PlanFile::of(&model, &plan, file.made.clone().unwrap());
    assert_eq!(again, file);
    assert_eq!(PlanFile::parse(&again.text()).unwrap(), file);
    assert!(again.text().contains("prune = { remove = 0.5, criterion"), "{}", again.text());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let model = model();
    for (from, to, said) in [
        ("pinned = true", "pined = true", "pined"),
        ("pinned = true", "pined = true", "line 15"),
        ("rank = 96", "rank = \"many\"", "line 14"),
        ("version = 1", "version = 2", "version 2"),
        ("blake3:", "blake3:0", "--force"),
        ("layers.1.mlp", "layers.9.mlp", "no such layer"),
        ("rank = 96", "rank = 161", "between 1 and 160"),
        ("rank = 96", "rank = 0", "between 1 and 160"),
        ("model.layers.1.mlp.up_proj", "model.embed_tokens", "cannot be compressed"),
        ("\"magnitude\"", "\"wanda\"", "--calibration FILE"),
        ("\"unstructured\"", "\"2:4:8\"", "N:M"),
        ("\"unstructured\"", "\"1:4\"", "removes 0.75"),
        ("remove = 0.5", "remove = 1.5", "between 0 and 1"),
    ] {
        let error = wrong(&model, from, to);
        assert!(error.contains(said), "{to}: {error}");
    }
    let other = example(&model).replace("blake3:", "blake3:0");
    assert!(PlanFile::parse(&other).unwrap().plan(&model, true).is_ok(), "unless it is forced");
}

#[test]
fn a_fingerprint_changes_with_shapes_and_not_with_where_bytes_lie() {
    let model = model();
    let mut moved = model.clone();
    moved.tensors.reverse();
    moved.tensors[0].file = 7;
    assert_eq!(fingerprint(&moved), fingerprint(&model));
    moved.tensors[0].shape[0] += 1;
    assert_ne!(fingerprint(&moved), fingerprint(&model));
}

proptest! {
    #[test]
    fn every_plan_comes_back(
        edits in prop::collection::vec((0usize..60, prop::option::of(1usize..200), prop::option::of(0.001f64..=1.0), 0usize..7, any::<bool>()), 0..12),
    ) {
        let model = model();
        let mut plan = Plan::new(model.layers.len());
        for (i, rank, remove, which, pinned) in edits {
            let Some(layer) = model.layers.get(i).filter(|l| l.eligible()) else { continue };
            let pattern = crate::treat::pattern::CYCLE[which];
            let prune = remove.map(|r| Prune::of(pattern.on_grid(r), pattern)).filter(|p| p.remove > 0.0);
            let rank = rank.map(|r| r.min(layer.full_rank()));
            plan.set(LayerId(i), Entry { treatment: Treatment { rank, prune, ..Treatment::default() }, pinned });
        }
        let file = PlanFile::of(&model, &plan, Made::default());
        let back = PlanFile::parse(&file.text()).unwrap().plan(&model, false).unwrap();
        for layer in &model.layers {
            prop_assert_eq!(back.entry(layer.id), plan.entry(layer.id));
        }
    }
}
