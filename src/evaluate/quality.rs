//! What a model scores on a slice, and how sure that is.

mod judge;

use super::compare::spread;
use super::data::{Slice, Unit};
use super::network::Network;
use super::{Batch, RunError};
use judge::judge;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Numbers of logits that one thread holds at once: 64 MiB.
const LOGITS: usize = 16 << 20;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What is measured.
    pub metric: Metric,
    /// The score.
    pub value: f64,
    /// Its standard error: of text that of a ratio of sums over windows, of images the binomial one. NaN where a single
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
    /// What came of each window of text, or of each example.
    pub parts: Vec<Part>,
}

/// What came of one window, or of one example.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Part {
    /// Cross-entropy, summed up.
    pub nats: f64,
    /// Tokens or examples whose highest logit is the right one.
    pub hits: f64,
    /// Predicted tokens, or 1.
    pub count: f64,
    /// UTF-8 bytes that the predicted tokens stand for; 0 for images.
    pub bytes: f64,
}

/// Runs the network over a slice. `tell` hears the running result after each batch and says whether to go on; `None`
/// when it did not. Batches are shared out over the network's threads.
pub fn measure(
    network: &Network,
    slice: &Slice,
    tell: &mut dyn FnMut(&Measured) -> bool,
) -> Result<Option<Measured>, RunError> {
    if let Some(what) = network.speechless() {
        return Err(RunError::Misfit(format!("{} {what}; calibrate runs it", network.name())));
    }
    let start = Instant::now();
    let all: usize = slice.units.iter().map(Unit::len).sum();
    let (lanes, tokens) = network.lanes(all);
    let batches = batches(&slice.units, tokens);
    let (mut scored, mut run): (Vec<Part>, usize) = (Vec::with_capacity(slice.units.len()), 0);
    let mut last = None;
    for round in batches.chunks(lanes) {
        let each: Result<Vec<Vec<Part>>, RunError> =
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

/// Units that are run together: windows of one length, as many as hold about so many tokens; images as they
/// come.
fn batches(units: &[Unit], together: usize) -> Vec<&[Unit]> {
    let mut out = Vec::new();
    let mut rest = units;
    while let Some(first) = rest.first() {
        let most = match first {
            Unit::Window { tokens, .. } => (together / tokens.len().max(1)).max(1),
            Unit::Images { .. } => 1,
        };
        let alike = rest.iter().take(most).take_while(|u| u.len() == first.len()).count().max(1);
        let (batch, after) = rest.split_at(alike);
        out.push(batch);
        rest = after;
    }
    out
}

fn score(network: &Network, units: &[Unit]) -> Result<Vec<Part>, RunError> {
    match units {
        [Unit::Images { pixels, labels }] => {
            let batch = Batch::Images { pixels: pixels.clone(), count: labels.len() };
            let logits = network.head(&network.hidden(&batch)?)?;
            let said = judge(&logits, labels).map_err(|e| network.failed(e))?;
            let one = |s: judge::Said| Part { nats: s.nats, hits: f64::from(u8::from(s.hit)), count: 1.0, bytes: 0.0 };
            let scored: Vec<Part> = said.into_iter().map(one).collect();
            finite(network, &scored).map(|()| scored)
        }
        windows => text(network, windows),
    }
}

/// Windows of one length.
fn text(network: &Network, units: &[Unit]) -> Result<Vec<Part>, RunError> {
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
    let predicted = length.saturating_sub(1) as f64;
    let mut scored: Vec<Part> =
        windows.iter().map(|(_, bytes)| Part { bytes: *bytes as f64, count: predicted, ..Part::default() }).collect();
    let count = windows.len() * length;
    let (mut at, mut step) = (0, 64);
    while at < count {
        // The first piece tells how wide the logits are.
        let take = step.min(count - at);
        let piece = hidden.narrow(0, at, take).and_then(|h| h.contiguous()).map_err(|e| network.failed(e))?;
        let logits = network.head(&piece)?;
        let next = |i: usize| windows.get(i / length).and_then(|(tokens, _)| tokens.get(i % length + 1)).copied();
        // What follows a window's last token is not known: whatever is said of it does not count.
        let right: Vec<u32> = (at..at + take).map(|i| next(i).unwrap_or(0)).collect();
        let said = judge(&logits, &right).map_err(|e| network.failed(e))?;
        for (i, said) in (at..).zip(said) {
            if let (Some(_), Some(scored)) = (next(i), scored.get_mut(i / length)) {
                scored.nats += said.nats;
                scored.hits += f64::from(u8::from(said.hit));
            }
        }
        at += take;
        step = (LOGITS / logits.dim(1).unwrap_or(1).max(1)).max(64);
    }
    finite(network, &scored).map(|()| scored)
}

fn finite(network: &Network, scored: &[Part]) -> Result<(), RunError> {
    if scored.iter().all(|s| s.nats.is_finite()) {
        return Ok(());
    }
    Err(network.failed(candle_core::Error::Msg(network.blame())))
}

fn summary(scored: &[Part], slice: &Slice, share: f64, seconds: f64) -> Measured {
    let images = matches!(slice.units.first(), Some(Unit::Images { .. }));
    let nats: f64 = scored.iter().map(|s| s.nats).sum();
    let predicted = scored.iter().map(|s| s.count).sum::<f64>() as usize;
    let (hits, bytes) = (scored.iter().map(|s| s.hits).sum::<f64>(), scored.iter().map(|s| s.bytes).sum::<f64>());
    let mean = nats / predicted.max(1) as f64;
    if images {
        let value = hits / predicted.max(1) as f64;
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
            parts: scored.to_vec(),
        };
    }
    let [value, error] = spread(scored.iter().map(|s| (s.nats, s.bytes)));
    let bits = std::f64::consts::LN_2.recip();
    Measured {
        metric: Metric::BitsPerByte,
        value: value * bits,
        standard_error: error * bits,
        nats: mean,
        tokens: predicted,
        bytes: bytes as usize,
        examples: 0,
        perplexity: Some(mean.exp()),
        seconds,
        share,
        parts: scored.to_vec(),
    }
}

#[cfg(test)]
mod tests;
