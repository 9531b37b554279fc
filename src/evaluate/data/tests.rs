use super::*;
use crate::evaluate::{Slice, Unit};
use safetensors::Dtype;
use serde_json::json;
use std::collections::HashMap;
use std::fs;

fn sample_model(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(name);
    crate::source::open(&path).unwrap().0
}

/// The model that takes images of two by three pixels.
fn small() -> Model {
    let input = json!({"shape": [1, 2, 3], "scale": 0.5});
    let config = json!({"model_type": "sequential", "input": input, "classes": 4, "layers": []});
    Model { name: "small".to_owned(), config: Some(config), ..Model::default() }
}

fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views: HashMap<&str, TensorView> =
        tensors.iter().map(|(n, d, s, b)| (*n, TensorView::new(*d, s.to_vec(), b).unwrap())).collect();
    safetensors::serialize(views, None).unwrap()
}

/// The error of reading this file for this model.
fn told(bytes: &[u8], model: &Model) -> String {
    read(Path::new("some.safetensors"), bytes, model).unwrap_err().to_string()
}

fn images(shape: &[usize], labels: Vec<u8>) -> Vec<u8> {
    let pixels = (0..shape.iter().product::<usize>()).map(|i| i as u8).collect();
    let count = labels.len();
    file(&[("images", Dtype::U8, shape, pixels), ("labels", Dtype::U8, &[count], labels)])
}

fn windows(slice: &Slice) -> Vec<(usize, usize)> {
    slice
        .units
        .iter()
        .map(|u| match u {
            Unit::Window { tokens, bytes } => (tokens.len(), *bytes),
            Unit::Images { .. } => panic!("images in text"),
        })
        .collect()
}

#[test]
fn the_bundled_sample_has_the_data_that_lie_beside_it() {
    let (bundled, _) = crate::source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap();
    let (inside, beside) =
        (Data::beside(&bundled).unwrap().unwrap(), Data::beside(&sample_model("bytelm")).unwrap().unwrap());
    assert_eq!((inside.len(), inside.unit()), (65536, "bytes"));
    let slice = inside.slice(&bundled, 0..4096, None).unwrap();
    assert_eq!(slice, beside.slice(&bundled, 0..4096, None).unwrap());
    assert_eq!((slice.name.as_str(), slice.context), ("eval.safetensors[0..4096]", Some(128)));
    assert_eq!(windows(&slice), [(128, 127); 32]);
}

