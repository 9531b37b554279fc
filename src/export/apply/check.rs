//! Reading the result back: every layer that was made anew against the plan, every other byte against the checkpoint.

use super::factored;
use super::layout::{Job, Layout, Part};
use super::{Apply, ApplyError, Written, difference, relative, work};
use crate::known::Bound;
use crate::model::decode::decode_into;
use crate::model::{Layer, Matrix, Model};
use crate::numerics::{KeepGoing, norms};
use crate::plan::{LayerOutcome, Outcome, Pattern};
use crate::source::{self, OpenError, Weights};
use crate::treat::treated;
use std::collections::HashSet;

/// What a treated layer of the result holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Its name.
    pub layer: String,
    /// Share of its entries that are zero; of factors with a sparse part, of that.
    pub zeros: f64,
    /// The rank that is stored, of factors.
    pub rank: Option<usize>,
    /// ‖W − Ŵ‖_F / ‖W‖_F, read back.
    pub error: f64,
    /// What is wrong, when something is.
    pub wrong: Option<String>,
}

/// What to do about a result that is not whole.
const AGAIN: &str = "delete the folder and apply again";
/// Bytes compared at a time.
const STRETCH: usize = 1 << 24;

/// Something to look at.
enum Look<'a> {
    /// A layer that was made anew.
    Layer(&'a Layer, &'a Job),
    /// Bytes that stay: of which file, from where in the old one, from where in the new one, how many.
    Bytes(usize, usize, usize, usize),
}

/// The result, opened.
struct Reopened {
    model: Model,
    weights: Weights,
}

