//! Safetensors: single files and sharded folders with an index.

use super::locate::Found;
use super::mapped::Mapped;
use super::{OpenError, Weights, config, header, regular};
use crate::model::{File, Model, Tensor};
use safetensors::tensor::SafeTensorError;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

const AGAIN: &str = "download or save it again";
/// An index longer than this is none.
const MOST: u64 = 128 << 20;

/// Opens the files that were located.
pub fn open(found: &Found) -> Result<(Model, Weights), OpenError> {
    let mut model = Model {
        name: found.name.clone(),
        path: found.path.clone(),
        format: "safetensors",
        notes: found.notes.clone(),
        ..Model::default()
    };
    let index = found.index.as_deref().map(read_index).transpose()?;
    let paths = index.as_ref().map_or_else(|| found.files.clone(), |i| i.files.clone());
    let mut mapped = Vec::new();
    for path in &paths {
        let bytes = Mapped::open(path).map_err(|e| missing(path, found, e))?;
        read_header(&mut model, path, bytes.all(), index.as_ref())?;
        // The header was parsed and is not needed again; of very many tensors it is tens of megabytes.
        let header = bytes.all().first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
        bytes.release(0..usize::try_from(header).unwrap_or(0));
        mapped.push(bytes);
    }
    if let Some(index) = &index {
        check_index(&mut model, index)?;
        left_out(&mut model, index);
    }
    if let Some(path) = &found.config {
        read_config(&mut model, path);
    }
    Ok(super::gains::opened(model, Weights::new(mapped)))
}

/// Opens a checkpoint whose bytes are part of the program.
pub fn open_embedded(name: &str, bytes: &'static [u8], config: &str) -> Result<(Model, Weights), OpenError> {
    let path = super::bundled(name);
    let mut model = Model { name: name.to_owned(), path: path.clone(), format: "safetensors", ..Model::default() };
    read_header(&mut model, &path, bytes, None)?;
    if let Some(file) = model.files.first_mut() {
        "model.safetensors".clone_into(&mut file.name);
    }
    model.config = serde_json::from_str(config).ok();
    Ok(super::gains::opened(model, Weights::new(vec![Mapped::embedded(bytes)])))
}

fn missing(path: &Path, found: &Found, error: std::io::Error) -> OpenError {
    match (error.kind(), &found.index) {
        (std::io::ErrorKind::NotFound, Some(index)) => {
            let what = format!("names a shard that is not there: {}", file_name(path));
            OpenError::caused(index, what, &found.complete(), error)
        }
        (std::io::ErrorKind::NotFound, None) if path.is_symlink() => {
            let what = "is a link to a file that is not there: the download is not complete";
            OpenError::caused(path, what, &found.complete(), error)
        }
        _ => OpenError::caused(path, "cannot be opened", regular::remedy(&error), error),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

struct Index {
    path: PathBuf,
    files: Vec<PathBuf>,
    /// Tensor → file, relative to the folder.
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// A file's name within the checkpoint.
    fn name(&self, file: &Path) -> String {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        file.strip_prefix(folder).map_or_else(|_| file_name(file), |p| p.to_string_lossy().into_owned())
    }
}

fn read_index(path: &Path) -> Result<Index, OpenError> {
    let text =
        regular::read(path, MOST).map_err(|e| OpenError::caused(path, "cannot be read", regular::remedy(&e), e))?;
    let json: Value = serde_json::from_slice(&text).map_err(|e| OpenError::caused(path, "is not JSON", AGAIN, e))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| OpenError::broken(path, "has no \"weight_map\" object", AGAIN))?;
    let mut weight_map = BTreeMap::new();
    for (tensor, file) in map {
        let file =
            file.as_str().ok_or_else(|| OpenError::broken(path, format!("{tensor}: its file is no text"), AGAIN))?;
        let inside = inside(file).ok_or_else(|| {
            let what = format!("{tensor}: points outside the folder, to {file}");
            OpenError::broken(path, what, "a shard lies in the folder of its index or below")
        })?;
        weight_map.insert(tensor.clone(), inside);
    }
    let names: BTreeSet<&String> = weight_map.values().collect();
    if names.is_empty() {
        return Err(OpenError::broken(path, "names no shard", AGAIN));
    }
    let files = names.into_iter().map(|n| path.with_file_name(n)).collect();
    Ok(Index { path: path.to_owned(), files, weight_map })
}

/// A path of an index without `.`; `None` where it leaves the folder.
fn inside(file: &str) -> Option<String> {
    let mut out: Vec<&str> = Vec::new();
    for part in Path::new(file).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => out.push(name.to_str()?),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!out.is_empty()).then(|| out.join("/"))
}

/// Every tensor of the index must be in its shard; one that no index names is kept, with a remark.
fn check_index(model: &mut Model, index: &Index) -> Result<(), OpenError> {
    let place: HashMap<&str, &str> =
        model.tensors.iter().map(|t| (t.name.as_str(), model.files[t.file].name.as_str())).collect();
    for (tensor, file) in &index.weight_map {
        match place.get(tensor.as_str()) {
            Some(at) if at == file => {}
            Some(at) => {
                let what = format!("{tensor}: the index says {file}, it is in {at}");
                return Err(OpenError::broken(&index.path, what, AGAIN));
            }
            None => {
                let what = format!("{tensor}: not in {file}, where the index says it is");
                return Err(OpenError::broken(&index.path, what, AGAIN));
            }
        }
    }
    let unnamed = place.keys().filter(|k| !index.weight_map.contains_key(**k)).count();
    if unnamed > 0 {
        model.notes.push(format!("{unnamed} tensors are in the shards and not in the index"));
    }
    Ok(())
}

