//! Ways of looking: one file per lens. A lens draws what [`App`] holds and remembers nothing.

mod explain;
mod frontier;
mod lipschitz;
mod map;
mod quality;
mod sparsity;
mod spectrum;
mod state;

use crate::app::metric::Form;
use crate::app::{Action, App, LensId};
use crate::model::Layer;
use crate::plan::{Factors, LayerOutcome};
use crate::probe::book::LayerFacts;
use crate::widgets::{Theme, number};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

pub use explain::Entry;
pub use frontier::{row_at as frontier_row_at, slider_area as frontier_slider_area};
pub use map::layer_at as map_layer_at;
pub use quality::gauge;
pub use spectrum::plot_area as spectrum_plot_area;
pub use state::wrap;

/// What a lens looks at.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The state.
    pub app: &'a App,
    /// The selected layer.
    pub layer: &'a Layer,
    /// What was measured of it.
    pub facts: &'a LayerFacts,
    /// What the plan makes of it.
    pub outcome: &'a LayerOutcome,
    /// Whether the pictures are of the matrix weighted by its inputs.
    pub weighed: bool,
    /// Colours.
    pub theme: Theme,
    /// Whether words shorten.
    pub compact: bool,
    /// Columns for numbers beside the picture; 0 where there is no room.
    pub aside: u16,
}

impl<'a> Look<'a> {
    /// Looks at the selected layer.
    pub fn at(app: &'a App, theme: Theme) -> Option<Self> {
        let layer = app.model.layer(app.selected)?;
        let outcome = app.outcome.layers.get(app.selected.0)?;
        let shape = app.shape()?;
        // Norms, maps and budgets are of the weights; these two have a picture of either.
        let pictures = match app.lens {
            // Spatial-wise factors are of another matrix, which has no inputs.
            LensId::Spectrum => app.form_of(app.selected) != Factors::Spatial,
            LensId::Sparsity => true,
            _ => false,
        };
        let weighed = pictures && app.activations && layer.inputs.is_some();
        let facts = app.facts.of(app.selected);
        let facts = if weighed { facts.weighted() } else { facts };
        Some(Self { app, layer, facts, outcome, weighed, theme, compact: shape.compact, aside: shape.aside })
    }

    /// Said beside a picture of weights where one of activations was asked for; empty where none was.
    fn of_weights(&self) -> &'static str {
        match (self.app.activations && !self.weighed, self.layer.inputs.is_some(), self.compact) {
            (false, ..) => "",
            (true, true, _) => "of weights",
            (true, false, true) => "no activations",
            (true, false, false) => "of weights: inputs not seen",
        }
    }

    /// `0·down_proj`.
    pub fn short_name(&self) -> String {
        short_name(self.layer)
    }

    /// `block 0 · down_proj  160×432`, shorter where there is little room.
    pub fn heading(&self) -> String {
        let shape: Vec<String> = self.layer.shape.iter().map(ToString::to_string).collect();
        let block = match self.layer.block {
            Some(b) if self.compact => format!("{b}·"),
            Some(b) => format!("{} · ", self.app.model.block_words(b)),
            None => String::new(),
        };
        format!("{block}{}  {}", self.layer.label, shape.join("×"))
    }
}

/// `0·down_proj`: block and name of a layer.
pub fn short_name(layer: &Layer) -> String {
    layer.block.map_or_else(|| layer.label.clone(), |b| format!("{b}·{}", layer.label))
}

/// A way of looking.
pub trait Lens: Sync {
    /// Its name.
    fn id(&self) -> LensId;
    /// The panel's title.
    fn title(&self, look: &Look) -> String {
        let name = self.id().title();
        if look.compact { look.heading() } else { format!("{name}  {}", look.heading()) }
    }
    /// What the panel's frame says at the right.
    fn remark(&self, look: &Look) -> String;
    /// Keys that the panel's frame shows.
    fn keys(&self) -> &'static [Action];
    /// What a key does here, where that is not what it does elsewhere.
    fn word(&self, _action: Action) -> Option<&'static str> {
        None
    }
    /// Draws into the panel.
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer);
    /// What its numbers mean.
    fn explain(&self) -> &'static [Entry];
}

/// All lenses, in the order of their keys.
pub static LENSES: [&dyn Lens; 6] = [
    &spectrum::SpectrumLens,
    &sparsity::SparsityLens,
    &lipschitz::LipschitzLens,
    &map::MapLens,
    &frontier::FrontierLens,
    &quality::QualityLens,
];

/// The lens of a name.
pub fn of(id: LensId) -> &'static dyn Lens {
    LENSES.iter().copied().find(|l| l.id() == id).unwrap_or(LENSES[0])
}

/// Writes a metric's value.
pub fn write(form: Form, value: f64) -> String {
    match form {
        Form::Number => number::number(value),
        Form::Ratio => number::ratio(value),
        Form::Percent => number::percent(value),
        Form::Count => number::count(value.max(0.0) as u64),
    }
}

/// What every screen's numbers mean.
pub fn plan_entries() -> &'static [Entry] {
    explain::PLAN
}
