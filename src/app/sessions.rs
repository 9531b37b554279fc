//! Earlier sessions: what is told to the log, and taking one up again.

use super::keymap;
use super::view::View;
use super::{Action, App, Code, Effect, Key, Overlay};
use crate::plan::project;
use crate::session::{Ending, Found, Line, Listing, Note, Replayed};

/// Earlier sessions of the model, and what the log of this one knows already.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    /// Earlier ones, newest first, as they were listed last.
    pub found: Vec<Found>,
    /// The view that the log knows.
    told: Option<View>,
    /// How many plans put aside it knows.
    aside: usize,
    /// Whether a key was pressed yet.
    pub(super) touched: bool,
}

impl App {
    /// Goes on where a session ended: its plan, its history, its view.
    pub fn resume(&mut self, replayed: &Replayed) {
        self.plan = replayed.plan.clone();
        self.outcome = project(&self.model, &self.facts, &self.refined, &self.plan);
        self.put_aside(&replayed.snapshots);
        if let Some(words) = &replayed.view {
            self.look(words);
        }
        // The log knows all that.
        self.sessions.told = Some(self.view());
        self.sessions.aside = self.frontier.snapshots.len();
    }

    /// What changed since the last time, for the log.
    pub(super) fn log(&mut self, effects: &mut Vec<Effect>) {
        let view = self.view();
        if self.sessions.told.as_ref() != Some(&view) {
            let at = self.now.as_millis() as u64;
            // Where the dashboard opens is no news.
            if self.sessions.told.is_some() {
                effects.push(Effect::Log(Line::View { at, view: self.view_words(&view) }.into()));
            }
            self.sessions.told = Some(view);
        }
        let now = self.now;
        effects.extend(self.plan.news().into_iter().map(|news| Effect::Log(Note::News(news, now))));
        // A plan put aside is the plan as it is.
        for snapshot in self.frontier.snapshots.iter().skip(self.sessions.aside) {
            let line = Line::Snapshot { at: self.now.as_millis() as u64, name: snapshot.name };
            effects.push(Effect::Log(line.into()));
        }
        self.sessions.aside = self.frontier.snapshots.len();
    }

    /// Takes in which earlier sessions there are: offered when the user asked, or has done nothing yet.
    pub(super) fn sessions_listed(&mut self, mut listing: Listing, asked: bool) {
        // Where all was taken back there is nothing to go on with, unless the user looks for it.
        listing.found.retain(|f| asked || f.has_plan());
        if let Some(note) = listing.note {
            self.say(note);
        }
        let open = self.overlay.is_some() || self.typing.is_some();
        let key = keymap::key_of(Action::Sessions).unwrap_or_default();
        if listing.found.is_empty() {
            if asked {
                self.say("there is no earlier session of this model");
            }
        } else if !open && (asked || !self.sessions.touched) {
            // The newest that nobody else has open.
            let free = listing.found.iter().position(|f| f.ending != Ending::Elsewhere);
            self.overlay = Some(Overlay::Sessions { cursor: free.unwrap_or(0) });
        } else if self.status.is_none() {
            self.say(format!("{key} lists the earlier sessions of this model"));
        }
        self.sessions.found = listing.found;
    }

    /// A key while the sessions are offered. All but a few close the list and do what they always do.
    pub(super) fn sessions_key(&mut self, key: Key, cursor: usize, effects: &mut Vec<Effect>) {
        let last = self.sessions.found.len().saturating_sub(1);
        match key.code {
            Code::Up | Code::Down if last > 0 => {
                let next = if key.code == Code::Up { cursor.saturating_sub(1) } else { (cursor + 1).min(last) };
                self.overlay = Some(Overlay::Sessions { cursor: next });
            }
            Code::Enter => {
                self.overlay = None;
                if let Some(found) = self.sessions.found.get(cursor).cloned() {
                    self.take_up(&found, effects);
                }
            }
            Code::Esc => self.decline(),
            _ => {
                self.decline();
                self.key(key, effects);
            }
        }
    }

    /// Goes on without an earlier session.
    pub(super) fn decline(&mut self) {
        self.overlay = None;
        let key = keymap::key_of(Action::Sessions).unwrap_or_default();
        self.say(format!("{key} lists the earlier sessions again"));
    }

    fn take_up(&mut self, found: &Found, effects: &mut Vec<Effect>) {
        // What was done so far is in its own log.
        self.log(effects);
        self.resume(&found.replayed);
        effects.push(Effect::TakeUp { path: found.path.clone(), whole: found.replayed.whole });
        let (undo, redo) = self.plan.depth();
        self.say(format!("taken up where it ended {}: undo {undo}, redo {redo}", found.ago()));
    }
}
