use super::*;
use crate::evaluate::Data;
use crate::source;
use crate::treat::{Prune, parts};
use candle_core::Device;
use std::path::Path;
use std::sync::Mutex;

/// A sample model, opened, with a slice of its data.
pub(in crate::evaluate) fn sample(name: &str, examples: usize) -> (Arc<Model>, Weights, Slice) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(name);
    let (model, weights) = source::open(&folder).unwrap();
    let data = Data::beside(&model).unwrap().unwrap();
    let slice = data.slice(&model, 0..examples, None).unwrap();
    (Arc::new(model), weights, slice)
}

pub(in crate::evaluate) fn trials(model: &Arc<Model>, weights: &Weights, kept: Option<Arc<dyn Kept>>) -> Trials {
    let network = Network::load(model, weights, &Device::Cpu).unwrap();
    Trials::new(Arc::clone(model), weights.clone(), network, 1 << 20, kept).unwrap()
}

fn run(trials: &mut Trials, plan: &[Treatment], slice: &Slice) -> Measured {
    trials.run(plan, slice, &|| true, &mut |_| true).unwrap().unwrap()
}

#[test]
fn a_plan_is_swapped_in_and_out_again() {
    let (model, weights, slice) = sample("digits_mlp", 200);
    let mut trials = trials(&model, &weights, None);
    let dense = vec![Treatment::default(); model.layers.len()];
    let before = run(&mut trials, &dense, &slice);
    assert!(before.value > 0.9);
    // Everything removed: the biases alone answer.
    let gone: Vec<Treatment> = model
        .layers
        .iter()
        .map(|l| if l.eligible() { Treatment::prune(Prune::unstructured(1.0)) } else { Treatment::default() })
        .collect();
    assert!(run(&mut trials, &gone, &slice).value < 0.3);
    let mut one = dense.clone();
    let layer = model.layers.iter().find(|l| l.eligible()).unwrap();
    one[layer.id.0] = Treatment::rank(8);
    let treated = run(&mut trials, &one, &slice);
    // The same, computed apart.
    let mut network = Network::load(&model, &weights, &Device::Cpu).unwrap();
    let matrix = weights.matrix(&model, layer).unwrap();
    network.swap(layer.id, &parts(layer, &matrix, Treatment::rank(8), &|| true).unwrap()).unwrap();
    let apart = measure(&network, &slice, &mut |_| true).unwrap().unwrap();
    assert!((treated.nats - apart.nats).abs() < 1e-6 && (treated.nats - before.nats).abs() > 1e-4);
    let after = run(&mut trials, &dense, &slice);
    assert!((after.nats - before.nats).abs() < 1e-9);
}

#[test]
fn nobody_wants_it_any_more() {
    let (model, weights, slice) = sample("digits_mlp", 200);
    let mut trials = trials(&model, &weights, None);
    let plan = vec![Treatment::prune(Prune::unstructured(0.5)); model.layers.len()];
    assert_eq!(trials.run(&plan, &slice, &|| false, &mut |_| true).unwrap(), None, "while layers are treated");
    assert_eq!(trials.run(&plan, &slice, &|| true, &mut |_| false).unwrap(), None, "while it is measured");
    assert!(run(&mut trials, &plan, &slice).value > 0.5, "and then it can be measured all the same");
}

#[derive(Default)]
struct InMemory(Mutex<HashMap<String, Vec<u8>>>);

impl Kept for InMemory {
    fn get(&self, question: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(question).cloned()
    }
    fn put(&self, question: &str, answer: &[u8]) {
        self.0.lock().unwrap().insert(question.to_owned(), answer.to_vec());
    }
}

#[test]
fn what_was_measured_once_is_not_run_again_and_nothing_else_is_mistaken_for_it() {
    let (model, weights, slice) = sample("digits_mlp", 128);
    let kept = Arc::new(InMemory::default());
    let mut first = trials(&model, &weights, Some(Arc::clone(&kept) as Arc<dyn Kept>));
    let plan = |remove: f64| vec![Treatment::prune(Prune::unstructured(remove)); model.layers.len()];
    let measured = run(&mut first, &plan(0.5), &slice);
    let mut second = trials(&model, &weights, Some(Arc::clone(&kept) as Arc<dyn Kept>));
    let again = second.run(&plan(0.5), &slice, &|| false, &mut |_| panic!("it was run")).unwrap();
    assert_eq!(again, Some(measured));
    // Another ratio, another slice, another model.
    assert_ne!(second.question(&plan(0.5), &slice).unwrap(), second.question(&plan(0.500_1), &slice).unwrap());
    let (_, _, other) = sample("digits_mlp", 129);
    assert_ne!(second.question(&plan(0.5), &slice).unwrap(), second.question(&plan(0.5), &other).unwrap());
    let (other, its, images) = sample("fashion_mlp", 10);
    let elsewhere = trials(&other, &its, Some(Arc::clone(&kept) as Arc<dyn Kept>));
    let none: [Treatment; 0] = [];
    assert_ne!(second.question(&none, &images).unwrap(), elsewhere.question(&none, &images).unwrap());
}

#[test]
fn what_was_not_used_for_longest_is_forgotten_first() {
    let mut memory = Memory { parts: HashMap::new(), held: 0, most: 100, clock: 0 };
    let matrix = crate::model::Matrix { rows: 2, cols: 5, data: vec![0.0; 10] };
    let parts = || Arc::new(Parts { factors: None, entries: Some(matrix.clone()) });
    for rank in 1..=2 {
        memory.put(LayerId(0), Treatment::rank(rank), parts());
    }
    assert!(memory.get(LayerId(0), Treatment::rank(1)).is_some());
    memory.put(LayerId(0), Treatment::rank(3), parts());
    assert_eq!(memory.held, 80);
    assert!(memory.get(LayerId(0), Treatment::rank(2)).is_none());
    assert!(
        memory.get(LayerId(0), Treatment::rank(1)).is_some() && memory.get(LayerId(0), Treatment::rank(3)).is_some()
    );
    memory.put(LayerId(0), Treatment::rank(3), parts());
    assert_eq!(memory.held, 80, "put twice, held once");
}
