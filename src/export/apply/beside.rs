//! The other files of the checkpoint's folder: copied as they are, those that name tensors rewritten.

use super::error::{reading, writing};
use super::layout::Layout;
use super::{Apply, ApplyError, Form, PARTIAL, factored};
use crate::model::Layer;
use crate::source::{config, regular};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const INDEX: &str = ".safetensors.index.json";
/// Folders inside folders that are followed.
const DEPTH: usize = 6;
/// Files of other frameworks above this size are the weights that were compressed, once more.
const SMALL: u64 = 1 << 20;
const WEIGHTS: [&str; 5] = ["bin", "pt", "pth", "ckpt", "ot"];
/// Files that hold nothing but weights or a whole network, however small.
const NETWORKS: [&str; 8] = ["h5", "msgpack", "onnx", "onnx_data", "gguf", "tflite", "mlmodel", "mlpackage"];
/// Folders in which the hub's repositories keep the same weights for another runtime.
const OTHERS: [&str; 5] = ["onnx", "openvino", "coreml", "tflite", "gguf"];
/// A configuration or an index longer than this is none.
const LONGEST: u64 = 128 << 20;

/// Writes a file beside and renames it.
fn whole(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), ApplyError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    write(&partial)
        .and_then(|()| fs::rename(&partial, path))
        .inspect_err(|_| drop(fs::remove_file(&partial)))
        .map_err(writing(path))
}