impl Apply<'_> {
    /// Opens the result and compares all of it; `progress` is told how many bytes of how many are done.
    pub fn check(
        &self,
        outcome: &Outcome,
        written: &Written,
        progress: &mut dyn FnMut(u64, u64),
        keep_going: KeepGoing<'_>,
    ) -> Result<Vec<Check>, ApplyError> {
        let layout = Layout::of(self.model, self.weights, self.plan, self.form)?;
        let result = self.reopen(&layout)?;
        let looks = self.looks(&layout);
        let needs: Vec<u64> = looks.iter().map(|l| needs(l)).collect();
        let make = |i: usize, wanted: KeepGoing<'_>| match &looks[i] {
            Look::Layer(layer, job) => {
                let said = outcome.layers.get(layer.id.0);
                let check = said.map(|said| self.layer(layer, job, said, written, &result, wanted)).transpose()?;
                Ok((check, job.bytes))
            }
            Look::Bytes(number, from, at, length) => {
                self.bytes(*number, *from, *at, *length, &result)?;
                Ok((None, *length as u64))
            }
        };
        let (mut done, total) = (0, layout.bytes());
        work::in_order(&needs, self.limits, keep_going, &make, |next| {
            let mut checks = Vec::new();
            for _ in &looks {
                let unchecked = || ApplyError::Unchecked(self.out.to_owned());
                let result: Result<(Option<Check>, u64), ApplyError> = next().ok_or_else(unchecked)?;
                if !keep_going() {
                    return Err(unchecked());
                }
                let (check, bytes) = result?;
                checks.extend(check);
                done += bytes;
                progress(done, total);
            }
            Ok(checks)
        })
    }

    /// Opens it and compares names, types, shapes and ranks with what was to be written.
    fn reopen(&self, layout: &Layout) -> Result<Reopened, ApplyError> {
        let path = match self.model.files.as_slice() {
            [only] if !self.is_folder() => self.out.join(&only.name),
            _ => self.out.to_owned(),
        };
        let (model, weights) = source::open(&path)?;
        let changed = |what: String| ApplyError::Changed { path: path.clone(), what };
        let have: HashSet<_> = model.tensors.iter().map(|t| (&t.name, t.dtype.name(), &t.shape)).collect();
        let want: HashSet<_> = layout.tensors.iter().map(|(name, dtype, shape)| (name, *dtype, shape)).collect();
        if let Some((name, dtype, shape)) = want.difference(&have).next() {
            return Err(changed(format!("{name} is not there as {dtype} {shape:?}")));
        }
        if let Some((name, ..)) = have.difference(&want).next() {
            return Err(changed(format!("{name} should not be there")));
        }
        for (layer, rank) in self.ranks() {
            let told = model.config.as_ref().and_then(|c| c.get("rank_dict")?.get(layer.stored())?.as_u64());
            if told != Some(rank as u64) {
                return Err(changed(format!("config.json does not give {} the rank {rank}", layer.name)));
            }
        }
        Ok(Reopened { model, weights })
    }

    /// Everything there is to look at, in the order of the files.
    fn looks<'b>(&'b self, layout: &'b Layout) -> Vec<Look<'b>> {
        let mut looks = Vec::new();
        for (number, file) in layout.files.iter().enumerate() {
            let mut at = 0usize;
            for part in &file.parts {
                match part {
                    Part::Made(job) => {
                        let job = layout.jobs.get(*job);
                        looks.extend(job.and_then(|j| Some(Look::Layer(self.model.layer(j.layer)?, j))));
                    }
                    Part::Old(range) => {
                        let pieces = range.clone().step_by(STRETCH).map(|from| (from, (range.end - from).min(STRETCH)));
                        looks.extend(pieces.map(|(f, n)| Look::Bytes(number, f, at + f - range.start, n)));
                    }
                    Part::New(_) => {}
                }
                at += layout.length(part) as usize;
            }
        }
        looks
    }

    /// Bytes that stay.
    fn bytes(&self, number: usize, from: usize, at: usize, length: usize, result: &Reopened) -> Result<(), ApplyError> {
        let name = &self.model.files[number].name;
        let again = result.model.files.iter().position(|f| f.name == *name);
        let gone = || ApplyError::Changed { path: self.out.join(name), what: "is not read back".to_owned() };
        let again = again.ok_or_else(gone)?;
        let old = self.weights.file(self.model, number)?.get(from..from + length);
        let new = result.weights.file(&result.model, again)?.get(at..at + length);
        let same = old.is_some() && old == new;
        self.weights.release_bytes(number, from..from + length);
        result.weights.release_bytes(again, at..at + length);
        if same {
            return Ok(());
        }
        let what = "bytes that should have stayed are others".to_owned();
        Err(ApplyError::Changed { path: self.out.join(name), what })
    }

    /// A layer that was made anew.
    fn layer(
        &self,
        layer: &Layer,
        job: &Job,
        said: &LayerOutcome,
        written: &Written,
        result: &Reopened,
        keep_going: KeepGoing<'_>,
    ) -> Result<Check, ApplyError> {
        let entries = (layer.rows() as u64 * layer.cols() as u64).max(1);
        let (error, zeros) = if job.factored {
            let before = self.weights.matrix(self.model, layer)?;
            let (after, sparse) = self.product(layer, job, result)?;
            (difference(&before, &after), norms::zeros(&sparse.as_ref().unwrap_or(&after).data))
        } else {
            self.stored(layer, result)?
        };
        self.weights.release(self.model, layer);
        let mut wrong = None;
        if let (None, Some(how), None) = (job.treatment.rank, job.treatment.prune, job.treatment.quantise) {
            // Units that stay are counted whole, with the zeros that were in them.
            let least = entries.saturating_sub(said.after.params);
            // Of entries that no input reaches zeros need not come first.
            let exact = how.pattern == Pattern::Unstructured && !how.criterion.weighs();
            if zeros < least || (exact && zeros != least) {
                wrong = Some(format!("{zeros} zeros, not {least}"));
            }
        }
        // A projection that is exact is held to; else what the treatment itself gives before rounding.
        let plain = job.treatment.quantise.is_none();
        let exact = said.relative_error().filter(|k| k.bound == Bound::Exact && plain).map(|k| k.value);
        let known = exact.or_else(|| written.errors.get(layer.id.0).copied().flatten());
        let said = match known {
            Some(said) => said,
            None => again(layer, job, &self.weights.matrix(self.model, layer)?, keep_going)?,
        };
        let slack = rounding(layer, job) + 2e-3 * said;
        // What is no number compares with nothing: it is wrong.
        if !(said - error).is_finite() || (said - error).abs() > slack {
            wrong = Some(format!("relative error {error:.6}, not {said:.6}"));
        }
        let rank = job.factored.then(|| factored::rank(layer, job.treatment));
        Ok(Check { layer: layer.name.clone(), zeros: zeros as f64 / entries as f64, rank, error, wrong })
    }

    /// The error of a tensor that is stored as it was, and its zeros; both in file order, piece by piece.
    fn stored(&self, layer: &Layer, result: &Reopened) -> Result<(f64, u64), ApplyError> {
        const PIECE: usize = 1 << 14;
        let (mut before, mut after) = (vec![0f32; PIECE], vec![0f32; PIECE]);
        let again = result.layer(&layer.name)?;
        let of = |model: &Model, layer: &Layer| {
            let gone = || OpenError::broken(&model.path, format!("{} is not there", layer.name), AGAIN);
            model.tensors.get(layer.tensor).cloned().ok_or_else(gone)
        };
        let was = self.weights.bytes(self.model, &of(self.model, layer)?)?;
        let is = result.weights.bytes(&result.model, &of(&result.model, again)?)?;
        let width = (layer.dtype.bits() / 8).max(1);
        let (mut sums, mut none) = ([0f64; 2], 0);
        for (was, is) in was.chunks(PIECE * width).zip(is.chunks(PIECE * width)) {
            let entries = was.len().min(is.len()) / width;
            let (before, after) = (&mut before[..entries], &mut after[..entries]);
            decode_into(layer.dtype, was, before);
            decode_into(layer.dtype, is, after);
            let more = norms::energies(before, after);
            (sums[0], sums[1]) = (sums[0] + more[0], sums[1] + more[1]);
            none += norms::zeros(after);
        }
        result.weights.release(&result.model, again);
        Ok((relative(sums), none))
    }

    /// What the stored factors multiply out to, with the sparse part; and that by itself.
    fn product(&self, layer: &Layer, job: &Job, result: &Reopened) -> Result<(Matrix, Option<Matrix>), ApplyError> {
        let mut product = crate::treat::low_rank::multiplied(
            &result.tensor(&part(layer, "mod_b"))?,
            &result.tensor(&part(layer, "mod_a"))?,
        );
        if product.data.len() != layer.rows() * layer.cols() {
            let what = format!("the factors of {} do not multiply out to its shape", layer.name);
            return Err(ApplyError::Changed { path: self.out.to_owned(), what });
        }
        let sparse = job.treatment.prune.map(|_| result.tensor(&part(layer, "mod_s"))).transpose()?;
        if let Some(sparse) = &sparse {
            product.data.iter_mut().zip(&sparse.data).for_each(|(w, s)| *w += s);
        }
        Ok((product, sparse))
    }
}

