//! Measuring for a command that needs facts.

use super::error::CliError;
use super::output::Meter;
use crate::engine::{Engine, Report, Request, Settings};
use crate::model::{Layer, LayerId, Model};
use crate::probe::Probe;
use crate::probe::book::FactBook;
use crate::source::Weights;
use std::sync::{Arc, mpsc};

/// What is measured, and how.
pub struct Gather<'a> {
    /// The checkpoint.
    pub model: &'a Arc<Model>,
    /// Where its weights are.
    pub weights: Weights,
    /// The layers, in order.
    pub layers: &'a [LayerId],
    /// What of them.
    pub probes: Vec<&'static dyn Probe>,
    /// Whether what runs on request only is wanted.
    pub certify: bool,
    /// The engine's settings.
    pub settings: Settings,
}

impl Gather<'_> {
    /// Measures; `each` is called whenever something new is known.
    pub fn run(
        self,
        each: &mut dyn FnMut(&FactBook, &mut Meter) -> Result<(), CliError>,
    ) -> Result<FactBook, CliError> {
        let only = Some(self.layers.to_vec().into());
        let settings = Settings { only, probes: self.probes, layer_by_layer: true, ..self.settings };
        let (tell, inbox) = mpsc::channel();
        let mut engine = Engine::start(Arc::clone(self.model), self.weights, settings, move |r| drop(tell.send(r)))?;
        let mut asked = engine.ask(Request::Focus { seen: Vec::new() });
        let sought = |id: &&LayerId| self.certify && self.model.layer(**id).is_some_and(Layer::measurable);
        for &layer in self.layers.iter().filter(sought) {
            asked = engine.ask(Request::Certify { layer });
        }
        let mut facts = FactBook::new(self.model.layers.len());
        let mut meter = Meter::default();
        for report in inbox {
            match report {
                Report::Fact { layer, fact } => facts.merge(layer, fact),
                Report::Failed { layer, why } => facts.fail(layer, why),
                Report::Progress(p) => meter.show(&p),
                Report::Idle { requests } if requests >= asked => break,
                Report::Idle { .. }
                | Report::Refined { .. }
                | Report::Preview { .. }
                | Report::Curves { .. }
                | Report::Spread { .. }
                | Report::Quality { .. }
                | Report::Sensitivity { .. } => {}
            }
            each(&facts, &mut meter)?;
        }
        meter.clear();
        Ok(facts)
    }
}
