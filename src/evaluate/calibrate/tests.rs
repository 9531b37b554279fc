use super::*;
use crate::evaluate::{Data, Device};
use candle_core::Tensor;
use safetensors::SafeTensors;

/// Two layers that hear the same and one wide one.
fn small() -> Calibration {
    let mut inputs = vec![Moments::new(2, 8), Moments::new(3, 2)];
    inputs[0].add(&[1.0, 2.0, 3.0, -4.0]).unwrap();
    inputs[1].add(&[1.0, 0.0, -2.0]).unwrap();
    let mut gradient = Moments::new(1, 0);
    gradient.add(&[3.0]).unwrap();
    let heard = |id, name: &str, input, gradient| Heard { layer: LayerId(id), name: name.to_owned(), input, gradient };
    Calibration {
        data: "some.txt[0..2]".to_owned(),
        context: Some(2),
        tokens: 2,
        seconds: 1.0,
        layers: vec![heard(0, "k", 0, None), heard(1, "q", 0, Some(gradient)), heard(2, "a.wide", 1, None)],
        remarks: Vec::new(),
        inputs,
    }
}

fn values(file: &SafeTensors, name: &str) -> Vec<f32> {
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::F32);
    view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn the_file_holds_what_was_heard_under_sorted_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.safetensors");
    let model = Model { name: "m".to_owned(), ..Model::default() };
    let size = small().write(&model, &path, &mut || true).unwrap().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(size, bytes.len() as u64);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 10);
    assert_eq!(values(&file, "q.gram"), [5.0, -5.0, -5.0, 10.0]);
    assert_eq!(values(&file, "q.gram"), values(&file, "k.gram"));
    assert_eq!(file.tensor("q.gram").unwrap().shape(), [2, 2]);
    assert_eq!(values(&file, "q.abs_mean"), [2.0, 3.0]);
    assert_eq!(values(&file, "q.mean"), [2.0, -1.0]);
    assert_eq!(values(&file, "q.gradient"), [9.0]);
    assert_eq!(values(&file, "a.wide.diagonal"), [1.0, 0.0, 4.0]);
    assert!(file.tensor("a.wide.gram").is_err() && file.tensor("k.gradient").is_err());
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header % 8, 0);
    let text = std::str::from_utf8(&bytes[8..8 + header]).unwrap();
    let places: Vec<usize> = ["\"a.wide.abs_mean\"", "\"k.abs_mean\"", "\"q.abs_mean\"", "\"q.gram\""]
        .map(|n| text.find(n).unwrap())
        .to_vec();
    assert!(places.is_sorted(), "{text}");
    let metadata = metadata.metadata().as_ref().unwrap();
    for (key, want) in
        [("tokens", "2"), ("format", FORMAT), ("model", "m"), ("data", "some.txt[0..2]"), ("context", "2")]
    {
        assert_eq!(metadata[key], want);
    }
}

#[test]
fn a_file_that_is_stopped_or_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.safetensors");
    std::fs::write(&path, "an older one").unwrap();
    assert!(small().write(&Model::default(), &path, &mut || false).unwrap().is_none());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "an older one");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("none/calibration.safetensors");
    let error = small().write(&Model::default(), &nowhere, &mut || true).unwrap_err().to_string();
    assert!(error.contains("cannot be written; choose a folder that exists"), "{error}");
}

/// The bundled sample, and a slice of its text.
fn sample(range: std::ops::Range<usize>, context: usize) -> (Model, Network, Slice) {
    use crate::config::sample::{CONFIG, NAME, WEIGHTS};
    let (model, weights) = crate::source::open_embedded(NAME, WEIGHTS, CONFIG).unwrap();
    let network = Network::load(&model, &weights, &Device::Cpu).unwrap();
    let data = Data::beside(&model).unwrap().unwrap();
    let slice = data.slice(&model, range, Some(context)).unwrap();
    (model, network, slice)
}

fn run(model: &Model, network: &Network, slice: &Slice, options: &Options) -> Calibration {
    calibrate(network, model, slice, options, &mut |_| true).unwrap().unwrap()
}

fn named<'a>(calibration: &'a Calibration, name: &str) -> (&'a Heard, &'a Moments) {
    calibration.moments().find(|(h, _)| h.name == name).unwrap()
}

#[test]
fn where_memory_is_short_diagonals_are_kept_and_that_is_said() {
    let (model, network, slice) = sample(0..100, 64);
    // Room for what two layers of 160 columns hear, and for none of 432.
    let options = Options { gradients: false, room: 2 * 8 * 160 * 160 + 1000, ..Options::default() };
    let calibration = run(&model, &network, &slice, &options);
    assert_eq!(calibration.moments().filter(|(_, m)| m.has_gram()).count(), 4, "q, k and v hear the same, o another");
    let whole = run(&model, &network, &slice, &Options { gradients: false, ..Options::default() });
    assert!(whole.remarks.is_empty());
    for ((_, few), (_, all)) in calibration.moments().zip(whole.moments()) {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs();
        assert!(few.diagonal().iter().zip(&all.diagonal()).all(close));
    }
    let told = calibration.remarks.join("\n");
    assert!(told.starts_with("of 15 inputs only the diagonal") && told.contains("--layers"), "{told}");
}

