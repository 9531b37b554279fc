//! Between errors and pictures of weights and those of outputs.

use super::App;
use crate::model::LayerId;
use crate::probe::book::LayerFacts;

impl App {
    /// What is known of a layer: of its weights, or of its matrix weighted by activations.
    pub fn facts_of(&self, layer: LayerId) -> &LayerFacts {
        let facts = self.facts.of(layer);
        if self.activations { facts.weighted() } else { facts }
    }

    /// From weights to activations, and back.
    pub(super) fn switch(&mut self) {
        if !self.model.layers.iter().any(|l| l.inputs.is_some()) {
            self.say(
                "no activations: `slimscope calibrate MODEL --data FILE -o CAL`, then open with --calibration CAL",
            );
            return;
        }
        self.activations = !self.activations;
        self.say(if self.activations {
            "errors of outputs; f whitened and y wanda, obs choose by activations too"
        } else {
            "errors of weights"
        });
        self.rebuild_rows();
    }
}
