//! Where the files of a checkpoint are, from what the user typed.

use super::{OpenError, hub};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The files of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// What was chosen where there was a choice, and why.
    pub notes: Vec<String>,
    /// The name in the Hugging Face cache, where it lies there.
    pub hub: Option<String>,
}

impl Found {
    /// What to do where files are missing.
    pub fn complete(&self) -> String {
        match &self.hub {
            Some(name) => format!("the local copy is partial: complete it with `hf download {name}`"),
            None => "download the missing file into the same folder".to_owned(),
        }
    }
}

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
const INDEX_ENDING: &str = ".safetensors.index.json";
const NAME_A_MODEL: &str =
    "name a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json";

/// Finds the files: a path, else a Hugging Face name in the local cache.
pub fn locate(path: &Path) -> Result<Found, OpenError> {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => return in_folder(path, hub::of_snapshot(path)),
        // What is no regular file is refused by name when it is opened.
        Ok(_) => return single(path),
        Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput) => {
            return Err(OpenError::caused(path, "cannot be read", super::regular::remedy(&e), e));
        }
        Err(e) if path.is_symlink() => {
            let what = "is a link to a file that is not there: the download is not complete";
            return Err(OpenError::caused(path, what, "download it again", e));
        }
        Err(_) => {}
    }
    let Some(name) = hub::Name::parse(path) else {
        return Err(OpenError::broken(path, "no such file or folder", NAME_A_MODEL));
    };
    if let Some(folder) = name.folder() {
        return in_folder(&folder, Some(name.repository));
    }
    let what = "no such file or folder, and no such model in the local Hugging Face cache";
    let remedy = format!("{NAME_A_MODEL}; `hf download {}` fetches a model from the hub", name.repository);
    Err(OpenError::broken(path, what, remedy))
}

fn single(path: &Path) -> Result<Found, OpenError> {
    let ext = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    if matches!(ext.as_str(), "gguf" | "pt" | "pth" | "bin" | "ckpt" | "onnx" | "npz" | "h5") {
        let what = format!(".{ext} files are not read yet");
        let remedy = "convert it to .safetensors".to_owned();
        return Err(OpenError::Unsupported { path: path.to_owned(), what, remedy });
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    let config = Some(parent.join("config.json")).filter(|p| exists(p));
    let hub = hub::of_snapshot(parent);
    let folder = || hub.clone().unwrap_or_else(|| folder_name(parent));
    if path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(INDEX_ENDING)) {
        let (name, path) = (folder(), path.to_owned());
        return Ok(Found { name, index: Some(path.clone()), path, config, hub, ..Found::default() });
    }
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let name = if stem == "model" { folder() } else { stem };
    Ok(Found { name, path: path.to_owned(), files: vec![path.to_owned()], config, hub, ..Found::default() })
}

/// Chooses as transformers does: `model.safetensors`, then its index, then what there is one of.
fn in_folder(folder: &Path, hub: Option<String>) -> Result<Found, OpenError> {
    let name = hub.clone().unwrap_or_else(|| folder_name(folder));
    let config = Some(folder.join("config.json")).filter(|p| exists(p));
    let mut found = Found { name, path: folder.to_owned(), config, hub, ..Found::default() };
    let entries = std::fs::read_dir(folder)
        .map_err(|e| OpenError::caused(folder, "cannot be listed", super::regular::remedy(&e), e))?;
    let mut all: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    all.sort();
    let indexes: Vec<PathBuf> = all.iter().filter(|p| name_of(p).ends_with(INDEX_ENDING)).cloned().collect();
    let tensors = tensors_of(&all);
    let has = |name: &str| exists(&folder.join(name));
    let others = |than: &[PathBuf]| -> Vec<String> {
        indexes.iter().chain(&tensors).filter(|p| !than.contains(p)).map(|p| name_of(p)).collect()
    };
    if has(SINGLE) {
        found.files = vec![folder.join(SINGLE)];
        let rest = others(&found.files);
        if !rest.is_empty() {
            found.notes.push(format!("{SINGLE} was opened, as transformers does; left out: {}", listed(&rest)));
        }
    } else if has(INDEX) || indexes.len() == 1 {
        let index = if has(INDEX) { folder.join(INDEX) } else { indexes[0].clone() };
        if indexes.len() > 1 {
            let rest: Vec<String> = indexes.iter().filter(|p| **p != index).map(|p| name_of(p)).collect();
            found.notes.push(format!("{INDEX} was opened; left out: {}, an index of another variant", listed(&rest)));
        }
        found.index = Some(index);
    } else if let [one] = tensors.as_slice() {
        found.files = vec![one.clone()];
    } else if let Some(shards) = numbered(folder, &tensors)? {
        let (count, rest) = (shards.len(), others(&shards));
        found.notes.push(format!("there is no index: {count} shards of one numbering were opened as one model"));
        if !rest.is_empty() {
            found.notes.push(format!("left out: {}, not of that numbering", listed(&rest)));
        }
        found.files = shards;
    } else {
        return Err(undecided(&found, &all, &indexes, &tensors));
    }
    let mut parts = folders_with_tensors(&all);
    // Parts such as a pooling layer's matrix may be stored in the older form.
    parts.extend(folders(&all, |folder| exists(&folder.join("pytorch_model.bin")) && self::tensors(folder).is_empty()));
    if !parts.is_empty() {
        found.notes.push(format!("folders that hold tensors of their own are left out: {}", listed(&parts)));
    }
    Ok(found)
}

