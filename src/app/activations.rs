//! Between errors and pictures of weights and those of outputs.

use super::App;

impl App {
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
            "errors of outputs; factors whitened and asvd (f), criteria wanda, ria and obs (y) choose by activations too"
        } else {
            "errors of weights"
        });
        self.rebuild_rows();
    }
}
