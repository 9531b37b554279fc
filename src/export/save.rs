//! Writing a plan from the dashboard: as a plan file, or in another tool's format.

use super::recipe::{Exported, Exporter, Recipe};
use crate::model::Model;
use crate::plan::Plan;
use crate::plan::file::{Made, PlanFile};
use crate::probe::book::FactBook;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A plan to be written.
#[derive(Clone)]
pub struct Save {
    /// The checkpoint.
    pub model: Arc<Model>,
    /// The plan.
    pub plan: Plan,
    /// How it was made.
    pub made: Made,
    /// What was measured.
    pub facts: FactBook,
    /// The format; `None` for a plan file.
    pub format: Option<&'static Exporter>,
    /// Where it goes.
    pub path: PathBuf,
    /// Whether a file of that name may be replaced.
    pub replace: bool,
}

impl PartialEq for Save {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.plan.same(&other.plan) && self.name() == other.name()
    }
}

impl std::fmt::Debug for Save {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Save({} as {})", self.path.display(), self.name())
    }
}

impl Save {
    fn name(&self) -> &'static str {
        self.format.map_or("plan", |f| f.name)
    }

    /// Writes; what was written and what the format left out, or why nothing was.
    pub fn run(&self) -> Result<String, String> {
        let path = self.path.as_path();
        if path.is_dir() {
            return Err(format!("{}: is a folder; name a file in it", path.display()));
        }
        let same = |other: &Path| matches!((path.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if self.model.files.iter().any(|f| same(&f.path)) {
            return Err(format!("{}: holds the checkpoint itself; choose another name", path.display()));
        }
        if !self.replace && path.exists() {
            return Err(format!("{}: exists; end the name with ! to replace it", path.display()));
        }
        let failed = |e: io::Error| format!("{}: {e}; choose a folder that exists", path.display());
        let Some(format) = self.format else {
            let text = PlanFile::of(&self.model, &self.plan, self.made.clone()).text();
            write_whole(path, text.as_bytes()).map_err(failed)?;
            return Ok(format!("written: {}", path.display()));
        };
        let (model, plan, made, facts) = (&*self.model, &self.plan, &self.made, &self.facts);
        let recipe = Recipe { model, plan, made, facts, path: Some(path) };
        let exported = format.write(&recipe).map_err(|e| e.to_string())?;
        let written = write(&exported, path).map_err(failed)?;
        let notes: Vec<String> = exported.notes.iter().map(|n| format!("; {n}")).collect();
        Ok(format!("written: {}{}", written.join(", "), notes.concat()))
    }
}

/// Writes a file beside and renames it, so that there is never half of one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    std::fs::write(beside, bytes)
        .and_then(|()| std::fs::rename(beside, path))
        .inspect_err(|_| drop(std::fs::remove_file(beside)))
}

/// Writes the file of an export and those beside it; their names.
pub fn write(exported: &Exported, path: &Path) -> io::Result<Vec<String>> {
    write_whole(path, &exported.bytes)?;
    let mut written = vec![path.display().to_string()];
    for (end, bytes) in &exported.beside {
        let at = beside(path, end);
        write_whole(&at, bytes)?;
        written.push(at.display().to_string());
    }
    Ok(written)
}

/// The name of a file beside: the stem of the first, and an ending.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let stem = path.file_stem().map_or_else(Default::default, |s| s.to_string_lossy().into_owned());
    path.with_file_name(format!("{stem}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;
    use crate::export::recipe::exporter;
    use crate::model::LayerId;
    use crate::plan::{Entry, Prune, Treatment};
    use crate::source;

    #[test]
    fn what_is_there_is_replaced_only_when_told_and_a_plan_is_read_back() {
        let (model, _) = source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap();
        let mut plan = Plan::new(model.layers.len());
        let id = model.layers.iter().find(|l| l.eligible()).map_or(LayerId(0), |l| l.id);
        plan.set(id, Entry { treatment: Treatment::prune(Prune::unstructured(0.5)), pinned: false });
        let dir = tempfile::tempdir().unwrap();
        let facts = FactBook::new(model.layers.len());
        let mut save = Save {
            model: Arc::new(model),
            plan: plan.clone(),
            made: Made::default(),
            facts,
            format: None,
            path: dir.path().join("a.toml"),
            replace: false,
        };
        assert!(save.run().unwrap().contains("a.toml"));
        let text = std::fs::read_to_string(&save.path).unwrap();
        assert!(PlanFile::parse(&text).unwrap().plan(&save.model, false).unwrap().same(&plan));
        assert!(save.run().unwrap_err().contains('!'));
        save.replace = true;
        save.format = exporter("json");
        assert!(save.run().is_ok());
        assert!(std::fs::read_to_string(&save.path).unwrap().starts_with('{'));
        save.path = dir.path().to_owned();
        assert!(save.run().unwrap_err().contains("is a folder"));
        save.path = dir.path().join("none/b.json");
        assert!(save.run().unwrap_err().contains("folder that exists"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half written is left");
    }
}
