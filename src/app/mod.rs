//! State, and the one way it changes: [`App::update`]. No threads, no files, no clock, no terminal.

mod action;
mod activations;
mod exact;
mod frontier;
pub mod grid;
mod index;
pub mod keymap;
mod knobs;
mod leaving;
mod lens_id;
mod list;
pub mod message;
pub mod metric;
mod overlay;
mod pointer;
pub mod prompt;
mod quality;
mod reports;
mod rules;
mod sessions;
pub mod shape;
mod spectrum_view;
mod view;

pub use action::Action;
pub use frontier::{Frontier, Measure, Snapshot};
pub use index::Index;
pub use knobs::{Reading, Scope, bits_at};
pub use leaving::Leaving;
pub use lens_id::LensId;
pub use list::{List, Row, Sort};
pub use message::{Code, Effect, Key, Msg, Target};
pub use overlay::{Overlay, entries as help_entries};
pub use quality::{Offer, Quality, QualityPanel, Step, TRACE, Visit};
pub use sessions::Sessions;
pub use shape::Shape;
pub use spectrum_view::{Axes, SpectrumView};

use crate::engine::Progress;
use crate::model::{LayerId, Model};
pub use crate::plan::Plan;
use crate::plan::rule::Chosen;
use crate::plan::{Entry, Knob, Outcome, Treatment, project};
use crate::probe::book::FactBook;
use crate::treat::{Criterion, Factors, Granularity, Pattern, Preview, Refined};
use prompt::{Prompt, Typed};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typing {
    /// The list's filter.
    Filter {
        /// The line.
        prompt: Prompt,
        /// The filter before.
        before: String,
        /// The layer selected before: what is typed narrows the list around it.
        anchor: LayerId,
    },
    /// A value for the active knob.
    Value(Prompt),
}

/// The whole state of the dashboard.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct App {
    /// What was loaded.
    pub model: Arc<Model>,
    /// What is looked up of its layers again and again.
    pub index: Index,
    /// What is known so far.
    pub facts: FactBook,
    /// The last exact run of each layer, of whatever treatment it was.
    pub refined: Vec<Option<Arc<Refined>>>,
    /// What the user proposes.
    pub plan: Plan,
    /// What follows.
    pub outcome: Outcome,
    /// The layer list.
    pub list: List,
    /// The selected layer.
    pub selected: LayerId,
    /// The active knob.
    pub knob: Knob,
    /// The pattern in which layers are pruned from now on.
    pub pattern: Pattern,
    /// Of which matrix ranks are from now on, where a layer has such factors.
    pub form: Factors,
    /// By what it is chosen from now on what goes.
    pub criterion: Criterion,
    /// Which entries share a scale when they are rounded from now on.
    pub per: Granularity,
    /// The rule for ranks that was last gone on to.
    rule: Option<Chosen>,
    scope: Scope,
    /// The lens on screen.
    pub lens: LensId,
    /// Index of the map's metric in [`metric::METRICS`]; `None` until one is chosen.
    pub map_metric: Option<usize>,
    /// How the spectrum is looked at.
    pub spectrum: SpectrumView,
    /// Whether the lens has the whole width.
    pub expanded: bool,
    /// What lies over the panels.
    pub overlay: Option<Overlay>,
    /// What is being typed.
    pub typing: Option<Typing>,
    /// A word to the user, until the next key.
    pub status: Option<String>,
    /// How far the engine is; `None` when idle.
    pub progress: Option<Progress>,
    /// Whether the pointer is reported.
    pub mouse: bool,
    /// Columns and rows of the window.
    pub size: (u16, u16),
    /// The refinement that was asked for and has not answered.
    pub awaited: Option<(LayerId, Treatment)>,
    /// The newest estimate of a pruned spectrum, and whose it is.
    pub preview: Option<(LayerId, Arc<Preview>)>,
    /// The layer whose certificate was asked for and is not there yet.
    pub certifying: Option<LayerId>,
    /// Budgets, curves and plans put aside.
    pub frontier: Frontier,
    /// Whether errors and pictures are of outputs, by what a calibration saw, in place of weights.
    pub activations: bool,
    /// Measured quality.
    pub quality: Quality,
    /// Facts taken in so far.
    facts_seen: u64,
    /// Whether nothing more is being measured.
    idle: bool,
    /// A rule for ranks that waits for singular values, and of which layers as they were planned then.
    ruling: Option<(Chosen, Vec<(LayerId, Entry)>)>,
    /// Of each layer the last treatment that could not be run, and why.
    refine_failures: HashMap<LayerId, (Treatment, String)>,
    /// Earlier sessions, and what the log of this one knows.
    pub sessions: Sessions,
    /// Whether a value that rows may be sorted by has changed since the rows were built.
    unsorted: bool,
    /// When the rows were sorted by a measured value.
    sorted_at: Duration,
    now: Duration,
    dragging: Option<Target>,
    focus: Option<(LayerId, usize, usize, (u16, u16))>,
}

