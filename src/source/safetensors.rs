//! Safetensors: single files and sharded folders with an index.

use super::locate::Found;
use super::mapped::Mapped;
use super::{OpenError, Weights};
use crate::model::{DType, File, Model, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, SafeTensorError};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

const AGAIN: &str = "download or save it again";

/// Opens the files that were located.
pub fn open(found: &Found) -> Result<(Model, Weights), OpenError> {
    let mut model =
        Model { name: found.name.clone(), path: found.path.clone(), format: "safetensors", ..Model::default() };
    let index = found.index.as_deref().map(read_index).transpose()?;
    let paths = index.as_ref().map_or_else(|| found.files.clone(), |i| i.files.clone());
    let mut mapped = Vec::new();
    for path in &paths {
        let bytes = Mapped::open(path).map_err(|e| missing(path, found.index.as_deref(), e))?;
        read_header(&mut model, path, bytes.all())?;
        mapped.push(bytes);
    }
    if let Some(index) = &index {
        check_index(&mut model, index)?;
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
    read_header(&mut model, &path, bytes)?;
    if let Some(file) = model.files.first_mut() {
        "model.safetensors".clone_into(&mut file.name);
    }
    model.config = serde_json::from_str(config).ok();
    Ok(super::gains::opened(model, Weights::new(vec![Mapped::Embedded(bytes)])))
}

fn missing(path: &Path, index: Option<&Path>, error: std::io::Error) -> OpenError {
    match (error.kind(), index) {
        (std::io::ErrorKind::NotFound, Some(index)) => {
            let what = format!("names a shard that is not there: {}", file_name(path));
            OpenError::caused(index, what, "download the missing shard into the same folder", error)
        }
        _ => OpenError::caused(path, "cannot be opened", "check that it exists and may be read", error),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

struct Index {
    path: PathBuf,
    files: Vec<PathBuf>,
    weight_map: BTreeMap<String, String>,
}

fn read_index(path: &Path) -> Result<Index, OpenError> {
    let text =
        std::fs::read(path).map_err(|e| OpenError::caused(path, "cannot be read", "check its permissions", e))?;
    let json: Value = serde_json::from_slice(&text).map_err(|e| OpenError::caused(path, "is not JSON", AGAIN, e))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| OpenError::broken(path, "has no \"weight_map\" object", AGAIN))?;
    let mut weight_map = BTreeMap::new();
    for (tensor, file) in map {
        let file =
            file.as_str().ok_or_else(|| OpenError::broken(path, format!("{tensor}: its file is no text"), AGAIN))?;
        if Path::new(file).components().count() != 1 || file == ".." {
            let what = format!("{tensor}: points outside the folder, to {file}");
            return Err(OpenError::broken(path, what, "a shard is named by its bare file name"));
        }
        weight_map.insert(tensor.clone(), file.to_owned());
    }
    let mut names: Vec<&String> = weight_map.values().collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(OpenError::broken(path, "names no shard", AGAIN));
    }
    let files = names.iter().map(|n| path.with_file_name(n)).collect();
    Ok(Index { path: path.to_owned(), files, weight_map })
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

fn read_config(model: &mut Model, path: &Path) {
    let read = std::fs::read(path).map_err(|e| e.to_string());
    match read.and_then(|text| serde_json::from_slice::<Value>(&text).map_err(|e| e.to_string())) {
        Ok(config) if config.is_object() => model.config = Some(config),
        Ok(_) => model.notes.push("config.json is no JSON object: ignored".to_owned()),
        Err(e) => model.notes.push(format!("config.json cannot be read ({e}): ignored")),
    }
}

/// Adds one file's tensors to the model.
fn read_header(model: &mut Model, path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let (header, metadata) = match SafeTensors::read_metadata(bytes) {
        Err(error @ SafeTensorError::InvalidHeader(_)) => {
            let read = lossy(bytes).ok_or_else(|| explain(path, bytes, error))?;
            model.notes.push(format!("{}: its header is not all UTF-8: odd characters were replaced", file_name(path)));
            read
        }
        other => other.map_err(|e| explain(path, bytes, e))?,
    };
    let start = header + 8;
    let file = model.files.len();
    model.files.push(File { path: path.to_owned(), name: file_name(path), bytes: bytes.len() as u64 });
    let mut infos: Vec<_> = metadata.tensors().into_iter().collect();
    infos.sort_by_key(|(name, info)| (info.data_offsets, name.clone()));
    let known: HashMap<&str, usize> = model.tensors.iter().map(|t| (t.name.as_str(), t.file)).collect();
    for (name, _) in &infos {
        if let Some(&other) = known.get(name.as_str()) {
            let what = format!("{name}: also stored in {}", model.files[other].name);
            return Err(OpenError::broken(path, what, "remove one of the two files"));
        }
    }
    for (name, info) in infos {
        let range = start + info.data_offsets.0..start + info.data_offsets.1;
        model.tensors.push(Tensor { name, dtype: dtype(info.dtype), shape: info.shape.clone(), file, range });
    }
    for (key, value) in metadata.metadata().iter().flatten() {
        model.metadata.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Ok(())
}

/// Reads a header with bytes that are no UTF-8, which some tools leave in the metadata. The crate checks all else.
fn lossy(bytes: &[u8]) -> Option<(usize, Metadata)> {
    let header = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
    let text = String::from_utf8_lossy(bytes.get(8..header.checked_add(8)?)?);
    let metadata: Metadata = serde_json::from_str(&text).ok()?;
    let end = metadata.tensors().values().map(|t| t.data_offsets.1).max().unwrap_or(0);
    (end.checked_add(8 + header)? == bytes.len()).then_some((header, metadata))
}

fn dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::F8_E5M2 => DType::F8E5M2,
        Dtype::F8_E4M3 => DType::F8E4M3,
        Dtype::I16 => DType::I16,
        Dtype::U16 => DType::U16,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I32 => DType::I32,
        Dtype::U32 => DType::U32,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::U64 => DType::U64,
        other => DType::Unknown { bits: other.bitsize() as u16, name: unknown_name(other) },
    }
}

fn unknown_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F4 => "F4",
        Dtype::F6_E2M3 => "F6_E2M3",
        Dtype::F6_E3M2 => "F6_E3M2",
        Dtype::F8_E8M0 => "F8_E8M0",
        Dtype::F8_E4M3FNUZ => "F8_E4M3FNUZ",
        Dtype::F8_E5M2FNUZ => "F8_E5M2FNUZ",
        Dtype::C64 => "C64",
        _ => "unknown",
    }
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
