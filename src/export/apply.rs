//! Writes the compressed checkpoint of a plan, shard by shard, and reads it back.
//!
//! Every tensor keeps its name, type, shape and place, so that headers, the index and everything else in the folder stay
//! byte for byte as they were and anything loads the result: zeros are stored, factors multiplied out. A file is written
//! beside and renamed when whole; finished files of the same plan are kept when an interrupted run is begun again.

use crate::model::encode::encode;
use crate::model::{Layer, Matrix, Model};
use crate::numerics::KeepGoing;
use crate::plan::{LayerOutcome, Plan, Treatment};
use crate::source::{OpenError, Weights};
use crate::treat::{Pattern, treated};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What is written where.
pub struct Apply<'a> {
    /// The checkpoint.
    pub model: &'a Model,
    /// Its weights.
    pub weights: &'a Weights,
    /// The plan.
    pub plan: &'a Plan,
    /// The folder of the result.
    pub out: &'a Path,
    /// What tells this plan of this checkpoint from others.
    pub mark: String,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Names of the files with weights, in order.
    pub files: Vec<String>,
    /// Of these, those that an earlier run had finished.
    pub kept: usize,
}

/// What a treated layer of the result holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Its name.
    pub layer: String,
    /// Share of its entries that are zero.
    pub zeros: f64,
    /// ‖W − Ŵ‖_F / ‖W‖_F, read back.
    pub error: f64,
    /// What is wrong, when something is.
    pub wrong: Option<String>,
}

/// Why nothing, or not all, was written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The result would take the place of what it is made from.
    #[error("{0}: that is where the checkpoint itself lies; choose another folder")]
    Itself(PathBuf),
    /// Something else lies there.
    #[error("{0}: holds something else; choose an empty folder")]
    Occupied(PathBuf),
    /// No room.
    #[error("{path}: needs {needs} MB, {free} MB are free")]
    Space {
        /// Where.
        path: PathBuf,
        /// Megabytes needed.
        needs: u64,
        /// Megabytes free.
        free: u64,
    },
    /// A file could not be read or written.
    #[error("{path}: cannot be read or written; an interrupted run is taken up by the same command")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The checkpoint could not be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A layer could not be treated.
    #[error("layer {layer}: {why}")]
    Layer {
        /// Which.
        layer: String,
        /// Why.
        why: String,
    },
}

/// Name of the file that marks an unfinished result.
const MARK: &str = ".slimscope-apply";
/// Ending of a file that is being written.
const PARTIAL: &str = "partial";

fn at(path: &Path) -> impl FnOnce(io::Error) -> ApplyError {
    let path = path.to_owned();
    move |source| ApplyError::File { path, source }
}

