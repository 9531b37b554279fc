//! Good files, and files of another model.

use super::*;
use crate::model::tests::model_of;
use crate::model::{DType, Matrix};
use safetensors::tensor::TensorView;
use std::collections::HashMap;

fn file(dir: &tempfile::TempDir, tokens: &str, tensors: &[(&str, &[usize], &[f32])]) -> PathBuf {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, data)| {
            ((*name).to_owned(), shape.to_vec(), data.iter().flat_map(|x| x.to_le_bytes()).collect())
        })
        .collect();
    let views: Vec<(String, TensorView)> = bytes
        .iter()
        .map(|(name, shape, data)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap()))
        .collect();
    let words = HashMap::from([("tokens".to_owned(), tokens.to_owned()), ("format".to_owned(), FORMAT.to_owned())]);
    let path = dir.path().join("calibration.safetensors");
    std::fs::write(&path, safetensors::serialize(views, Some(words)).unwrap()).unwrap();
    path
}

fn model() -> Model {
    let tensors = [("a.weight", &[3, 2][..], DType::F32), ("b.weight", &[2, 3][..], DType::F32)];
    model_of(&tensors, serde_json::json!({}))
}

const GRAM: (&str, &[usize], &[f32]) = ("a.gram", &[2, 2], &[4.0, 1.0, 1.0, 9.0]);

#[test]
fn layers_get_what_the_file_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        &dir,
        "12",
        &[
            GRAM,
            ("a.abs_mean", &[2], &[1.0, 2.0]),
            ("a.mean", &[2], &[-1.0, 2.0]),
            ("a.gradient", &[3], &[0.0, 1.0, 2.0]),
        ],
    );
    let (mut model, calibration) = (model(), open(&path).unwrap());
    let attached = attach(&mut model, &calibration).unwrap();
    assert_eq!(attached, Attached { layers: 1, missing: vec!["b".to_owned()] });
    let inputs = model.layers.iter().find(|l| l.name == "a").unwrap().inputs.clone().unwrap();
    assert_eq!((inputs.tokens, inputs.diagonal(), inputs.has_gram()), (12, &[4.0, 9.0][..], true));
    assert_eq!(inputs.gram().unwrap(), Matrix::new(2, 2, GRAM.2.to_vec()));
    assert_eq!(inputs.mean.as_deref(), Some(&[-1.0, 2.0][..]));
    assert_eq!(inputs.gradient.as_deref(), Some(&[0.0, 1.0, 2.0][..]));
    let path = file(&dir, "12", &[("b.diagonal", &[3], &[1.0, 0.0, 2.0])]);
    attach(&mut model, &open(&path).unwrap()).unwrap();
    assert!(model.layers.iter().find(|l| l.name == "a").unwrap().inputs.is_none(), "another file takes its place");
    let inputs = model.layers.iter().find(|l| l.name == "b").unwrap().inputs.clone().unwrap();
    assert_eq!((inputs.diagonal(), inputs.has_gram()), (&[1.0, 0.0, 2.0][..], false));
}

#[test]
fn what_does_not_fit_is_told_with_file_tensor_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |tensors: &[(&str, &[usize], &[f32])], part: &str, remedy: &str| {
        let path = file(&dir, "3", tensors);
        let mut model = model();
        let told = open(&path).and_then(|c| attach(&mut model, &c)).unwrap_err().to_string();
        assert!(told.contains(&path.display().to_string()) && told.contains(part) && told.contains(remedy), "{told}");
        assert!(model.layers.iter().all(|l| l.inputs.is_none()));
    };
    refused(&[("a.gram", &[3, 3], &[0.0; 9])], "a.gram", "another model");
    refused(&[("other.diagonal", &[3], &[0.0; 3])], "other.diagonal", "another model");
    refused(&[GRAM, ("a.gradient", &[2], &[0.0; 2])], "a.gradient", "another model");
    refused(&[("a.gram", &[2, 2], &[1.0, 0.0, 0.0, f32::NAN])], "a.gram", "calibrate again");
    refused(&[("a.gram", &[2, 2], &[1.0, 0.0, 0.0, -1.0])], "a.gram", "calibrate again");
    refused(&[("b.diagonal", &[3], &[1.0, -0.5, 0.0])], "b.diagonal", "calibrate again");
    refused(&[("a.mean", &[2], &[1.0, 2.0])], "a.diagonal", "calibrate again");
    refused(&[("a.weight", &[2], &[1.0, 2.0])], "a.weight", "calibrate again");
    let told = open(&file(&dir, "0", &[GRAM])).unwrap_err().to_string();
    assert!(told.contains("how many tokens"), "{told}");
    let path = file(&dir, "3", &[GRAM]);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let told = open(&path).unwrap_err().to_string();
    assert!(told.contains("is truncated: 3 of") && told.contains("calibrate again"), "{told}");
    assert!(open(&dir.path().join("none")).unwrap_err().to_string().contains("cannot be opened"));
}