impl App {
    /// The dashboard of a model, nothing measured yet.
    pub fn new(model: Arc<Model>, size: (u16, u16)) -> Self {
        let layers = model.layers.len();
        let (facts, plan, refined) = (FactBook::new(layers), Plan::new(layers), vec![None; layers]);
        let outcome = project(&model, &facts, &refined, &plan);
        let first = model.layers.iter().find(|l| l.eligible()).or(model.layers.first());
        let selected = first.map_or(LayerId(0), |l| l.id);
        let mut app = Self {
            index: Index::of(&model),
            model,
            facts,
            refined,
            plan,
            outcome,
            list: List::default(),
            selected,
            knob: Knob::Rank,
            pattern: Pattern::default(),
            form: Factors::default(),
            criterion: Criterion::default(),
            per: Granularity::default(),
            rule: None,
            scope: Scope::default(),
            lens: LensId::Spectrum,
            map_metric: None,
            spectrum: SpectrumView::default(),
            expanded: false,
            overlay: None,
            typing: None,
            status: None,
            progress: None,
            mouse: false,
            size,
            awaited: None,
            preview: None,
            certifying: None,
            frontier: Frontier::default(),
            activations: false,
            quality: Quality::default(),
            facts_seen: 0,
            idle: false,
            ruling: None,
            refine_failures: HashMap::new(),
            sessions: Sessions::default(),
            unsorted: false,
            sorted_at: Duration::ZERO,
            now: Duration::ZERO,
            dragging: None,
            focus: None,
        };
        if app.model.layers.iter().any(|l| l.inputs.is_some()) {
            // With a calibration new edits are activation-aware, as those of `plan --calibration` are.
            app.form = Factors::Whitened;
            (app.criterion, app.pattern) = (Criterion::Wanda, Criterion::Wanda.way().pattern);
        }
        app.rebuild_rows();
        app
    }

    /// Begins with a plan; there is nothing to undo.
    pub fn open(&mut self, plan: Plan) {
        self.plan = plan;
        self.outcome = project(&self.model, &self.facts, &self.refined, &self.plan);
        // It is plan A until something is changed.
        if !self.plan.is_dense() {
            let opened = self.plan.bare();
            self.put_aside(&[('A', opened)]);
        }
    }

    /// Index of the metric that the map shows: the one chosen, else the plan's error, and while nothing is treated one that
    /// tells layers apart. Linear in the layers: to be asked once a frame.
    pub fn metric(&self) -> usize {
        let opening = || if self.plan.is_dense() { metric::UNTREATED } else { 0 };
        self.map_metric.unwrap_or_else(opening)
    }

    /// How the window divides; `None` when it is too small.
    pub fn shape(&self) -> Option<Shape> {
        Shape::of(self.size, self.expanded)
    }

    /// Rows of the list that show layers.
    pub fn list_rows(&self) -> usize {
        Shape::of(self.size, false).map_or(10, |s| s.list_rows())
    }

