//! What the dashboard measures quality on, and how it comes to run the model.

use super::error::CliError;
use crate::app::Offer;
use crate::engine::quality::{KeptInCache, Open, TwoSlices};
use crate::engine::{Runner, Settings};
use crate::evaluate::{Data, Kept, Kind, Metric, Network, Slice, Trials, device::device, scorable};
use crate::model::Model;
use crate::source::Weights;
use crate::widgets::number::{bytes, count};
use std::path::Path;
use std::sync::Arc;

/// Bytes of text in the small slice and in the large one.
const TEXT: [usize; 2] = [4096, 65536];
/// Windows of text in the small slice, at the least.
const WINDOWS: usize = 8;
/// Images in the small slice; the large one holds all.
const IMAGES: usize = 500;
/// Multiply-accumulates that a measurement may take unasked: some ten seconds of two cores.
const UNASKED: f64 = 6e11;

/// What can be measured, or why nothing can.
pub type Found = Result<(Offer, Arc<Open>), String>;

/// Looks for data and prepares to run the model on them; loads nothing. Data that were named must do.
pub fn find(
    model: &Arc<Model>,
    weights: &Weights,
    data: Option<&Path>,
    settings: &Settings,
) -> Result<Found, CliError> {
    let data = match data {
        Some(path) => Some(Data::open(path, model).map_err(anyhow::Error::new)?),
        None => match Data::beside(model) {
            Ok(data) => data,
            Err(why) => return Ok(Err(why.to_string())),
        },
    };
    if let Err(why) = scorable(model) {
        return Ok(Err(format!("the model cannot be measured here: {why}")));
    }
    let Some(data) = data else {
        return Ok(Err(
            "no eval.safetensors lies beside the model: --data FILE names text or labelled images".to_owned()
        ));
    };
    let slices = match slices(model, &data) {
        Ok(slices) => slices,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let units = slices[0].units.len();
    let passes = slices[0].len() as f64 * model.macs() as f64;
    let held = model.params() * 4;
    let images = matches!(data.kind, Kind::Images(_));
    let offer = Offer {
        metric: if images { Metric::Accuracy } else { Metric::BitsPerByte },
        sizes: [0, 1].map(|i| {
            let n = slices[i].range.len() as u64;
            if images { format!("{} images", count(n)) } else { bytes(n) }
        }),
        automatic: passes <= UNASKED && held <= settings.memory,
        units: words(&data, &slices[0]).into_iter().take(units.max(1)).collect(),
        slices: [0, 1].map(|i| slices[i].name.clone()),
    };
    let (model, weights, settings) = (Arc::clone(model), weights.clone(), settings.clone());
    let open = move || {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(settings.threads.max(1))
            .thread_name(|i| format!("quality-{i}"))
            .build()
            .map_err(|e| e.to_string())?;
        let device = device(None).map_err(|e| e.to_string())?;
        let network = Network::load(&model, &weights, &device).map_err(|e| e.to_string())?.on(Arc::new(pool));
        let kept = settings.cache.clone().map(|cache| Arc::new(KeptInCache(cache)) as Arc<dyn Kept>);
        let trials = Trials::new(Arc::clone(&model), weights.clone(), network, settings.memory, kept);
        let trials = trials.map_err(|e| e.to_string())?;
        Ok(Box::new(TwoSlices { trials, slices: slices.clone() }) as Box<dyn Runner>)
    };
    Ok(Ok((offer, Arc::new(open))))
}

/// The engine gets what runs the model, the dashboard what it may offer.
pub fn split(found: Found, settings: &mut Settings) -> Result<Offer, String> {
    found.map(|(offer, open)| {
        settings.quality = Some(open);
        offer
    })
}

/// The two slices: the first part of the data.
fn slices(model: &Model, data: &Data) -> Result<[Slice; 2], crate::evaluate::DataError> {
    let all = data.len();
    let lengths = match data.kind {
        Kind::Text(_) => TEXT.map(|n| n.min(all)),
        Kind::Images(_) => [IMAGES.min(all), all],
    };
    let small = data.slice(model, 0..lengths[0], None)?;
    // Of a window or two nobody could say how sure the measurement is: shorter ones, and the name says so.
    let short = small.context.is_some() && small.units.len() < WINDOWS;
    let context =
        short.then(|| (small.len() / WINDOWS).max(64)).filter(|c| small.context.is_some_and(|most| *c < most));
    let mut both = [data.slice(model, 0..lengths[0], context)?, data.slice(model, 0..lengths[1], context)?];
    if let Some(tokens) = context {
        both.iter_mut().for_each(|slice| slice.name.push_str(&format!(", windows of {tokens}")));
    }
    Ok(both)
}

/// What each part of a slice is, in short: its text, or the number and label of an image.
fn words(data: &Data, slice: &Slice) -> Vec<String> {
    match &data.kind {
        Kind::Images(images) => slice
            .range
            .clone()
            .map(|i| format!("image {i}, label {}", images.labels.get(i).copied().unwrap_or(0)))
            .collect(),
        // First tokens are predicted by nothing and counted nowhere: windows are placed by their share.
        Kind::Text(text) => slice
            .units
            .iter()
            .scan(0, |run, unit| {
                let at = |tokens: usize| slice.range.start + slice.range.len() * tokens / slice.len().max(1);
                let (from, to) = (at(*run), at(*run + unit.len()));
                *run += unit.len();
                Some((from, to))
            })
            .map(|(from, to)| {
                let piece = text.get(from..to.min(text.len())).unwrap_or_default();
                let words = String::from_utf8_lossy(piece).replace(|c: char| c.is_control(), " ");
                words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect()
            })
            .collect(),
    }
}