/// Shards named `X-00001-of-00003.safetensors`, where all files with numbers belong to one model and none is missing.
fn numbered(folder: &Path, tensors: &[PathBuf]) -> Result<Option<Vec<PathBuf>>, OpenError> {
    let mut groups: BTreeMap<(String, usize), BTreeMap<usize, PathBuf>> = BTreeMap::new();
    for path in tensors {
        if let Some((prefix, number, of)) = number(&name_of(path)) {
            groups.entry((prefix, of)).or_default().insert(number, path.clone());
        }
    }
    let mut groups = groups.into_iter();
    let (Some(((prefix, of), shards)), None) = (groups.next(), groups.next()) else { return Ok(None) };
    if let Some(lost) = (1..=of).find(|n| !shards.contains_key(n)) {
        let what =
            format!("holds {} of {of} shards and no index: {prefix}-{lost:05}-of-{of:05} is missing", shards.len());
        return Err(OpenError::broken(folder, what, "download the missing shard into the same folder"));
    }
    Ok(Some(shards.into_values().collect()))
}

/// Prefix, number and count of `X-00001-of-00003.safetensors`.
fn number(name: &str) -> Option<(String, usize, usize)> {
    let (rest, of) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let digits = |s: &str| s.parse::<usize>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
    let (number, of) = (digits(number)?, digits(of)?);
    (1..=of).contains(&number).then(|| (prefix.to_owned(), number, of))
}

/// Why none of the files of a folder can be chosen.
fn undecided(found: &Found, all: &[PathBuf], indexes: &[PathBuf], tensors: &[PathBuf]) -> OpenError {
    let folder = &found.path;
    if indexes.len() > 1 {
        let what = format!("holds {} indexes", indexes.len());
        return OpenError::broken(folder, what, format!("name one of them, such as {}", indexes[0].display()));
    }
    if let Some(first) = tensors.first() {
        let what = format!("holds {} .safetensors files and no index", tensors.len());
        return OpenError::broken(folder, what, format!("name one of them, such as {}", first.display()));
    }
    let what = "holds no .safetensors file";
    let parts = folders_with_tensors(all);
    if let Some(first) = parts.first() {
        let what = format!("{what} of its own, but its folders do: {}", listed(&parts));
        return OpenError::broken(folder, what, format!("name one of them, such as {}", folder.join(first).display()));
    }
    let other =
        ["gguf", "bin", "pt", "pth"].iter().find(|e| all.iter().any(|p| p.extension().is_some_and(|x| x == **e)));
    if let Some(ext) = other {
        let what = format!("{what}, only .{ext}, which is not read yet");
        return OpenError::Unsupported { path: folder.clone(), what, remedy: "convert it to .safetensors".to_owned() };
    }
    if found.hub.is_some() {
        let names: Vec<String> = all.iter().map(|p| name_of(p)).collect();
        let only = if names.is_empty() { String::new() } else { format!(", only {}", listed(&names)) };
        return OpenError::broken(folder, format!("{what}{only}"), found.complete());
    }
    OpenError::broken(folder, what, NAME_A_MODEL)
}

/// Files of a folder that hold tensors, in order of their names.
pub fn tensors(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    all.sort();
    tensors_of(&all)
}

fn tensors_of(all: &[PathBuf]) -> Vec<PathBuf> {
    let named = |p: &&PathBuf| name_of(p).ends_with(".safetensors") && !is_side_file(p) && !p.is_dir();
    all.iter().filter(named).cloned().collect()
}

/// Folders among these entries that hold tensors, with a slash behind their names.
fn folders_with_tensors(all: &[PathBuf]) -> Vec<String> {
    folders(all, |folder| !tensors(folder).is_empty())
}

/// Folders among these entries that are of a kind, hidden ones left out.
fn folders(all: &[PathBuf], of_kind: impl Fn(&Path) -> bool) -> Vec<String> {
    let hidden = |p: &Path| name_of(p).starts_with('.');
    all.iter().filter(|p| !hidden(p) && p.is_dir() && of_kind(p)).map(|p| name_of(p) + "/").collect()
}

/// The first three names, and how many more there are.
pub fn listed(names: &[String]) -> String {
    match names {
        [a, b, c, rest @ ..] if rest.len() > 1 => format!("{a}, {b}, {c} and {} others", rest.len()),
        few => few.join(", "),
    }
}

/// Whether something of that name is there, a link to nothing included.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

/// Data that lies beside a model under the same extension.
fn is_side_file(path: &Path) -> bool {
    let name = name_of(path);
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
