//! A plan run for what it does to each layer's outputs, as commands do that have a calibration.

use super::Settings;
use crate::model::{LayerId, Model};
use crate::numerics::KeepGoing;
use crate::plan::Plan;
use crate::source::Weights;
use crate::treat::refine::{Ran, run, workspace};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Runs the plan's treatments of all layers whose inputs were seen; `tell` is told how many of how many are done. An error
/// names the layer.
pub fn weigh(
    model: &Model,
    weights: &Weights,
    plan: &Plan,
    settings: &Settings,
    tell: &(dyn Fn(usize, usize) + Sync),
    keep_going: KeepGoing<'_>,
) -> Result<Vec<(LayerId, Ran)>, String> {
    let treated = model.layers.iter().filter(|l| l.eligible() && l.measurable() && l.tied_to.is_none());
    let layers: Vec<_> = treated.filter(|l| l.inputs.is_some() && !plan.treatment(l.id).is_dense()).collect();
    // As many at a time as memory allows.
    let needs = layers.iter().map(|l| workspace(l, plan.treatment(l.id))).max().unwrap_or(1).max(1);
    let threads = ((settings.memory / needs) as usize).clamp(1, settings.threads.max(1)).min(layers.len().max(1));
    let (next, found, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    let wanted = || keep_going() && failed.lock().unwrap_or_else(PoisonError::into_inner).is_none();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| wanted()) {
                    let matrix = weights.matrix(model, layer).map_err(|e| e.to_string());
                    let ran = matrix.and_then(|matrix| {
                        let ran = run(layer, &matrix, plan.treatment(layer.id), &wanted);
                        ran.map_err(|e| format!("layer {}: {e}", layer.name))
                    });
                    weights.release(model, layer);
                    match ran {
                        Ok(ran) => {
                            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                            found.push((layer.id, ran));
                            tell(found.len(), layers.len());
                        }
                        Err(why) => {
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(why) => Err(why),
        None => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}
