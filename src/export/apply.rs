//! Writes the compressed checkpoint of a plan, shard by shard, and reads it back.
//!
//! As dense tensors, every tensor keeps its name, type, shape and place, so that headers, the index and everything else
//! in the folder stay byte for byte as they were and anything loads the result: zeros are stored, factors multiplied
//! out. As factors, `mod_a` and `mod_b` take the place of a weight of low rank, and headers, index and configuration say
//! so. Layers are treated side by side ahead of the writing, within a bound of memory. A file is written beside and
//! renamed when whole; finished files of the same plan are kept when an interrupted run is begun again.

mod beside;
mod check;
mod error;
mod factored;
mod finite;
mod layout;
mod spare;
mod work;

pub use check::Check;
pub use error::ApplyError;
pub use work::Limits;

use crate::model::encode::{encode, encode_new};
use crate::model::{Layer, Matrix, Model};
use crate::numerics::{KeepGoing, norms};
use crate::plan::Plan;
use crate::source::{Weights, regular};
use crate::treat::{prune, treated};
use error::{reading, writing};
use layout::{FileLayout, Job, Layout, Part};
use spare::Spare;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};

/// How layers of low rank are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Multiplied out.
    #[default]
    Dense,
    /// As two factors, or three tensors with what pruning leaves.
    Factored,
}

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
    /// How low ranks are stored.
    pub form: Form,
    /// What tells this plan of this checkpoint in this form from others.
    pub mark: String,
    /// Threads and memory.
    pub limits: Limits,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Written {
    /// Names of the files with weights, in order.
    pub files: Vec<String>,
    /// Of these, those that an earlier run had finished.
    pub kept: usize,
    /// Files of the folder that were left out: the same weights once more, for others.
    pub left_out: Vec<String>,
    /// ‖W − Ŵ‖_F / ‖W‖_F of each layer that was treated now, before rounding to its type; by layer.
    errors: Vec<Option<f64>>,
}

/// Name of the file that marks an unfinished result.
const MARK: &str = ".slimscope-apply";
/// Ending of a file that is being written.
const PARTIAL: &str = ".partial";
/// Bytes copied between two questions whether to go on.
const PIECE: u64 = 1 << 25;

/// A layer made anew.
struct Made {
    bytes: Vec<u8>,
    error: Option<f64>,
}

type Telling<'a> = &'a mut dyn FnMut(u64, u64);
type Finishing<'scope> = Option<ScopedJoinHandle<'scope, Result<(), ApplyError>>>;