#[test]
fn each_layer_hears_what_it_multiplies_and_what_is_shared_is_kept_once() {
    let (model, network, slice) = sample(0..300, 64);
    let options = Options { gradients: false, ..Options::default() };
    let calibration = run(&model, &network, &slice, &options);
    assert_eq!((calibration.tokens, calibration.context), (300, Some(64)));
    assert_eq!(calibration.layers.iter().map(|h| h.layer).collect::<Vec<_>>(), network.layers());
    // Of each block what q, k and v hear, what o, what gate and up, what down; and what the head does.
    assert_eq!((calibration.layers.len(), calibration.inputs.len()), (4 * 7 + 1, 4 * 4 + 1));
    let block = "model.layers.2";
    let of = |part: &str| named(&calibration, &format!("{block}.{part}")).0.input;
    assert_eq!(of("self_attn.q_proj"), of("self_attn.v_proj"));
    assert_eq!(of("mlp.gate_proj"), of("mlp.up_proj"));
    assert_ne!(of("self_attn.q_proj"), of("mlp.up_proj"));
    // Each window by itself, straight from the definition.
    let id = named(&calibration, "model.layers.2.mlp.down_proj").0.layer;
    let mut rows: Vec<f32> = Vec::new();
    for unit in &slice.units {
        let mut listen = |layer: LayerId, x: &Tensor| {
            if layer == id {
                rows.extend(x.flatten_all()?.to_vec1::<f32>()?);
            }
            Ok(())
        };
        network.logits(&batch(&[unit]), Some(&mut listen)).unwrap();
    }
    assert_eq!(rows.len(), 300 * 432);
    let moments = named(&calibration, "model.layers.2.mlp.down_proj").1;
    for (i, j) in [(0, 0), (3, 17), (431, 2), (100, 431)] {
        let want: f64 = rows.chunks(432).map(|x| f64::from(x[i]) * f64::from(x[j])).sum::<f64>() / 300.0;
        let size = (moments.diagonal()[i] * moments.diagonal()[j]).sqrt();
        assert!((moments.gram_row(i)[j] - want).abs() < 1e-5 * size, "{i} {j}");
    }
    assert_eq!(moments.rows(), 300);
}

#[test]
fn gradients_by_the_heads_output_are_what_the_formula_says() {
    let (model, network, slice) = sample(1000..1100, 50);
    let calibration = run(&model, &network, &slice, &Options::default());
    assert_eq!(calibration.remarks, [""; 0]);
    assert!(calibration.layers.iter().all(|h| h.gradient.is_some()));
    // ∂L/∂logits = softmax − one-hot at each token that predicts, and 0 at a window's last.
    let mut want = vec![0f64; 256];
    for unit in &slice.units {
        let logits = network.logits(&batch(&[unit]), None).unwrap();
        let chances = candle_nn::ops::softmax_last_dim(&logits).unwrap().squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        let Unit::Window { tokens, .. } = unit else { panic!("no text") };
        for (chances, &next) in chances.iter().zip(&tokens[1..]) {
            for (k, (want, &p)) in want.iter_mut().zip(chances).enumerate() {
                let g = f64::from(p) - f64::from(u8::from(k == next as usize));
                *want += g * g / 100.0;
            }
        }
    }
    let gradient = named(&calibration, "lm_head").0.gradient.as_ref().unwrap();
    assert_eq!(gradient.rows(), 100);
    for (got, want) in gradient.diagonal().iter().zip(&want) {
        assert!((got - want).abs() <= 1e-4 * want + 1e-12, "{got} {want}");
    }
}

#[test]
fn only_layers_asked_for_are_kept_and_whoever_stops_gets_nothing() {
    let (model, network, slice) = sample(0..100, 50);
    let wanted = model.layers.iter().find(|l| l.name == "model.layers.1.self_attn.v_proj").unwrap().id;
    let options = Options { layers: Some(vec![wanted]), limit: 100, ..Options::default() };
    let calibration = run(&model, &network, &slice, &options);
    let [heard] = calibration.layers.as_slice() else { panic!("one layer") };
    assert_eq!((heard.layer, calibration.inputs.len(), heard.gradient.as_ref().unwrap().columns()), (wanted, 1, 160));
    assert!(!calibration.inputs[0].has_gram(), "160 columns are beyond a limit of 100");
    let mut shares = Vec::new();
    let stopped = calibrate(&network, &model, &slice, &options, &mut |share| {
        shares.push(share);
        shares.len() < 2
    });
    assert!(stopped.unwrap().is_none());
    assert!(shares.len() == 2 && shares[0] < shares[1] && shares[1] <= 1.0, "{shares:?}");
}

#[test]
fn what_is_no_number_names_the_layer_that_hears_it() {
    let (model, mut network, slice) = sample(0..100, 50);
    let broken = model.layers.iter().find(|l| l.name == "model.layers.1.mlp.up_proj").unwrap();
    let mut entries = vec![0.0; 432 * 160];
    entries[7 * 160] = f32::NAN;
    let parts = crate::treat::Parts { factors: None, entries: crate::model::Matrix::new(432, 160, entries) };
    network.swap(broken.id, &parts).unwrap();
    let error = calibrate(&network, &model, &slice, &Options::default(), &mut |_| true).unwrap_err().to_string();
    for part in ["bytelm: layer model.layers.1.mlp.down_proj: its input", "in column 7", "eval.safetensors[0..100]"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn windows_of_one_length_run_together_and_images_a_batch_at_a_time() {
    let window = |n: usize| Unit::Window { tokens: vec![0; n], bytes: n - 1 };
    let units = [window(400), window(400), window(400), window(9), Unit::Images { pixels: vec![], labels: vec![0; 3] }];
    let sizes: Vec<usize> = batches(&units.iter().collect::<Vec<_>>()).iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 1, 1, 1]);
}
