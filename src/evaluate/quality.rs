//! What a model scores on a slice, and how sure that is.

use super::data::{Slice, Unit};
use super::network::Network;
use super::{Batch, RunError};
use candle_core::Tensor;
use rayon::prelude::*;
use std::time::Instant;

/// Tokens that one thread runs at once.
const TOKENS: usize = 1024;

/// Numbers of logits that one thread holds at once: 64 MiB.
const LOGITS: usize = 16 << 20;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Σ −log₂ p(token | context) over the predicted tokens ÷ their UTF-8 bytes; less is better.
    BitsPerByte,
    /// Share of the examples whose highest logit is that of their label; more is better.
    Accuracy,
}

impl Metric {
    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::BitsPerByte => "bits_per_byte",
            Self::Accuracy => "accuracy",
        }
    }
}

/// What a model scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What is measured.
    pub metric: Metric,
    /// The score.
    pub value: f64,
    /// Its standard error: of text that of a ratio of sums over windows, of images the binomial one. 0 where a single
    /// window tells nothing of it.
    pub standard_error: f64,
    /// Mean cross-entropy of a predicted token, or an example, in nats.
    pub nats: f64,
    /// Predicted tokens; 0 for images.
    pub tokens: usize,
    /// UTF-8 bytes that they stand for; 0 for images.
    pub bytes: usize,
    /// Examples; 0 for text.
    pub examples: usize,
    /// e to the mean cross-entropy of a token; `None` for images.
    pub perplexity: Option<f64>,
    /// Seconds since the start.
    pub seconds: f64,
    /// Tokens or examples that were run, of all in the slice.
    pub share: f64,
    /// Of each unit: nats summed up, and bytes; or hits, and examples.
    pub parts: Vec<[f64; 2]>,
}

/// What came of one unit.
#[derive(Debug, Clone, Copy, Default)]
struct Scored {
    nats: f64,
    hits: usize,
    predicted: usize,
    bytes: usize,
}

/// Runs the network over a slice. `tell` hears the running result after each batch and says whether to go on; `None`
/// when it did not. Batches are shared out over the network's threads.
pub fn measure(
    network: &Network,
    slice: &Slice,
    tell: &mut dyn FnMut(&Measured) -> bool,
) -> Result<Option<Measured>, RunError> {
    if !network.scores() {
        let what = "is an encoder: it gives hidden states, and nothing to compare them with";
        return Err(RunError::Misfit(format!("{} {what}; calibrate runs it", network.name())));
    }
    let start = Instant::now();
    let batches = batches(&slice.units);
    let all: usize = slice.units.iter().map(Unit::len).sum();
    let (mut scored, mut run): (Vec<Scored>, usize) = (Vec::with_capacity(slice.units.len()), 0);
    let mut last = None;
    for round in batches.chunks(network.breadth().max(1)) {
        let each: Result<Vec<Vec<Scored>>, RunError> =
            network.inside(|| round.par_iter().map(|units| score(network, units)).collect());
        scored.extend(each?.into_iter().flatten());
        run += round.iter().flat_map(|units| units.iter()).map(Unit::len).sum::<usize>();
        let measured = summary(&scored, slice, run as f64 / all.max(1) as f64, start.elapsed().as_secs_f64());
        if !tell(&measured) {
            return Ok(None);
        }
        last = Some(measured);
    }
    let empty = || RunError::Misfit(format!("{} holds nothing to measure on", slice.name));
    last.map(Some).ok_or_else(empty)
}

/// Units that are run together: windows of one length, as many as hold about [`TOKENS`]; images as they come.
fn batches(units: &[Unit]) -> Vec<&[Unit]> {
    let mut out = Vec::new();
    let mut rest = units;
    while let Some(first) = rest.first() {
        let most = match first {
            Unit::Window { tokens, .. } => (TOKENS / tokens.len().max(1)).max(1),
            Unit::Images { .. } => 1,
        };
        let alike = rest.iter().take(most).take_while(|u| u.len() == first.len()).count().max(1);
        let (batch, after) = rest.split_at(alike);
        out.push(batch);
        rest = after;
    }
    out
}

fn score(network: &Network, units: &[Unit]) -> Result<Vec<Scored>, RunError> {
    match units {
        [Unit::Images { pixels, labels }] => {
            let batch = Batch::Images { pixels: pixels.clone(), count: labels.len() };
            let logits = network.head(&network.hidden(&batch)?)?;
            let rows = rows(&logits).map_err(|e| network.failed(e))?;
            let mut scored = Scored { predicted: labels.len(), ..Scored::default() };
            for (row, &label) in rows.1.chunks_exact(rows.0.max(1)).zip(labels) {
                let best = highest(row);
                scored.hits += usize::from(best == Some(label as usize));
                scored.nats += cross_entropy(row, label);
            }
            finite(network, &[scored]).map(|()| vec![scored])
        }
        windows => text(network, windows),
    }
}