impl Apply<'_> {
    /// Writes; `progress` is told how many bytes of how many are done.
    pub fn run(&self, progress: &mut dyn FnMut(u64, u64), keep_going: KeepGoing<'_>) -> Result<Written, ApplyError> {
        self.prepare()?;
        let total: u64 = self.model.files.iter().map(|f| f.bytes).sum();
        let mut done = 0;
        let mut written = Written::default();
        for (number, file) in self.model.files.iter().enumerate() {
            let path = self.out.join(&file.name);
            if fs::metadata(&path).is_ok_and(|m| m.len() == file.bytes) {
                written.kept += 1;
                done += file.bytes;
            } else {
                let partial = path.with_extension(PARTIAL);
                let result = self.shard(
                    number,
                    &partial,
                    &mut |more| {
                        done += more;
                        progress(done, total);
                    },
                    keep_going,
                );
                result
                    .and_then(|()| fs::rename(&partial, &path).map_err(at(&path)))
                    .inspect_err(|_| drop(fs::remove_file(&partial)))?;
            }
            progress(done, total);
            written.files.push(file.name.clone());
        }
        self.companions()?;
        let mark = self.out.join(MARK);
        fs::remove_file(&mark).map_err(at(&mark))?;
        Ok(written)
    }

    /// Makes the folder, or finds there what an interrupted run of this very plan left.
    fn prepare(&self) -> Result<(), ApplyError> {
        fs::create_dir_all(self.out).map_err(at(self.out))?;
        let here = self.out.canonicalize().map_err(at(self.out))?;
        let source = |path: &Path| path.parent().map_or(PathBuf::from("."), Path::to_owned).canonicalize();
        if self.model.files.iter().any(|f| source(&f.path).is_ok_and(|s| s == here)) {
            return Err(ApplyError::Itself(self.out.to_owned()));
        }
        let mark = self.out.join(MARK);
        let empty = fs::read_dir(self.out).map_err(at(self.out))?.next().is_none();
        if !empty && fs::read_to_string(&mark).ok().as_deref() != Some(self.mark.as_str()) {
            return Err(ApplyError::Occupied(self.out.to_owned()));
        }
        let missing = self.model.files.iter().filter(|f| fs::metadata(self.out.join(&f.name)).is_err());
        let needs: u64 = missing.map(|f| f.bytes).sum();
        match free(self.out) {
            Some(free) if free < needs => {
                let mb = |b: u64| b.div_ceil(1_000_000);
                Err(ApplyError::Space { path: self.out.to_owned(), needs: mb(needs), free: mb(free) })
            }
            // Only now: what there is no room for leaves no mark that another plan would trip over.
            _ => fs::write(&mark, &self.mark).map_err(at(&mark)),
        }
    }

    /// Writes one file: what the plan treats anew, everything else as it was.
    fn shard(
        &self,
        number: usize,
        into: &Path,
        progress: &mut dyn FnMut(u64),
        keep_going: KeepGoing<'_>,
    ) -> Result<(), ApplyError> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(into).map_err(at(into))?);
        let whole = self.weights.file(self.model, number)?;
        let mut treated: Vec<(&Layer, Treatment, std::ops::Range<usize>)> = Vec::new();
        for layer in self.model.layers.iter().filter(|l| l.tied_to.is_none()) {
            let treatment = self.plan.treatment(layer.id);
            let tensor = self.model.tensors.get(layer.tensor).filter(|t| t.file == number);
            if let Some(tensor) = tensor.filter(|_| !treatment.is_dense()) {
                treated.push((layer, treatment, tensor.range.clone()));
            }
        }
        treated.sort_by_key(|t| t.2.start);
        let mut from = 0;
        for (layer, treatment, range) in treated {
            copy(&whole[from..range.start], &mut out, progress).map_err(at(into))?;
            self.weights.release_bytes(number, from..range.start);
            let bytes = self.treated(layer, treatment, &whole[range.clone()], keep_going)?;
            copy(&bytes, &mut out, progress).map_err(at(into))?;
            self.weights.release(self.model, layer);
            from = range.end;
        }
        copy(&whole[from..], &mut out, progress).map_err(at(into))?;
        self.weights.release_bytes(number, from..whole.len());
        let file = out.into_inner().map_err(|e| at(into)(e.into_error()))?;
        file.sync_all().map_err(at(into))
    }

    fn treated(
        &self,
        layer: &Layer,
        treatment: Treatment,
        stored: &[u8],
        keep_going: KeepGoing<'_>,
    ) -> Result<Vec<u8>, ApplyError> {
        let wrong = |why: String| ApplyError::Layer { layer: layer.name.clone(), why };
        let matrix = self.weights.matrix(self.model, layer)?;
        let result = treated(layer, &matrix, treatment, keep_going).map_err(|e| wrong(e.to_string()))?;
        drop(matrix);
        encode(layer.dtype, layer.orientation, &result, stored)
            .ok_or_else(|| wrong(format!("{} cannot hold what a lower rank makes of it", layer.dtype.name())))
    }

    /// Copies the other files of the checkpoint's folder: configuration, index, tokenizer.
    fn companions(&self) -> Result<(), ApplyError> {
        let Some(first) = self.model.files.first() else { return Ok(()) };
        if !self.model.path.is_dir() {
            // A single file brings its configuration along, nothing else that happens to lie beside it.
            let config = first.path.with_file_name("config.json");
            return if config.is_file() { self.copy_beside(&config) } else { Ok(()) };
        }
        let folder = first.path.parent().unwrap_or(Path::new("."));
        for entry in fs::read_dir(folder).map_err(at(folder))?.flatten() {
            let path = entry.path();
            let weights = path.extension().is_some_and(|e| e == "safetensors");
            if path.is_file() && !weights {
                self.copy_beside(&path)?;
            }
        }
        Ok(())
    }

    fn copy_beside(&self, path: &Path) -> Result<(), ApplyError> {
        let Some(name) = path.file_name() else { return Ok(()) };
        fs::copy(path, self.out.join(name)).map(drop).map_err(at(path))
    }

    /// Compares a treated layer of the result with the checkpoint and with what the plan said of it.
    pub fn check(&self, layer: &Layer, said: &LayerOutcome, result: &Matrix) -> Result<Check, ApplyError> {
        let before = self.weights.matrix(self.model, layer)?;
        let treatment = self.plan.treatment(layer.id);
        let zeros = result.data.iter().filter(|w| **w == 0.0).count() as u64;
        let entries = result.data.len().max(1) as u64;
        let (mut energy, mut lost) = (0f64, 0f64);
        for (was, is) in before.data.iter().zip(&result.data) {
            energy += f64::from(*was).powi(2);
            lost += (f64::from(*was) - f64::from(*is)).powi(2);
        }
        self.weights.release(self.model, layer);
        let error = if energy > 0.0 { (lost / energy).sqrt() } else { 0.0 };
        let mut wrong = None;
        if let (None, Some(how)) = (treatment.rank, treatment.prune) {
            // Units that stay are counted whole, with the zeros that were in them.
            let least = entries.saturating_sub(said.after.params);
            if zeros < least || (how.pattern == Pattern::Unstructured && zeros != least) {
                wrong = Some(format!("{zeros} zeros, not {least}"));
            }
        }
        // Every changed entry is rounded to the stored type: half a unit in the last place of it.
        let rounding = if treatment.rank.is_some() { layer.dtype.epsilon() } else { 1e-6 };
        if let Some(said) = said.relative_error().filter(|k| k.bound == crate::known::Bound::Exact)
            && (said.value - error).abs() > rounding + 2e-3 * said.value
        {
            wrong = Some(format!("relative error {error:.6}, not {:.6}", said.value));
        }
        Ok(Check { layer: layer.name.clone(), zeros: zeros as f64 / entries as f64, error, wrong })
    }
}

/// Copies bytes in pieces, so that progress is seen.
fn copy(bytes: &[u8], out: &mut impl Write, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
    for piece in bytes.chunks(1 << 24) {
        out.write_all(piece)?;
        progress(piece.len() as u64);
    }
    Ok(())
}

/// Bytes free where a path lies; `None` where the system does not say.
fn free(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(stat.f_bavail * stat.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

#[cfg(test)]
mod tests;