#[test]
fn windows_do_not_overlap_and_a_last_one_counts_if_it_predicts() {
    let model = sample_model("bytelm");
    let data = Data::beside(&model).unwrap().unwrap();
    let sizes = |range, context| windows(&data.slice(&model, range, context).unwrap());
    assert_eq!(sizes(0..258, None), [(128, 127), (128, 127), (2, 1)]);
    assert_eq!(sizes(0..257, None), [(128, 127), (128, 127)]);
    assert_eq!(sizes(10..20, Some(4)), [(4, 3), (4, 3), (2, 1)]);
    let slice = data.slice(&model, 10..20, Some(4)).unwrap();
    let Kind::Text(text) = &data.kind else { panic!("no text") };
    let tokens: Vec<u32> = slice
        .units
        .iter()
        .flat_map(|u| if let Unit::Window { tokens, .. } = u { tokens.clone() } else { vec![] })
        .collect();
    assert_eq!(tokens, text[10..20].iter().map(|&b| u32::from(b)).collect::<Vec<_>>());
    for (range, context, want) in [
        (0..1, None, "0..1 is 1 token: nothing is predicted"),
        (0..9, Some(1), "windows of 1 predict nothing"),
        (0..9, Some(129), "windows of 129 tokens are longer than bytelm takes; at most 128"),
        (0..65537, None, "has 65536 bytes, and the slice 0..65537 is not within; ask for a part of 0..65536"),
    ] {
        let error = data.slice(&model, range, context).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn ranges_are_read_as_they_are_written() {
    let read = |text: &str| text.parse::<Wanted>();
    assert_eq!(read("4096"), Ok(Wanted { from: 0, to: Some(4096) }));
    assert_eq!(read("10..2_000"), Ok(Wanted { from: 10, to: Some(2000) }));
    assert_eq!((read("10.."), read("..")), (Ok(Wanted { from: 10, to: None }), Ok(Wanted::ALL)));
    for wrong in ["", "x", "-1", "5..5", "9..3", "0", "1..2..3", "1.5"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let model = sample_model("bytelm");
    let data = Data::beside(&model).unwrap().unwrap();
    assert_eq!(data.range(Wanted { from: 65000, to: None }).unwrap(), 65000..65536);
    let error = data.range(Wanted { from: 65536, to: None }).unwrap_err().to_string();
    assert!(error.contains("has 65536 bytes"), "{error}");
}

#[test]
fn slices_of_text_end_on_whole_characters_except_for_models_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.txt");
    fs::write(&path, "a🦀b🦀").unwrap();
    for (at, want) in [(0, 0), (1, 1), (2, 1), (4, 1), (5, 5), (6, 6), (7, 6), (10, 10)] {
        assert_eq!(slice::whole("a🦀b🦀".as_bytes(), at), want, "{at}");
    }
    // Bytes that are no UTF-8 are left where they are.
    assert_eq!(slice::whole(&[0x80; 9], 5), 5);
    let model = sample_model("bytelm");
    let slice = Data::open(&path, &model).unwrap().slice(&model, 2..7, None).unwrap();
    assert_eq!((slice.name.as_str(), windows(&slice)), ("some.txt[2..7]", vec![(5, 4)]));
}

#[test]
fn images_come_scaled_in_batches_with_their_labels() {
    let model = small();
    let labels: Vec<u8> = (0..70).map(|i| i % 4).collect();
    let data = read(Path::new("some.safetensors"), &images(&[70, 2, 3], labels), &model).unwrap();
    assert_eq!((data.len(), data.unit()), (70, "examples"));
    let slice = data.slice(&model, 1..70, None).unwrap();
    assert_eq!((slice.name.as_str(), slice.len()), ("some.safetensors[1..70]", 69));
    let Unit::Images { pixels, labels } = &slice.units[0] else { panic!("no images") };
    assert_eq!((pixels.len(), labels.len(), &labels[..4]), (64 * 6, 64, &[1, 2, 3, 0][..]));
    assert_eq!(pixels[..6], [3.0, 3.5, 4.0, 4.5, 5.0, 5.5]);
    assert_eq!(slice.units[1].len(), 5);
}

#[test]
fn the_samples_images_are_read_whole() {
    for (name, count) in [("digits_mlp", 360), ("fashion_mlp", 1000), ("fashion_cnn", 500)] {
        let model = sample_model(name);
        let data = Data::beside(&model).unwrap().unwrap();
        assert_eq!(data.slice(&model, 0..data.len(), None).unwrap().len(), count, "{name}");
    }
}

#[test]
fn labels_may_be_of_eight_bytes_and_images_have_a_channel() {
    let labels: Vec<u8> = [3i64, 0].iter().flat_map(|l| l.to_le_bytes()).collect();
    let file = file(&[("images", Dtype::U8, &[2, 1, 2, 3], vec![7; 12]), ("labels", Dtype::I64, &[2], labels)]);
    let Kind::Images(read) = read(Path::new("x.safetensors"), &file, &small()).unwrap().kind else {
        panic!("no images")
    };
    assert_eq!((read.labels.as_slice(), read.size, read.scale), (&[3, 0][..], 6, 0.5));
}

#[test]
fn damaged_images_name_the_tensor_and_the_remedy() {
    let model = small();
    let whole = images(&[2, 2, 3], vec![0, 1]);
    let wide = |labels: [i64; 2]| {
        let labels = labels.iter().flat_map(|l| l.to_le_bytes()).collect();
        file(&[("images", Dtype::U8, &[2, 2, 3], vec![7; 12]), ("labels", Dtype::I64, &[2], labels)])
    };
    let float = file(&[("images", Dtype::F32, &[1, 2, 3], vec![0; 24]), ("labels", Dtype::U8, &[1], vec![0])]);
    let fraction = file(&[("images", Dtype::U8, &[1, 2, 3], vec![0; 6]), ("labels", Dtype::F32, &[1], vec![0; 4])]);
    for (bytes, want) in [
        (images(&[2, 2, 3], vec![0, 4]), "tensor labels: number 1 is class 4, and the model has 4 classes, from 0; "),
        (wide([0, -1]), "tensor labels: number 1 is class -1, "),
        (images(&[2, 2, 3], vec![0]), "tensor labels: has shape [1] for 2 images; save one label for each image"),
        (images(&[2, 3, 2], vec![0, 1]), "an example is [3, 2], the input in config.json [1, 2, 3]; save "),
        (images(&[2, 2, 3, 1], vec![0, 1]), "an example is [2, 3, 1], the input in config.json [1, 2, 3]; save "),
        (images(&[0, 2, 3], vec![]), "tensor images: holds no example"),
        (float, "tensor images: is F32, not U8; save pixels as U8"),
        (fraction, "tensor labels: is F32, neither U8 nor I64"),
        (
            file(&[("images", Dtype::U8, &[1, 2, 3], vec![0; 6])]),
            "has no tensor `labels`, which small needs; it holds images",
        ),
        (file(&[("text", Dtype::U8, &[4], vec![65; 4])]), "has no tensor `images`, which small needs; it holds text"),
        (whole[..whole.len() - 3].to_vec(), "is truncated: 3 of "),
        (whole[..5].to_vec(), "is only 5 bytes long: not a safetensors file"),
        (Vec::new(), "is empty"),
    ] {
        let error = told(&bytes, &model);
        assert!(error.starts_with("some.safetensors: ") && error.contains(want), "{error}");
    }
    let told = Data::open(Path::new("/nowhere/x.safetensors"), &model).unwrap_err().to_string();
    assert!(told.contains("cannot be read; check that it exists"), "{told}");
}

#[test]
fn damaged_text_names_the_tensor_and_the_remedy() {
    let model = sample_model("bytelm");
    for (bytes, want) in [
        (file(&[("text", Dtype::I64, &[1], vec![0; 8])]), "tensor text: is I64 of shape [1], not a row of U8 bytes"),
        (file(&[("text", Dtype::U8, &[2, 2], vec![0; 4])]), "tensor text: is U8 of shape [2, 2]"),
        (file(&[("text", Dtype::U8, &[0], vec![])]), "holds no text"),
        (images(&[1, 2, 3], vec![0]), "has no tensor `text`, which bytelm needs; it holds images, labels"),
    ] {
        let error = told(&bytes, &model);
        assert!(error.contains(want), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.csv");
    fs::write(&path, "1,2").unwrap();
    assert!(Data::open(&path, &model).unwrap_err().to_string().contains("ends neither in .txt nor in .safetensors"));
    let text = folder.path().join("some.txt");
    fs::write(&text, "abc").unwrap();
    assert!(Data::open(&text, &small()).unwrap_err().to_string().contains("is text, and small takes images"));
}

#[test]
fn long_contexts_are_shortened_unless_asked_for() {
    let model = |config| Model { name: "m".to_owned(), config: Some(config), ..Model::default() };
    let bytes = |more: serde_json::Value| {
        let mut config = json!({"tokenizer": "bytes", "vocab_size": 256});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        model(config)
    };
    let text = file(&[("text", Dtype::U8, &[5000], vec![65; 5000])]);
    let context = |model: &Model, asked| {
        let data = read(Path::new("x.safetensors"), &text, model).unwrap();
        data.slice(model, 0..5000, asked).unwrap().context.unwrap()
    };
    assert_eq!(context(&bytes(json!({"max_position_embeddings": 131_072})), None), 1024);
    assert_eq!(context(&bytes(json!({"max_position_embeddings": 131_072})), Some(4096)), 4096);
    assert_eq!(context(&bytes(json!({"n_positions": 512})), None), 512);
    assert_eq!(context(&bytes(json!({})), None), 1024);
}