    /// Takes what happened at `now` (since the start) and says what the world should do.
    pub fn update(&mut self, now: Duration, msg: Msg) -> Vec<Effect> {
        self.now = now;
        let mut effects = Vec::new();
        match msg {
            Msg::Key(key) => self.key(key, &mut effects),
            Msg::Act(action) => self.act(action, &mut effects),
            Msg::Paste(text) => self.paste(&text),
            Msg::Press(target) => self.press(target, &mut effects),
            Msg::Release => self.dragging = None,
            Msg::Scroll(down) => self.move_cursor(if down { 3 } else { -3 }),
            Msg::Resize(w, h) => {
                self.size = (w, h);
                self.scroll();
            }
            Msg::Report(report) => self.reports(vec![report], &mut effects),
            Msg::Reports(reports) => self.reports(reports, &mut effects),
            Msg::Sessions { listing, asked } => self.sessions_listed(listing, asked),
            Msg::Told(text) => self.say(text),
            Msg::Saved(result) => self.saved(result),
            Msg::Tick => {}
        }
        self.follow_up(&mut effects);
        self.log(&mut effects);
        effects
    }

    /// Says something to the user until the next key.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.status = Some(text.into());
    }

    fn key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        if self.waits_for_plan(key) {
            return;
        }
        self.status = None;
        self.sessions.touched = true;
        if self.typing.is_some() {
            self.type_key(key, effects);
        } else if self.overlay.is_some() {
            self.overlay_key(key, effects);
        } else if let Some(action) = keymap::action(key) {
            self.act(action, effects);
        } else {
            self.say(format!("{} does nothing here: ? shows the keys", key.label()));
        }
    }

    fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        match action {
            Action::Quit => effects.push(Effect::Quit),
            Action::Suspend => effects.push(Effect::Suspend),
            Action::Help => self.overlay = Some(Overlay::help()),
            Action::Explain => self.overlay = Some(Overlay::Explain { scroll: 0 }),
            Action::Back => self.back(),
            Action::Filter => {
                let before = self.list.filter.clone();
                let prompt = Prompt { text: before.clone() };
                self.typing = Some(Typing::Filter { prompt, before, anchor: self.selected });
            }
            Action::Lens(LensId::Frontier) => self.budget(),
            Action::Lens(lens) => self.lens = lens,
            Action::Move(n) => self.move_cursor(n),
            Action::Page(n) => self.move_cursor(n * (self.list_rows().saturating_sub(2).max(1) as i32)),
            Action::First => self.go_to_row(0),
            Action::Last => self.go_to_row(usize::MAX),
            Action::SameRole(n) => self.same_role(n),
            Action::Scrub(n) if self.budgeting() => self.scrub_budget(n, effects),
            Action::Scrub(n) => self.scrub(n),
            Action::NextKnob => self.next_knob(),
            Action::PreviousKnob => self.previous_knob(),
            Action::NextPattern => self.next_pattern(),
            Action::NextForm => self.next_form(),
            Action::NextCriterion => self.next_criterion(),
            Action::NextRule => self.next_rule(),
            Action::TypeValue => self.typing = Some(Typing::Value(Prompt::default())),
            Action::Dense => self.make_dense(),
            Action::Pin => self.pin(),
            Action::Undo => self.undo(),
            Action::Redo => self.redo(),
            Action::Sessions => effects.push(Effect::Sessions),
            Action::NextScope => self.next_scope(),
            Action::Expand if self.lens == LensId::Frontier => self.take_row(effects),
            Action::Expand => self.expand(),
            Action::Export => self.leave_with_plan(),
            Action::Budget => self.budget(),
            Action::Allocator => self.next_allocator(),
            Action::Means => self.next_means(),
            Action::Unit => self.next_unit(),
            Action::Groups => self.next_groups(),
            Action::Multiple => self.next_multiple(),
            Action::Snapshot => self.snapshot(),
            Action::Differences => self.differences(),
            Action::Extent => self.next_extent(),
            Action::Activations => self.switch(),
            Action::Sweep => self.sweep(effects),
            Action::Fold => self.fold(),
            Action::FoldAll => self.fold_all(),
            Action::Sort => {
                self.list.sort = self.list.sort.next();
                self.rebuild_rows();
            }
            Action::ShowAll => {
                self.list.all = !self.list.all;
                self.rebuild_rows();
            }
            Action::Metric if self.lens == LensId::Frontier => self.next_measure(),
            Action::Metric if self.lens == LensId::Quality => self.next_panel(),
            Action::Metric => {
                self.map_metric = Some((self.metric() + 1) % metric::METRICS.len());
                self.lens = LensId::Map;
                if self.list.sort == Sort::Metric {
                    self.rebuild_rows();
                }
            }
            Action::Axes => self.spectrum.next_axes(),
            Action::Cumulative => self.spectrum.cumulative = !self.spectrum.cumulative,
            Action::Overlay => self.spectrum.overlay = !self.spectrum.overlay,
            Action::Cursor(n) if self.lens == LensId::Frontier => self.move_row(n),
            Action::Cursor(n) => self.move_spectrum_cursor(n),
            Action::Certify => self.certify(effects),
            Action::Mouse => {
                self.mouse = !self.mouse;
                let on = if self.mouse { "on: hold shift to select text" } else { "off" };
                self.say(format!("mouse {on}"));
                effects.push(Effect::Mouse(self.mouse));
            }
        }
    }

    fn back(&mut self) {
        if self.expanded {
            self.expanded = false;
        } else if !self.list.filter.is_empty() {
            self.list.filter.clear();
            self.rebuild_rows();
        } else if self.spectrum.cursor.is_some() {
            self.spectrum.cursor = None;
        }
    }

    fn expand(&mut self) {
        if self.lens == LensId::Map && !self.expanded {
            self.lens = LensId::Spectrum;
        } else {
            self.expanded = !self.expanded;
        }
    }

    fn type_key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        let Some(mut typing) = self.typing.take() else { return };
        let (Typing::Filter { prompt, .. } | Typing::Value(prompt)) = &mut typing;
        match prompt.key(key) {
            Typed::Changed => {
                if let Typing::Filter { prompt, anchor, .. } = &typing {
                    self.selected = *anchor;
                    self.filter(prompt.text.clone());
                }
                self.typing = Some(typing);
            }
            Typed::Done => {
                if let (Typing::Value(prompt), true) = (&typing, self.budgeting()) {
                    if let Err(why) = self.type_budget(&prompt.text, effects) {
                        self.say(why);
                    }
                } else if let Typing::Value(prompt) = &typing {
                    match prompt::value(self.knob, &prompt.text) {
                        Ok(value) => self.set(value, false),
                        Err(why) => self.say(why),
                    }
                }
            }
            Typed::Given => {
                if let Typing::Filter { before, anchor, .. } = typing {
                    self.selected = anchor;
                    self.filter(before);
                }
            }
            // Arrows and the like keep their meaning while a filter is typed; a typed value stays a value.
            Typed::Other => {
                self.typing = Some(typing);
                if let Some(action @ (Action::Move(_) | Action::Page(_) | Action::First | Action::Last)) =
                    keymap::action(key)
                {
                    self.act(action, effects);
                }
            }
        }
    }

    fn filter(&mut self, text: String) {
        self.list.filter = text;
        self.rebuild_rows();
    }

    fn paste(&mut self, text: &str) {
        match &mut self.typing {
            Some(Typing::Filter { prompt, .. }) => {
                prompt.paste(text);
                let text = prompt.text.clone();
                self.filter(text);
            }
            Some(Typing::Value(prompt)) => prompt.paste(text),
            // Pasted text is no command.
            None => {}
        }
    }

    /// Tells the engine what is wanted now, where that has changed.
    fn follow_up(&mut self, effects: &mut Vec<Effect>) {
        effects.extend(self.curves_wanted());
        effects.extend(self.budget_again());
        effects.extend(self.quality_wanted());
        let focus = (self.selected, self.list.top, self.list.rows.len(), self.size);
        if self.focus != Some(focus) {
            self.focus = Some(focus);
            effects.push(Effect::Focus { seen: self.by_interest() });
        }
        let wanted = self.wanted_refinement();
        if wanted != self.awaited {
            self.awaited = wanted;
            effects.push(match wanted {
                Some((layer, treatment)) => Effect::Refine { layer, treatment },
                None => Effect::CancelRefine,
            });
            effects.extend(wanted.and_then(|(layer, treatment)| self.previewed(layer, treatment)));
        }
    }
}

#[cfg(test)]
mod tests;
