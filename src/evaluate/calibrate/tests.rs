use super::*;
use crate::model::Model;
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