impl Reopened {
    /// A layer.
    fn layer(&self, name: &str) -> Result<&Layer, OpenError> {
        let layer = self.model.layers.iter().find(|l| l.name == name);
        layer.ok_or_else(|| OpenError::broken(&self.model.path, format!("{name} is not there"), AGAIN))
    }

    /// A factor as a matrix: it is a part of a layer, and no layer by itself.
    fn tensor(&self, name: &str) -> Result<Matrix, OpenError> {
        let stored = format!("{name}.weight");
        let id = self.model.tensors.iter().position(|t| t.name == stored);
        let layer = id.and_then(|id| Some(Layer::of_tensor(name, id, self.model.tensors.get(id)?)));
        let layer = layer.ok_or_else(|| OpenError::broken(&self.model.path, format!("{name} is not there"), AGAIN))?;
        let matrix = self.weights.matrix(&self.model, &layer)?;
        self.weights.release(&self.model, &layer);
        Ok(matrix)
    }
}

/// The error of the treatment, run once more: for files that an earlier run had finished.
fn again(layer: &Layer, job: &Job, before: &Matrix, keep_going: KeepGoing<'_>) -> Result<f64, ApplyError> {
    let wrong = |why: String| ApplyError::Layer { layer: layer.name.clone(), why };
    let after = if job.factored {
        factored::make(layer, before, job.treatment, true, keep_going).map_err(wrong)?.product
    } else {
        Some(treated(layer, before, job.treatment, keep_going).map_err(|e| wrong(e.to_string()))?)
    };
    Ok(after.map_or(0.0, |after| difference(before, &after)))
}

fn part(layer: &Layer, part: &str) -> String {
    format!("{}.{part}", layer.stored())
}

fn needs(look: &Look<'_>) -> u64 {
    match look {
        Look::Bytes(_, _, _, length) => 2 * *length as u64,
        Look::Layer(layer, job) => {
            let matrix = layer.rows() as u64 * layer.cols() as u64 * 4;
            if job.factored { 3 * matrix } else { matrix / 4 }
        }
    }
}

/// How far the error may be off after rounding to the stored type: every changed entry, or both factors, by half a unit
/// in the last place; and singular values are known to a millionth.
fn rounding(layer: &Layer, job: &Job) -> f64 {
    let of_type = layer.dtype.epsilon();
    match (job.treatment.rank, job.treatment.quantise) {
        (None, None) if job.treatment.prune.is_some_and(|p| p.criterion.rewrites()) => of_type + 1e-6,
        (None, None) => 1e-6,
        (None, Some(_)) => of_type,
        (Some(_), _) if job.factored => 2.0 * of_type + 2e-6,
        (Some(_), _) => of_type + 2e-6,
    }
}
