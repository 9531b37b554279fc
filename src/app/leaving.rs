//! Leaving with the plan: what a runtime will not do with it, and in which format it is written.

use super::message::{Code, Effect, Key};
use super::prompt::{Prompt, Typed};
use super::{Action, App, Overlay, keymap};
use crate::export::lint::{Finding, TARGETS, Target, findings};
use crate::export::recipe::{EXPORTERS, Exporter, Recipe};
use crate::export::save::Save;
use crate::plan::file::{Budget, Made};
use std::path::PathBuf;
use std::sync::Arc;

/// The page over the panels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaving {
    /// The chosen row: the plan file, then the exporters.
    pub row: usize,
    /// Number of the runtime in [`TARGETS`]; `None`: the one the format is for.
    pub target: Option<usize>,
    /// The name of the file, while it is typed.
    pub path: Option<Prompt>,
    /// What the format leaves out of the plan, or why it cannot hold it.
    pub said: Option<Result<Vec<String>, String>>,
}

impl Leaving {
    /// The format of the row; `None` for a plan file.
    pub fn format(&self) -> Option<&'static Exporter> {
        self.row.checked_sub(1).and_then(|i| EXPORTERS.get(i).copied())
    }
    /// The runtime that remarks are for.
    pub fn target(&self) -> Target {
        let own = self.format().map_or(Target::Any, |f| f.target);
        self.target.and_then(|i| TARGETS.get(i)).map_or(own, |t| t.0)
    }
    /// Rows in all.
    pub fn rows() -> usize {
        EXPORTERS.len() + 1
    }
}

impl App {
    /// What a runtime will not do with the plan.
    pub fn findings(&self, target: Target) -> Vec<Finding> {
        findings(&self.model, &self.plan, &self.outcome, target)
    }

    pub(super) fn leave_with_plan(&mut self) {
        self.overlay = Some(Overlay::Leaving(Leaving::default()));
    }

    /// Tries the chosen format on the plan; nothing is written.
    fn try_format(&mut self) {
        let Some(Overlay::Leaving(leaving)) = &self.overlay else { return };
        let said = leaving.format().map(|format| {
            let (made, path) = (Made::default(), PathBuf::from(format.file));
            let recipe =
                Recipe { model: &self.model, plan: &self.plan, made: &made, facts: &self.facts, path: Some(&path) };
            format.write(&recipe).map(|e| e.notes).map_err(|e| e.to_string())
        });
        if let Some(Overlay::Leaving(leaving)) = &mut self.overlay {
            leaving.said = said;
        }
    }

    /// A name for the file.
    fn suggested(&self, leaving: &Leaving) -> String {
        let name: String =
            self.model.name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
        match leaving.format() {
            None => format!("{name}-{}.toml", self.plan_name().0),
            Some(format) => format.file.to_owned(),
        }
    }

    pub(super) fn leaving_key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        let Some(Overlay::Leaving(leaving)) = &mut self.overlay else { return };
        if let Some(prompt) = &mut leaving.path {
            match prompt.key(key) {
                Typed::Done => {
                    let text = prompt.text.trim().to_owned();
                    let leaving = leaving.clone();
                    self.save(&leaving, &text, effects);
                }
                // An empty name is no reason to leave.
                Typed::Given if key.code == Code::Backspace => {}
                Typed::Given => leaving.path = None,
                Typed::Changed | Typed::Other => {}
            }
            return;
        }
        let last = Leaving::rows() - 1;
        match (key.code, keymap::action(key)) {
            (Code::Enter, _) => {
                let suggested = Leaving::clone(leaving);
                let text = self.suggested(&suggested);
                if let Some(Overlay::Leaving(leaving)) = &mut self.overlay {
                    leaving.path = Some(Prompt { text });
                }
            }
            (_, Some(Action::Move(n))) => leaving.row = leaving.row.saturating_add_signed(n as isize).min(last),
            (_, Some(Action::First)) => leaving.row = 0,
            (_, Some(Action::Last)) => leaving.row = last,
            (Code::Tab | Code::Char('t'), _) => {
                let here = TARGETS.iter().position(|t| t.0 == leaving.target()).unwrap_or(0);
                leaving.target = Some((here + 1) % TARGETS.len());
            }
            (Code::BackTab, _) => {
                let here = TARGETS.iter().position(|t| t.0 == leaving.target()).unwrap_or(0);
                leaving.target = Some((here + TARGETS.len() - 1) % TARGETS.len());
            }
            (_, Some(Action::Help)) => self.overlay = Some(Overlay::help()),
            _ => self.overlay = None,
        }
        self.try_format();
    }

    /// A plan was written, or why not: then the name can be changed.
    pub(super) fn saved(&mut self, result: Result<String, String>) {
        match result {
            Ok(said) => {
                if matches!(self.overlay, Some(Overlay::Leaving(_))) {
                    self.overlay = None;
                }
                self.say(said);
            }
            Err(why) => self.refused(why),
        }
    }

    fn refused(&mut self, why: String) {
        self.status = None;
        match &mut self.overlay {
            Some(Overlay::Leaving(leaving)) => leaving.said = Some(Err(why)),
            _ => self.say(why),
        }
    }

    fn save(&mut self, leaving: &Leaving, text: &str, effects: &mut Vec<Effect>) {
        let (text, replace) = text.strip_suffix('!').map_or((text, false), |t| (t, true));
        if text.is_empty() {
            self.refused("no name was given".to_owned());
            return;
        }
        let home = text.strip_prefix("~/").zip(std::env::home_dir());
        let path = home.map_or_else(|| PathBuf::from(text), |(rest, home)| home.join(rest));
        let follows = self.frontier.follows;
        let made = Made {
            by: format!("slimscope {}", env!("CARGO_PKG_VERSION")),
            allocator: follows.then(|| self.frontier.allocator().to_owned()),
            budget: follows
                .then(|| Budget { of: self.frontier.ask.of.word().to_owned(), keep: self.frontier.ask.keep }),
        };
        self.say(format!("writing {text} …"));
        effects.push(Effect::Save(Arc::new(Save {
            model: Arc::clone(&self.model),
            plan: self.plan.bare(),
            made,
            facts: self.facts.clone(),
            format: leaving.format(),
            path,
            replace,
        })));
    }
}