impl Apply<'_> {
    /// Writes; `progress` is told how many bytes of how many are done.
    pub fn run(&self, progress: Telling<'_>, keep_going: KeepGoing<'_>) -> Result<Written, ApplyError> {
        self.check_config()?;
        let layout = Layout::of(self.model, self.weights, self.plan, self.form)?;
        self.finite(&layout, keep_going)?;
        self.prepare(&layout)?;
        let result = self.files(&layout, progress, keep_going);
        // Whatever it was that failed first: nobody wants it any more.
        let mut written = if keep_going() { result? } else { result.map_err(|_| self.stopped(&layout))? };
        written.left_out = self.companions(&layout)?;
        let mark = self.out.join(MARK);
        fs::remove_file(&mark).map_err(writing(&mark))?;
        Ok(written)
    }

    fn stopped(&self, layout: &Layout) -> ApplyError {
        let done = (0..layout.files.len()).filter(|n| self.is_whole(layout, *n)).count();
        ApplyError::Stopped { path: self.out.to_owned(), done, all: layout.files.len() }
    }

    fn is_whole(&self, layout: &Layout, number: usize) -> bool {
        let (file, written) = (&self.model.files[number], &layout.files[number]);
        fs::metadata(self.out.join(&file.name)).is_ok_and(|m| m.len() == written.bytes)
    }

    fn files(&self, layout: &Layout, progress: Telling<'_>, keep_going: KeepGoing<'_>) -> Result<Written, ApplyError> {
        let files: Vec<(usize, bool)> = (0..layout.files.len()).map(|n| (n, self.is_whole(layout, n))).collect();
        let kept = |number: usize| files.get(number).is_some_and(|f| f.1);
        let jobs: Vec<(&Job, &Layer)> = layout
            .jobs
            .iter()
            .filter_map(|job| Some((job, self.model.layer(job.layer)?)))
            .filter(|(_, layer)| self.model.tensors.get(layer.tensor).is_some_and(|t| !kept(t.file)))
            .collect();
        let needs: Vec<u64> = jobs.iter().map(|(job, layer)| job.workspace(layer)).collect();
        let spare = Spare::default();
        let make = |i: usize, wanted: KeepGoing<'_>| {
            let (job, layer): (&Job, &Layer) = jobs[i];
            let made = self.make(layer, job, &spare, wanted);
            self.weights.release(self.model, layer);
            (layer, made)
        };
        work::in_order(&needs, self.limits, keep_going, &make, |next| {
            let mut written = Written { errors: vec![None; self.model.layers.len()], ..Written::default() };
            let (mut done, total) = (0, layout.bytes());
            std::thread::scope(|scope| {
                let mut finishing: Finishing<'_> = None;
                for (number, whole) in files.iter().copied() {
                    let name = &self.model.files[number].name;
                    written.files.push(name.clone());
                    if whole {
                        written.kept += 1;
                        done += layout.files[number].bytes;
                    } else {
                        let mut made = |into: &mut File, at: &Path| {
                            let lost =
                                || ApplyError::Layer { layer: "?".to_owned(), why: "its making broke off".to_owned() };
                            let (layer, result) = next().ok_or_else(lost)?;
                            let Made { bytes, error } = result?;
                            written.errors[layer.id.0] = error;
                            into.write_all(&bytes).map_err(writing(at))?;
                            let length = bytes.len() as u64;
                            spare.put(bytes);
                            Ok(length)
                        };
                        let mut more = |bytes: u64| {
                            done += bytes;
                            progress(done, total);
                        };
                        let path = self.out.join(name);
                        let partial = self.partial(number);
                        let file = self
                            .shard(&layout.files[number], number, &mut made, &mut more, keep_going)
                            .inspect_err(|_| drop(fs::remove_file(&partial)))?;
                        finish(scope, &mut finishing, file, partial, path)?;
                    }
                    progress(done, total);
                }
                finishing.map_or(Ok(()), joined)
            })?;
            Ok(written)
        })
    }

    fn partial(&self, number: usize) -> PathBuf {
        self.out.join(format!("{}{PARTIAL}", self.model.files[number].name))
    }

    /// Makes the folder, or finds there what an interrupted run of this very plan left.
    fn prepare(&self, layout: &Layout) -> Result<(), ApplyError> {
        if fs::metadata(self.out).is_ok_and(|m| !m.is_dir()) {
            return Err(ApplyError::NoFolder(self.out.to_owned()));
        }
        let existed = self.out.is_dir();
        fs::create_dir_all(self.out).map_err(writing(self.out))?;
        let fits = self.fits(layout);
        if fits.is_err() && !existed {
            // What cannot be leaves nothing behind.
            let _ = fs::remove_dir(self.out);
        }
        fits
    }

    fn fits(&self, layout: &Layout) -> Result<(), ApplyError> {
        let here = self.out.canonicalize().map_err(writing(self.out))?;
        let parent =
            |path: &Path| path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).canonicalize();
        if self.model.files.iter().any(|f| parent(&f.path).is_ok_and(|s| s == here)) {
            return Err(ApplyError::Itself(self.out.to_owned()));
        }
        let mark = self.out.join(MARK);
        let entries: Vec<PathBuf> =
            fs::read_dir(self.out).map_err(writing(self.out))?.flatten().map(|e| e.path()).collect();
        match fs::read_to_string(&mark).ok() {
            Some(found) if found == self.mark => {
                // What a run that was killed was writing.
                let partial = entries.iter().filter(|p| p.to_string_lossy().ends_with(PARTIAL));
                partial.for_each(|p| drop(fs::remove_file(p)));
            }
            Some(_) => return Err(ApplyError::Unfinished(self.out.to_owned())),
            None if !entries.is_empty() => return Err(ApplyError::Occupied(self.out.to_owned())),
            None => {}
        }
        let missing = (0..layout.files.len()).filter(|n| !self.is_whole(layout, *n));
        let needs: u64 = missing.map(|n| layout.files[n].bytes).sum();
        match free(self.out) {
            Some(free) if free < needs => {
                // Never the same number twice: what is needed is rounded up, what is free down.
                let (needs, free) = (needs.div_ceil(1_000_000), free / 1_000_000);
                Err(ApplyError::Space { path: self.out.to_owned(), needs, free })
            }
            // Only now: what there is no room for leaves no mark that another plan would trip over.
            _ => fs::write(&mark, &self.mark).map_err(writing(&mark)),
        }
    }

    /// Writes one file, beside: what is made anew, everything else as it was.
    fn shard(
        &self,
        layout: &FileLayout,
        number: usize,
        made: &mut dyn FnMut(&mut File, &Path) -> Result<u64, ApplyError>,
        progress: &mut dyn FnMut(u64),
        keep_going: KeepGoing<'_>,
    ) -> Result<File, ApplyError> {
        let path = self.partial(number);
        if let Some(folder) = path.parent() {
            // A shard may lie in a folder below.
            fs::create_dir_all(folder).map_err(writing(folder))?;
        }
        let mut out = File::create(&path).map_err(writing(&path))?;
        let from = &self.model.files[number].path;
        let (mut source, _) = regular::open(from).map_err(reading(from))?;
        if !self.weights.is_current(number) {
            let changed = io::Error::new(io::ErrorKind::InvalidData, "was written again since it was opened");
            return Err(reading(from)(changed));
        }
        for part in &layout.parts {
            match part {
                Part::New(bytes) => {
                    out.write_all(bytes).map_err(writing(&path))?;
                    progress(bytes.len() as u64);
                }
                Part::Made(_) => progress(made(&mut out, &path)?),
                Part::Old(range) => {
                    source.seek(SeekFrom::Start(range.start as u64)).map_err(reading(from))?;
                    let mut left = range.len() as u64;
                    while left > 0 {
                        if !keep_going() {
                            return Err(ApplyError::Unchecked(path));
                        }
                        // From file to file inside the system, where it can.
                        let copied =
                            io::copy(&mut (&mut source).take(left.min(PIECE)), &mut out).map_err(writing(&path))?;
                        if copied == 0 {
                            let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "was cut short while it was read");
                            return Err(reading(from)(cut));
                        }
                        left -= copied;
                        progress(copied);
                    }
                }
            }
        }
        if self.weights.is_current(number) {
            return Ok(out);
        }
        let changed = io::Error::new(io::ErrorKind::InvalidData, "was written again while it was read");
        Err(reading(from)(changed))
    }

    /// Makes a layer's bytes.
    fn make(&self, layer: &Layer, job: &Job, spare: &Spare, keep_going: KeepGoing<'_>) -> Result<Made, ApplyError> {
        let wrong = |why: String| ApplyError::Layer { layer: layer.name.clone(), why };
        let cannot = |what: &str| wrong(format!("{} cannot hold {what}", layer.dtype.name()));
        if let Some(how) = job.treatment.pruned_alone() {
            let tensor = self.model.tensors.get(layer.tensor).ok_or_else(|| wrong("its tensor is gone".to_owned()))?;
            let stored = self.weights.bytes(self.model, tensor)?;
            if let Some(made) =
                prune::stored::prune(stored, tensor.dtype, layer, how, &|| spare.take(stored.len()), keep_going)
            {
                let made = made.map_err(|e| wrong(e.to_string()))?;
                return Ok(Made { error: Some(relative([made.energy, made.lost])), bytes: made.bytes });
            }
        }
        let matrix = self.weights.matrix(self.model, layer)?;
        if job.factored {
            let simple = job.treatment.prune.is_none() && job.treatment.quantise.is_none();
            let made = factored::make(layer, &matrix, job.treatment, !simple, keep_going).map_err(wrong)?;
            let parts = made.tensors.iter().map(|t| encode_new(layer.dtype, t));
            let bytes = parts.collect::<Option<Vec<_>>>().ok_or_else(|| cannot("its factors"))?.concat();
            return Ok(Made { bytes, error: made.product.map(|p| difference(&matrix, &p)) });
        }
        let result = treated(layer, &matrix, job.treatment, keep_going).map_err(|e| wrong(e.to_string()))?;
        let error = Some(difference(&matrix, &result));
        drop(matrix);
        let tensor = self.model.tensors.get(layer.tensor).ok_or_else(|| wrong("its tensor is gone".to_owned()))?;
        let stored = self.weights.bytes(self.model, tensor)?;
        let bytes = encode(layer.dtype, layer.orientation, &result, stored);
        Ok(Made { bytes: bytes.ok_or_else(|| cannot("what becomes of it"))?, error })
    }
}

/// ‖W − Ŵ‖_F / ‖W‖_F.
fn difference(before: &Matrix, after: &Matrix) -> f64 {
    relative(norms::energies(&before.data, &after.data))
}

fn relative([energy, lost]: [f64; 2]) -> f64 {
    if energy > 0.0 { (lost / energy).sqrt() } else { 0.0 }
}

/// Brings a file to the disk and gives it its name, while the next is written.
fn finish<'scope>(
    scope: &'scope Scope<'scope, '_>,
    finishing: &mut Finishing<'scope>,
    file: File,
    partial: PathBuf,
    path: PathBuf,
) -> Result<(), ApplyError> {
    if let Some(before) = finishing.take() {
        joined(before)?;
    }
    *finishing = Some(scope.spawn(move || {
        file.sync_all()
            .and_then(|()| fs::rename(&partial, &path))
            .inspect_err(|_| drop(fs::remove_file(&partial)))
            .map_err(writing(&path))
    }));
    Ok(())
}

fn joined(handle: ScopedJoinHandle<'_, Result<(), ApplyError>>) -> Result<(), ApplyError> {
    handle.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload))
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
