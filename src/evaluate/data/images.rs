//! Labelled images of a file, checked against what the model takes.

use super::{DataError, tensor};
use crate::model::Model;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::Path;

/// Labelled images.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Pixels as stored, example after example, each in the model's order of axes.
    pub pixels: Vec<u8>,
    /// Pixels of one example.
    pub size: usize,
    /// By what pixels are multiplied on the way into the model: `scale` of the config's input.
    pub scale: f32,
    /// The class of each example.
    pub labels: Vec<u32>,
}

/// Reads `images` and `labels`.
pub fn read(path: &Path, file: &SafeTensors, model: &Model) -> Result<Images, DataError> {
    let (shape, scale) = input(model)?;
    let images = tensor(path, file, "images", model)?;
    if images.dtype() != Dtype::U8 {
        let what = format!("tensor images: is {}, not U8", images.dtype());
        return Err(DataError::new(path, what, "save pixels as U8; the `scale` in config.json brings them into range"));
    }
    let [count, example @ ..] = images.shape() else {
        return Err(DataError::new(path, "tensor images: is a single number", "save examples × height × width"));
    };
    if *count == 0 {
        return Err(DataError::new(path, "tensor images: holds no example", "save at least one"));
    }
    if !fits(example, &shape) {
        let what = format!("tensor images: an example is {example:?}, the input in config.json {shape:?}");
        let remedy = "save examples × height × width, or × channels × height × width, as the model takes them";
        return Err(DataError::new(path, what, remedy));
    }
    let labels = labels(path, &tensor(path, file, "labels", model)?, *count, classes(model))?;
    Ok(Images { pixels: images.data().to_vec(), size: shape.iter().product(), scale, labels })
}

/// Shape of one example, and by what pixels are multiplied.
fn input(model: &Model) -> Result<(Vec<usize>, f32), DataError> {
    let at = |pointer: &str| model.config.as_ref().and_then(|c| c.pointer(pointer));
    let shape = at("/input/shape").and_then(Value::as_array).map(|s| s.iter().map(Value::as_u64).collect());
    let shape: Option<Vec<u64>> = shape.flatten();
    let scale = at("/input/scale").map_or(Some(1.0), Value::as_f64);
    match (shape, scale) {
        (Some(shape), Some(scale)) if !shape.is_empty() && !shape.contains(&0) => {
            Ok((shape.into_iter().map(|e| e as usize).collect(), scale as f32))
        }
        _ => {
            let what = "its config.json does not say the shape and scale of its input";
            let remedy = "add \"input\": {\"shape\": [channels, height, width], \"scale\": 0.00392156862745098}";
            Err(DataError::new(&model.path, what, remedy))
        }
    }
}

/// Whether examples of this shape are what the input takes: the same axes, without that of a single channel, or any
/// with as many pixels where the input is flat.
fn fits(example: &[usize], input: &[usize]) -> bool {
    match input {
        [pixels] => example.iter().product::<usize>() == *pixels,
        [1, rest @ ..] if example.len() == rest.len() => example == rest,
        _ => example == input,
    }
}

fn classes(model: &Model) -> Option<u64> {
    model.config.as_ref()?.get("classes")?.as_u64()
}

fn labels(path: &Path, view: &TensorView, count: usize, classes: Option<u64>) -> Result<Vec<u32>, DataError> {
    let bytes = view.data();
    let values: Vec<i64> = match view.dtype() {
        Dtype::U8 => bytes.iter().map(|&b| i64::from(b)).collect(),
        Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        other => {
            let what = format!("tensor labels: is {other}, neither U8 nor I64");
            return Err(DataError::new(path, what, "save labels as whole numbers from 0"));
        }
    };
    if view.shape() != [count] {
        let what = format!("tensor labels: has shape {:?} for {count} images", view.shape());
        return Err(DataError::new(path, what, "save one label for each image"));
    }
    let last = classes.unwrap_or(u64::from(u32::MAX));
    let wrong = |&(_, &label): &(usize, &i64)| u64::try_from(label).map_or(true, |l| l >= last);
    if let Some((at, label)) = values.iter().enumerate().find(wrong) {
        let what = format!("tensor labels: number {at} is class {label}, and the model has {last} classes, from 0");
        return Err(DataError::new(path, what, "take the data that the model was trained for, or mend the labels"));
    }
    Ok(values.into_iter().map(|label| label as u32).collect())
}
