//! What lies over the panels: the help page, explanations, the offer of earlier sessions.

use super::keymap::{self, BINDINGS, Binding};
use super::message::{Code, Effect, Key};
use super::prompt::{Prompt, Typed};
use super::{Action, App};

/// What lies over the panels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlay {
    /// The key map, searchable.
    Help {
        /// What was typed to search.
        search: Prompt,
        /// The chosen entry.
        cursor: usize,
    },
    /// What the numbers of the lens mean.
    Explain {
        /// First line shown.
        scroll: usize,
    },
    /// Formats to leave in.
    Leaving(super::Leaving),
    /// Earlier sessions to take up.
    Sessions {
        /// The chosen one.
        cursor: usize,
    },
}

impl Overlay {
    /// The help page from its beginning.
    pub fn help() -> Self {
        Self::Help { search: Prompt::default(), cursor: 0 }
    }
}

/// Entries of the help page that match a search.
pub fn entries(search: &str) -> Vec<&'static Binding> {
    let words: Vec<String> = search.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let matches = |b: &&Binding| {
        let keys: Vec<String> = b.keys.iter().map(|k| k.label()).collect();
        let text = format!("{} {} {}", b.group, b.action.words(), keys.join(" ")).to_lowercase();
        words.iter().all(|w| text.contains(w.as_str()))
    };
    BINDINGS.iter().filter(matches).collect()
}

impl App {
    pub(super) fn overlay_key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        let bound = keymap::action(key);
        match (&mut self.overlay, bound) {
            // What must always work.
            (_, Some(action @ Action::Suspend)) => self.act(action, effects),
            (_, Some(Action::Quit)) if key.ctrl => effects.push(Effect::Quit),
            (Some(Overlay::Sessions { cursor }), _) => {
                let cursor = *cursor;
                self.sessions_key(key, cursor, effects);
            }
            (Some(Overlay::Leaving(_)), _) => self.leaving_key(key, effects),
            (Some(Overlay::Explain { scroll }), bound) => match bound {
                Some(Action::Move(n)) => *scroll = scroll.saturating_add_signed(n as isize),
                Some(Action::Page(n)) => *scroll = scroll.saturating_add_signed(n as isize * 8),
                Some(Action::First) => *scroll = 0,
                Some(Action::Quit) => effects.push(Effect::Quit),
                Some(action @ Action::Lens(_)) => {
                    *scroll = 0;
                    self.act(action, effects);
                }
                Some(Action::Help) => self.overlay = Some(Overlay::help()),
                _ => self.overlay = None,
            },
            (Some(Overlay::Help { search, cursor }), bound) => {
                let found = entries(&search.text);
                let last = found.len().saturating_sub(1);
                match key.code {
                    Code::Up | Code::Down | Code::PageUp | Code::PageDown => {
                        let step: isize = match bound {
                            Some(Action::Page(n)) => n as isize * 8,
                            Some(Action::Move(n)) => n as isize,
                            _ => 0,
                        };
                        *cursor = cursor.saturating_add_signed(step).min(last);
                    }
                    Code::Enter => {
                        let chosen = found.get(*cursor).map(|b| b.action);
                        self.overlay = None;
                        if let Some(action) = chosen.filter(|a| *a != Action::Help) {
                            self.act(action, effects);
                        }
                    }
                    Code::Char('?') => self.overlay = None,
                    _ => match search.key(key) {
                        Typed::Changed => *cursor = 0,
                        Typed::Given => self.overlay = None,
                        Typed::Done | Typed::Other => {}
                    },
                }
            }
            (None, _) => {}
        }
    }
}