/// Windows of one length.
fn text(network: &Network, units: &[Unit]) -> Result<Vec<Scored>, RunError> {
    let windows: Vec<(&Vec<u32>, usize)> = units
        .iter()
        .filter_map(|u| match u {
            Unit::Window { tokens, bytes } => Some((tokens, *bytes)),
            Unit::Images { .. } => None,
        })
        .collect();
    let batch = Batch::Tokens(windows.iter().map(|(tokens, _)| (*tokens).clone()).collect());
    let hidden = network.hidden(&batch)?;
    let length = windows.first().map_or(0, |(tokens, _)| tokens.len());
    let mut scored: Vec<Scored> = windows
        .iter()
        .map(|(_, bytes)| Scored { bytes: *bytes, predicted: length.saturating_sub(1), ..Scored::default() })
        .collect();
    let count = windows.len() * length;
    let (mut at, mut step) = (0, 64);
    while at < count {
        // The first piece tells how wide the logits are.
        let take = step.min(count - at);
        let piece = hidden.narrow(0, at, take).and_then(|h| h.contiguous()).map_err(|e| network.failed(e))?;
        let (width, logits) = rows(&network.head(&piece)?).map_err(|e| network.failed(e))?;
        for (i, row) in logits.chunks_exact(width.max(1)).enumerate() {
            let (window, position) = ((at + i) / length, (at + i) % length);
            let next = windows.get(window).and_then(|(tokens, _)| tokens.get(position + 1));
            if let (Some(&next), Some(scored)) = (next, scored.get_mut(window)) {
                scored.nats += cross_entropy(row, next);
                scored.hits += usize::from(highest(row) == Some(next as usize));
            }
        }
        at += take;
        step = (LOGITS / width.max(1)).max(64);
    }
    finite(network, &scored).map(|()| scored)
}

/// Width of the rows and their numbers.
fn rows(logits: &Tensor) -> candle_core::Result<(usize, Vec<f32>)> {
    Ok((logits.dim(candle_core::D::Minus1)?, logits.flatten_all()?.to_vec1()?))
}

fn highest(row: &[f32]) -> Option<usize> {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.map(|(i, _)| i)
}

/// log Σ exp(l) − l of the label, the largest subtracted first; terms in `f32`, their sum in `f64`.
fn cross_entropy(row: &[f32], label: u32) -> f64 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.chunks(512).map(|some| f64::from(some.iter().map(|l| (l - most).exp()).sum::<f32>())).sum();
    let own = row.get(label as usize).copied().unwrap_or(f32::NAN);
    sum.ln() - f64::from(own - most)
}

fn finite(network: &Network, scored: &[Scored]) -> Result<(), RunError> {
    if scored.iter().all(|s| s.nats.is_finite()) {
        return Ok(());
    }
    let what = "the logits are no numbers: a weight or a treated layer holds infinities or NaN";
    Err(network.failed(candle_core::Error::Msg(what.to_owned())))
}

fn summary(scored: &[Scored], slice: &Slice, share: f64, seconds: f64) -> Measured {
    let images = matches!(slice.units.first(), Some(Unit::Images { .. }));
    let nats: f64 = scored.iter().map(|s| s.nats).sum();
    let predicted: usize = scored.iter().map(|s| s.predicted).sum();
    let (hits, bytes) = (scored.iter().map(|s| s.hits).sum::<usize>(), scored.iter().map(|s| s.bytes).sum::<usize>());
    let mean = nats / predicted.max(1) as f64;
    if images {
        let value = hits as f64 / predicted.max(1) as f64;
        return Measured {
            metric: Metric::Accuracy,
            value,
            standard_error: (value * (1.0 - value) / predicted.max(1) as f64).sqrt(),
            nats: mean,
            tokens: 0,
            bytes: 0,
            examples: predicted,
            perplexity: None,
            seconds,
            share,
            parts: scored.iter().map(|s| [s.hits as f64, s.predicted as f64]).collect(),
        };
    }
    let parts: Vec<[f64; 2]> = scored.iter().map(|s| [s.nats, s.bytes as f64]).collect();
    let (value, error) = ratio(&parts);
    let bits = std::f64::consts::LN_2.recip();
    Measured {
        metric: Metric::BitsPerByte,
        value: value * bits,
        standard_error: error * bits,
        nats: mean,
        tokens: predicted,
        bytes,
        examples: 0,
        perplexity: Some(mean.exp()),
        seconds,
        share,
        parts,
    }
}

/// Σy/Σx and its standard error, √(n/(n−1) · Σ(y − r·x)²) / Σx: the ratio estimator of Cochran, Sampling Techniques
/// (1977), section 6.4, with the windows as a sample.
fn ratio(parts: &[[f64; 2]]) -> (f64, f64) {
    let (y, x) = parts.iter().fold((0.0, 0.0), |(y, x), p| (y + p[0], x + p[1]));
    if x == 0.0 {
        return (0.0, 0.0);
    }
    let (r, n) = (y / x, parts.len() as f64);
    let squares: f64 = parts.iter().map(|p| (p[0] - r * p[1]).powi(2)).sum();
    let error = if n > 1.0 { (squares * n / (n - 1.0)).sqrt() / x } else { 0.0 };
    (r, error)
}

#[cfg(test)]
mod tests;
