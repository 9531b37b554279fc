//! Where the files of a checkpoint are, from what the user typed.

use super::OpenError;
use std::path::{Path, PathBuf};

/// The files of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Short name for titles.
    pub name: String,
    /// What the user named.
    pub path: PathBuf,
    /// The index of a sharded checkpoint.
    pub index: Option<PathBuf>,
    /// Files that hold tensors, when there is no index.
    pub files: Vec<PathBuf>,
    /// `config.json`.
    pub config: Option<PathBuf>,
}

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
const NAME_A_MODEL: &str =
    "name a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json";

/// Finds the files: a path, else a Hugging Face name in the local cache.
pub fn locate(path: &Path) -> Result<Found, OpenError> {
    if path.is_dir() {
        return in_folder(path, None);
    }
    if path.is_file() {
        return single(path);
    }
    if let Some(name) = hub_name(path) {
        if let Some(folder) = hub_folders().iter().find_map(|hub| snapshot(hub, name)) {
            return in_folder(&folder, Some(name));
        }
        let what = "no such file or folder, and no such model in the local Hugging Face cache";
        return Err(OpenError::broken(path, what, NAME_A_MODEL));
    }
    match path.metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(OpenError::broken(path, "no such file or folder", NAME_A_MODEL))
        }
        Err(e) => Err(OpenError::caused(path, "cannot be read", "check its permissions", e)),
        Ok(_) => Err(OpenError::broken(path, "is neither a file nor a folder", NAME_A_MODEL)),
    }
}

fn single(path: &Path) -> Result<Found, OpenError> {
    let ext = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    if matches!(ext.as_str(), "gguf" | "pt" | "pth" | "bin" | "ckpt" | "onnx" | "npz" | "h5") {
        let what = format!(".{ext} files are not read yet");
        let remedy = "convert it to .safetensors".to_owned();
        return Err(OpenError::Unsupported { path: path.to_owned(), what, remedy });
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    if path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(".safetensors.index.json")) {
        let config = Some(parent.join("config.json")).filter(|p| p.is_file());
        let name = folder_name(parent);
        return Ok(Found { name, path: path.to_owned(), index: Some(path.to_owned()), files: Vec::new(), config });
    }
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let name = if stem == "model" { folder_name(parent) } else { stem };
    let config = Some(parent.join("config.json")).filter(|p| p.is_file());
    Ok(Found { name, path: path.to_owned(), index: None, files: vec![path.to_owned()], config })
}

fn in_folder(folder: &Path, name: Option<&str>) -> Result<Found, OpenError> {
    let name = name.map_or_else(|| folder_name(folder), str::to_owned);
    let config = Some(folder.join("config.json")).filter(|p| p.is_file());
    let found = |index, files| Ok(Found { name: name.clone(), path: folder.to_owned(), index, files, config });
    if folder.join(INDEX).is_file() {
        return found(Some(folder.join(INDEX)), Vec::new());
    }
    if folder.join(SINGLE).is_file() {
        return found(None, vec![folder.join(SINGLE)]);
    }
    let entries = std::fs::read_dir(folder)
        .map_err(|e| OpenError::caused(folder, "cannot be listed", "check its permissions", e))?;
    let all: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    let with = |suffix: &str| {
        let mut v: Vec<_> = all.iter().filter(|p| p.to_string_lossy().ends_with(suffix)).cloned().collect();
        v.sort();
        v
    };
    let index = with(".safetensors.index.json");
    if let [one] = index.as_slice() {
        return found(Some(one.clone()), Vec::new());
    }
    let tensors: Vec<_> = with(".safetensors").into_iter().filter(|p| !is_side_file(p)).collect();
    match tensors.as_slice() {
        [one] => found(None, vec![one.clone()]),
        [] => {
            let other = ["gguf", "bin", "pt", "pth"].iter().find(|e| !with(&format!(".{e}")).is_empty());
            let what = "holds no .safetensors file";
            match other {
                Some(ext) => {
                    let what = format!("{what}, only .{ext}, which is not read yet");
                    let remedy = "convert it to .safetensors".to_owned();
                    Err(OpenError::Unsupported { path: folder.to_owned(), what, remedy })
                }
                None => Err(OpenError::broken(folder, what, NAME_A_MODEL)),
            }
        }
        many => {
            let what = format!("holds {} .safetensors files and no index", many.len());
            Err(OpenError::broken(folder, what, format!("name one of them, such as {}", many[0].display())))
        }
    }
}

/// Data that lies beside a model under the same extension.
fn is_side_file(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with("eval.") || name.starts_with("calibration")
}

fn folder_name(folder: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
    let own = name(&real).unwrap_or_else(|| "model".to_owned());
    // A folder called `model` says nothing: its parent does.
    let says_nothing = matches!(own.as_str(), "model" | "models" | "weights" | "checkpoint" | "final" | "output");
    match real.parent().and_then(name).filter(|_| says_nothing) {
        Some(parent) => format!("{parent}/{own}"),
        None => own,
    }
}

/// `org/name`, the way models are named on the hub.
fn hub_name(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let (org, name) = text.split_once('/')?;
    let fine = |s: &str| !s.is_empty() && !s.starts_with('.') && !s.contains('/') && !s.ends_with(".safetensors");
    (fine(org) && fine(name)).then_some(text)
}

fn hub_folders() -> Vec<PathBuf> {
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(var("HF_HUB_CACHE"));
    folders.extend(var("HF_HOME").map(|h| h.join("hub")));
    folders.extend(var("XDG_CACHE_HOME").map(|h| h.join("huggingface/hub")));
    folders.extend(var("HOME").map(|h| h.join(".cache/huggingface/hub")));
    folders
}

/// The snapshot that `main` points to, else the newest.
fn snapshot(hub: &Path, name: &str) -> Option<PathBuf> {
    let base = hub.join(format!("models--{}", name.replace('/', "--")));
    let main = std::fs::read_to_string(base.join("refs/main")).ok().map(|r| base.join("snapshots").join(r.trim()));
    main.filter(|p| p.is_dir()).or_else(|| {
        let entries = std::fs::read_dir(base.join("snapshots")).ok()?;
        let dated = entries.filter_map(|e| {
            let entry = e.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        });
        dated.max_by_key(|d| d.0).map(|d| d.1)
    })
}
