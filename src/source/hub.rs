//! Names of models on the Hugging Face hub, and their copies in the local cache. Nothing is downloaded.

use std::path::{Path, PathBuf};

/// What ends so is the name of a file.
const FILES: [&str; 8] = [".safetensors", ".gguf", ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".json"];

/// A model's name, with the revision where one was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// `org/name`, or `name` of the oldest models.
    pub repository: String,
    revision: Option<String>,
}

impl Name {
    /// Reads `org/name`, `name`, `org/name@revision`, `hf://org/name` and the address of a model's page; `None` for what
    /// can only be a path.
    pub fn parse(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        let schemes = ["hf://models/", "hf://", "https://huggingface.co/", "http://huggingface.co/", "https://hf.co/"];
        let mut schemes = schemes.into_iter().chain(["huggingface.co/", "hf.co/"]);
        let text = schemes.find_map(|s| text.strip_prefix(s)).unwrap_or(text);
        let text = text.split(['?', '#']).next().unwrap_or(text).trim_end_matches('/');
        let mut parts = text.split('/');
        let first = parts.next()?;
        let (repository, rest) = match parts.next() {
            None => (first.to_owned(), None),
            Some(kind @ ("tree" | "blob" | "resolve")) => (first.to_owned(), Some(kind)),
            Some(second) => (format!("{first}/{second}"), parts.next()),
        };
        let (repository, mut revision) = match repository.split_once('@') {
            Some((name, revision)) => (name.to_owned(), Some(revision.to_owned())),
            None => (repository, None),
        };
        match rest {
            // A page of a revision, or of a file of it.
            Some("tree" | "blob" | "resolve") => revision = Some(parts.next()?.to_owned()),
            Some(_) => return None,
            None => {}
        }
        let fine = |s: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !s.is_empty() && !s.starts_with('.') && !FILES.iter().any(|end| s.ends_with(end)) && s.chars().all(plain)
        };
        let safe = |r: &String| !r.is_empty() && r.split('/').all(|p| !p.is_empty() && p != ".." && p != ".");
        (repository.split('/').all(fine) && revision.as_ref().is_none_or(safe)).then_some(Self { repository, revision })
    }

    /// The folder of its files in the local cache: of the revision that was asked for, else of `main`, else the newest.
    pub fn folder(&self) -> Option<PathBuf> {
        caches().iter().find_map(|cache| self.snapshot(cache))
    }

    fn snapshot(&self, cache: &Path) -> Option<PathBuf> {
        let base = cache.join(format!("models--{}", self.repository.replace('/', "--")));
        let snapshots = base.join("snapshots");
        let at = |reference: &str| {
            let commit = std::fs::read_to_string(base.join("refs").join(reference)).ok()?;
            Some(snapshots.join(commit.trim())).filter(|p| p.is_dir())
        };
        if let Some(revision) = &self.revision {
            let begins =
                |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(revision.as_str()));
            let commit = || std::fs::read_dir(&snapshots).ok()?.filter_map(|e| Some(e.ok()?.path())).find(begins);
            return at(revision).or_else(|| commit().filter(|_| revision.len() >= 7));
        }
        at("main").or_else(|| {
            let dated = std::fs::read_dir(&snapshots).ok()?.filter_map(|e| {
                let entry = e.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            });
            dated.max_by_key(|d| d.0).map(|d| d.1)
        })
    }
}

/// The repository whose snapshot a folder is: of `…/models--org--name/snapshots/COMMIT`.
pub fn of_snapshot(folder: &Path) -> Option<String> {
    let real = folder.canonicalize().ok()?;
    let snapshots = real.parent().filter(|p| p.file_name().is_some_and(|n| n == "snapshots"))?;
    let name = snapshots.parent()?.file_name()?.to_str()?;
    Some(name.strip_prefix("models--")?.replacen("--", "/", 1))
}

fn caches() -> Vec<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(var("HF_HUB_CACHE"));
    folders.extend(var("HUGGINGFACE_HUB_CACHE"));
    folders.extend(var("HF_HOME").map(|h| h.join("hub")));
    folders.extend(var("XDG_CACHE_HOME").map(|h| h.join("huggingface/hub")));
    folders.extend(var("HOME").map(|h| h.join(".cache/huggingface/hub")));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_copy_them() {
        let read = |text: &str| Name::parse(Path::new(text)).map(|n| (n.repository, n.revision));
        for (text, repository, revision) in [
            ("gpt2", "gpt2", None),
            ("org/name", "org/name", None),
            ("org/name@v1.0", "org/name", Some("v1.0")),
            ("gpt2@main", "gpt2", Some("main")),
            ("hf://org/name", "org/name", None),
            ("https://huggingface.co/org/name", "org/name", None),
            ("https://huggingface.co/org/name/", "org/name", None),
            ("https://huggingface.co/gpt2/tree/main", "gpt2", Some("main")),
            ("https://huggingface.co/org/name/tree/v2?x=1", "org/name", Some("v2")),
            ("huggingface.co/org/name/blob/main/config.json", "org/name", Some("main")),
        ] {
            assert_eq!(read(text), Some((repository.to_owned(), revision.map(str::to_owned))), "{text}");
        }
        for text in [
            "",
            "/",
            "a/b/c",
            "../x",
            "./x",
            "org/..",
            "org/name@../..",
            "x/model.safetensors",
            "model.gguf",
            "/abs/path",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_revision_is_a_reference_or_the_beginning_of_a_commit() {
        let cache = tempfile::tempdir().unwrap();
        let base = cache.path().join("models--org--name");
        for (commit, reference) in [("0123456789abcdef", "main"), ("fedcba9876543210", "v1")] {
            std::fs::create_dir_all(base.join("snapshots").join(commit)).unwrap();
            std::fs::create_dir_all(base.join("refs")).unwrap();
            std::fs::write(base.join("refs").join(reference), commit).unwrap();
        }
        let end = |text: &str| {
            let folder = Name::parse(Path::new(text)).unwrap().snapshot(cache.path())?;
            assert_eq!(of_snapshot(&folder).as_deref(), Some("org/name"));
            Some(folder.file_name()?.to_string_lossy().into_owned())
        };
        assert_eq!(end("org/name").as_deref(), Some("0123456789abcdef"));
        assert_eq!(end("org/name@v1").as_deref(), Some("fedcba9876543210"));
        assert_eq!(end("org/name@fedcba9").as_deref(), Some("fedcba9876543210"));
        assert_eq!(end("org/name@v9"), None, "another revision is not taken in its place");
    }
}