/// Remarks on files of the folder that hold tensors and belong to no part of what was opened.
fn left_out(model: &mut Model, index: &Index) {
    let folder = index.path.parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let others: Vec<String> = super::locate::tensors(folder)
        .into_iter()
        .filter(|p| !index.files.iter().any(|f| f.file_name() == p.file_name()))
        .map(|p| file_name(&p))
        .collect();
    if !others.is_empty() && !model.notes.iter().any(|n| n.contains(&others[0])) {
        model.notes.push(format!("the index does not name {}: left out", super::locate::listed(&others)));
    }
}

fn read_config(model: &mut Model, path: &Path) {
    match config::read(path) {
        Ok(config) if config.is_object() => model.config = Some(config),
        Ok(_) => model.notes.push("config.json is no JSON object: ignored".to_owned()),
        Err(e) => model.notes.push(format!("config.json cannot be read ({e}): ignored")),
    }
}

/// Adds one file's tensors to the model.
fn read_header(model: &mut Model, path: &Path, bytes: &[u8], index: Option<&Index>) -> Result<(), OpenError> {
    let header = header::read(path, bytes, AGAIN)?;
    let file = model.files.len();
    let name = index.map_or_else(|| file_name(path), |i| i.name(path));
    model.files.push(File { path: path.to_owned(), name: name.clone(), bytes: bytes.len() as u64 });
    // The first file has nothing to compare with.
    let known: HashMap<&str, (usize, usize)> =
        model.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), (i, t.file))).collect();
    let mut fresh = Vec::with_capacity(header.tensors.len());
    let (mut replaced, mut twice) = (Vec::new(), Vec::new());
    for header::Entry { name: tensor, dtype, shape, range } in header.tensors {
        let this = Tensor { name: tensor, dtype, shape, file, range };
        let Some(&(at, other)) = known.get(this.name.as_str()) else {
            fresh.push(this);
            continue;
        };
        let (one, two) = (&model.files[other].name, &name);
        let Some(owner) = index.and_then(|i| i.weight_map.get(&this.name)) else {
            let what = format!("{}: also stored in {one}", this.name);
            return Err(OpenError::broken(path, what, "say in an index which of the two files holds it"));
        };
        twice.push(format!("{} is stored in {one} and in {two}: read from {owner}, as the index says", this.name));
        if owner == two {
            replaced.push((at, this));
        }
    }
    drop(known);
    replaced.into_iter().for_each(|(at, tensor)| model.tensors[at] = tensor);
    model.tensors.append(&mut fresh);
    let more = twice.len().saturating_sub(1);
    if let Some(first) = twice.into_iter().next() {
        model.notes.push(if more > 0 { format!("{first}; so are {more} others") } else { first });
    }
    for (key, value) in header.metadata {
        model.metadata.entry(key).or_insert(value);
    }
    Ok(())
}

/// Turns the crate's error into one that says what is wrong with this file and what to do.
pub(crate) fn explain(path: &Path, bytes: &[u8], error: SafeTensorError) -> OpenError {
    explain_with(path, bytes, error, AGAIN)
}

/// The same with what to do about it.
pub(super) fn explain_with(path: &Path, bytes: &[u8], error: SafeTensorError, again: &str) -> OpenError {
    let what = match &error {
        _ if bytes.is_empty() => "is empty".to_owned(),
        SafeTensorError::HeaderTooSmall => format!("is only {} bytes long: not a safetensors file", bytes.len()),
        SafeTensorError::HeaderTooLarge if looks_like_text(bytes) => "is text, not a safetensors file".to_owned(),
        SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength => {
            "its header is longer than the file: truncated, or not a safetensors file".to_owned()
        }
        SafeTensorError::MetadataIncompleteBuffer => return truncated(path, bytes, error, again),
        SafeTensorError::InvalidOffset(name) => format!("tensor {name}: its offsets overlap another's or leave a gap"),
        SafeTensorError::TensorInvalidInfo => "a tensor's shape and length contradict each other".to_owned(),
        SafeTensorError::ValidationOverflow => "a tensor's shape is larger than any file".to_owned(),
        _ => "its header is damaged, or it is not a safetensors file".to_owned(),
    };
    let remedy = if looks_like_pointer(bytes) { "it is a Git LFS pointer: run `git lfs pull`" } else { again };
    OpenError::caused(path, what, remedy, error)
}

fn looks_like_text(bytes: &[u8]) -> bool {
    bytes.iter().take(64).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
}

fn looks_like_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs")
}

/// Tells how many bytes are missing.
fn truncated(path: &Path, bytes: &[u8], error: SafeTensorError, again: &str) -> OpenError {
    let what = expected_length(bytes).map_or_else(
        || "its length contradicts its header".to_owned(),
        |expected| match expected.checked_sub(bytes.len() as u64) {
            Some(missing) => format!("is truncated: {missing} of {expected} bytes are missing"),
            None => format!("has {} bytes after its last tensor", bytes.len() as u64 - expected),
        },
    );
    OpenError::caused(path, what, again, error)
}

fn expected_length(bytes: &[u8]) -> Option<u64> {
    let header = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let text = bytes.get(8..8 + usize::try_from(header).ok()?)?;
    let json: Value = serde_json::from_slice(text).ok()?;
    let ends = json.as_object()?.values().filter_map(|t| t.pointer("/data_offsets/1")?.as_u64());
    ends.max()?.checked_add(8 + header)
}