impl Apply<'_> {
    /// Copies and rewrites; names of what was left out.
    pub(super) fn companions(&self, layout: &Layout) -> Result<Vec<String>, ApplyError> {
        let folder = self.folder();
        let mut left_out = Vec::new();
        if self.is_folder() {
            self.copy_folder(&folder, self.out, DEPTH, &mut left_out)?;
        } else {
            // A single file brings its configuration along, nothing else that happens to lie beside it.
            let config = folder.join(CONFIG);
            if config.is_file() {
                copy(&config, &self.out.join(CONFIG))?;
            }
        }
        let ranks = self.ranks();
        if !ranks.is_empty() {
            self.config(&folder.join(CONFIG), &ranks)?;
            self.index(&folder, layout)?;
        }
        Ok(left_out)
    }

    /// The folder of the checkpoint; shards may lie in folders below.
    fn folder(&self) -> PathBuf {
        let path = &self.model.path;
        if path.is_dir() { path.clone() } else { path.parent().unwrap_or(Path::new("")).to_owned() }
    }

    /// Refuses ranks that could not be noted, before anything is written.
    pub(super) fn check_config(&self) -> Result<(), ApplyError> {
        if self.ranks().is_empty() {
            return Ok(());
        }
        let path = self.folder().join(CONFIG);
        let text = config_text(&path)?;
        let read = config::parse(text.as_bytes())
            .and_then(|c| c.is_object().then_some(c).ok_or_else(|| "is no object".to_owned()));
        let unfit = |why: String| ApplyError::Config { path: path.clone(), why };
        let read = read.map_err(unfit)?;
        // Replacing needs writing all of it anew, and NaN or infinities would change.
        if read.get("rank_dict").is_some() && serde_json::from_str::<Value>(&text).is_err() {
            return Err(unfit("holds NaN or infinity beside a rank_dict that would have to be replaced".to_owned()));
        }
        Ok(())
    }

    /// Whether the checkpoint is a folder, not a file in one.
    pub(super) fn is_folder(&self) -> bool {
        self.model.path.is_dir() || self.model.path.extension().is_some_and(|e| e == "json")
    }

    /// Layers stored as factors, with their ranks.
    pub(super) fn ranks(&self) -> Vec<(&Layer, usize)> {
        let own = self.model.layers.iter().filter(|l| l.tied_to.is_none());
        own.map(|l| (l, self.plan.treatment(l.id)))
            .filter(|(_, t)| self.form == Form::Factored && factored::is_factored(*t))
            .map(|(l, t)| (l, factored::rank(l, t)))
            .collect()
    }

    fn copy_folder(&self, from: &Path, to: &Path, depth: usize, left_out: &mut Vec<String>) -> Result<(), ApplyError> {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(from).map_err(reading(from))?.flatten().map(|e| e.path()).collect();
        entries.sort();
        let out = self.out.canonicalize().ok();
        for path in entries {
            let Some(name) = path.file_name() else { continue };
            let shown = name.to_string_lossy();
            if path.is_dir() {
                let hidden = shown.starts_with('.');
                let inside = out.as_ref().is_some_and(|o| path.canonicalize().is_ok_and(|p| o.starts_with(p)));
                if hidden || inside {
                    continue;
                }
                let runtime = depth == DEPTH && OTHERS.contains(&&*shown);
                if depth == 0 || runtime || path.is_symlink() || holds_a_model(&path) {
                    left_out.push(format!("{shown}/"));
                } else {
                    fs::create_dir_all(to.join(name)).map_err(writing(&to.join(name)))?;
                    self.copy_folder(&path, &to.join(name), depth - 1, left_out)?;
                }
            } else if path.is_file() && !self.model.files.iter().any(|f| f.path == path) {
                if other_weights(&path, depth == DEPTH) {
                    left_out.push(shown.into_owned());
                } else {
                    copy(&path, &to.join(name))?;
                }
            }
        }
        Ok(())
    }

    /// The configuration with `rank_dict` at its end, every other byte as it was.
    fn config(&self, from: &Path, ranks: &[(&Layer, usize)]) -> Result<(), ApplyError> {
        let text = config_text(from)?;
        let ranks: Map<String, Value> = ranks.iter().map(|(l, r)| (l.stored().to_owned(), json!(r))).collect();
        let text = with_ranks(&text, &ranks);
        whole(&self.out.join(CONFIG), |partial| fs::write(partial, text))
    }

    /// The index with the new names and sizes.
    fn index(&self, folder: &Path, layout: &Layout) -> Result<(), ApplyError> {
        let entries = fs::read_dir(folder).map_err(reading(folder))?.flatten();
        let found = entries.map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with(INDEX));
        for path in found.filter(|_| self.is_folder()) {
            let text = regular::text(&path, LONGEST).map_err(reading(&path))?;
            let Ok(mut index) = serde_json::from_str::<Value>(&text) else { continue };
            let Some(map) = index.get_mut("weight_map").and_then(Value::as_object_mut) else { continue };
            let mut new = Map::new();
            for (tensor, file) in std::mem::take(map) {
                let layer = self
                    .ranks()
                    .into_iter()
                    .map(|(l, _)| l)
                    .find(|l| self.model.tensors.get(l.tensor).is_some_and(|t| t.name == tensor));
                match layer {
                    Some(layer) => {
                        let parts = factored::tensors(layer, self.plan.treatment(layer.id));
                        new.extend(parts.into_iter().map(|(name, _)| (name, file.clone())));
                    }
                    None => drop(new.insert(tensor, file)),
                }
            }
            *map = new;
            let size_now: u64 = layout.files.iter().map(|f| f.data).sum();
            if let Some(metadata) = index.get_mut("metadata").and_then(Value::as_object_mut) {
                if let Some(size) = metadata.get_mut("total_size") {
                    // Written as a number of either kind by others: it stays of that kind.
                    *size = if size.is_f64() { json!(size_now as f64) } else { json!(size_now) };
                }
                if let Some(count) = metadata.get_mut("total_parameters") {
                    let elements = |shape: &Vec<usize>| shape.iter().product::<usize>() as u64;
                    *count = json!(layout.tensors.iter().map(|(_, _, s)| elements(s)).sum::<u64>());
                }
            }
            let name = path.file_name().unwrap_or_default();
            let text = serde_json::to_string_pretty(&index).unwrap_or_default() + "\n";
            whole(&self.out.join(name), |partial| fs::write(partial, text))?;
        }
        Ok(())
    }
}

/// Adds `rank_dict` to the text of a configuration, or puts it in the place of one that is there.
fn with_ranks(text: &str, ranks: &Map<String, Value>) -> String {
    let ranks = Value::Object(ranks.clone());
    // Refused before where it is no object.
    let read = config::parse(text.as_bytes()).ok().and_then(|c| c.as_object().cloned());
    let (end, empty) = match &read {
        Some(object) if !object.contains_key("rank_dict") => (text.trim_end().strip_suffix('}'), object.is_empty()),
        _ => (None, false),
    };
    let Some(start) = end else {
        let mut object = read.unwrap_or_default();
        object.insert("rank_dict".to_owned(), ranks);
        return serde_json::to_string_pretty(&object).unwrap_or_default() + "\n";
    };
    let pretty = serde_json::to_string_pretty(&ranks).unwrap_or_default().replace('\n', "\n  ");
    let comma = if empty { "" } else { "," };
    format!("{}{comma}\n  \"rank_dict\": {pretty}\n}}\n", start.trim_end())
}

/// Weights once more, for another framework or under another name; data that lies beside a model is none. Folders
/// inside hold parts of their own, such as a pooling layer.
fn other_weights(path: &Path, top: bool) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if name.starts_with("eval.") || name.starts_with("calibration") {
        return false;
    }
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    match ending.as_str() {
        "safetensors" => top,
        "json" => name.ends_with(".bin.index.json"),
        other if NETWORKS.contains(&other) => true,
        other => WEIGHTS.contains(&other) && path.metadata().is_ok_and(|m| m.len() > SMALL),
    }
}

/// Whether a folder inside the checkpoint's is a checkpoint of its own, such as an earlier result.
fn holds_a_model(folder: &Path) -> bool {
    let config = config::read(&folder.join(CONFIG)).ok();
    let whole = config.is_some_and(|c| c.get("model_type").is_some() || c.get("architectures").is_some());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
    names.any(|n| n == super::MARK || whole && n.ends_with(".safetensors"))
}

/// The text of a configuration; that of an empty one where there is none.
fn config_text(path: &Path) -> Result<String, ApplyError> {
    if path.symlink_metadata().is_err() {
        return Ok("{}".to_owned());
    }
    regular::text(path, LONGEST).map_err(|e| ApplyError::Config { path: path.to_owned(), why: e.to_string() })
}

fn copy(from: &Path, to: &Path) -> Result<(), ApplyError> {
    regular::open(from).map_err(reading(from))?;
    whole(to, |partial| fs::copy(from, partial).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_go_to_the_end_and_all_else_keeps_its_bytes() {
        let ranks: Map<String, Value> = [("fc".to_owned(), json!(4))].into_iter().collect();
        let text = "{\n  \"eps\": 1e-05,\n  \"n\": [1, 2]\n}\n";
        let want = "{\n  \"eps\": 1e-05,\n  \"n\": [1, 2],\n  \"rank_dict\": {\n    \"fc\": 4\n  }\n}\n";
        assert_eq!(with_ranks(text, &ranks), want);
        assert_eq!(with_ranks("{}", &ranks), "{\n  \"rank_dict\": {\n    \"fc\": 4\n  }\n}\n");
        let again: Value = serde_json::from_str(&with_ranks("{\"rank_dict\": {\"x\": 1}, \"a\": 2}", &ranks)).unwrap();
        assert_eq!(again, json!({"rank_dict": {"fc": 4}, "a": 2}));
        let python = "\u{feff}{\"limit\": [0.0, Infinity], \"x\": NaN}";
        let want = "\u{feff}{\"limit\": [0.0, Infinity], \"x\": NaN,\n  \"rank_dict\": {\n    \"fc\": 4\n  }\n}\n";
        assert_eq!(with_ranks(python, &ranks), want);
    }
}
