//! The dashboard without a terminal: keys in, the settled state out. `slimscope frame`, tests and benches use it; the
//! state and the drawing are those of the terminal.

use crate::app::{App, Effect, Key, Msg, Offer, Plan};
use crate::engine::{Engine, EngineError, Report, Settings};
use crate::model::Model;
use crate::session::{Line, Replayed};
use crate::source::Weights;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Keys are pressed so far apart, so that each is an edit of its own.
const APART: Duration = Duration::from_secs(1);

/// Reports that are taken in together at the most.
const TOGETHER: usize = 4096;

/// A state with its engine.
pub struct Drive {
    /// The state.
    pub app: App,
    engine: Engine,
    reports: mpsc::Receiver<Report>,
    /// Requests made so far.
    asked: u64,
    /// How many of them have been answered in full.
    settled: u64,
    now: Duration,
    left: bool,
    /// Lines for the log of the session.
    pub log: Vec<Line>,
}

impl Drive {
    /// Opens the dashboard of a model in a window of this size; quality is not measured.
    pub fn start(model: Model, weights: Weights, settings: Settings, size: (u16, u16)) -> Result<Self, EngineError> {
        Self::measuring(Arc::new(model), weights, settings, Err("not asked for".to_owned()), size)
    }

    /// The same, with what there is to measure quality on, or why there is nothing.
    pub fn measuring(
        model: Arc<Model>,
        weights: Weights,
        settings: Settings,
        offer: Result<Offer, String>,
        size: (u16, u16),
    ) -> Result<Self, EngineError> {
        let mut app = App::new(model, size);
        app.offer(offer);
        let (tell, reports) = mpsc::channel();
        let engine = Engine::start(Arc::clone(&app.model), weights, settings, move |r| drop(tell.send(r)))?;
        let mut drive =
            Self { app, engine, reports, asked: 0, settled: 0, now: Duration::ZERO, left: false, log: Vec::new() };
        drive.send(Msg::Tick);
        Ok(drive)
    }

    /// Changes the state and asks the engine for what the change asks for.
    pub fn send(&mut self, msg: Msg) {
        let effects = self.app.update(self.now, msg);
        for request in effects.iter().filter_map(Effect::request) {
            self.asked = self.engine.ask(request);
        }
        for effect in effects {
            match effect {
                Effect::Log(note) => self.log.push(note.line(&self.app.model)),
                // What is only drawn changes no file.
                Effect::Save(save) => {
                    self.app.update(self.now, Msg::Saved(Ok(format!("{}: not written here", save.path.display()))));
                }
                Effect::Quit => {
                    self.log.push(Line::Quit { at: self.now.as_millis() as u64 });
                    self.left = true;
                }
                _ => {}
            }
        }
    }

    /// Begins with a plan.
    pub fn open(&mut self, plan: Plan) {
        self.app.open(plan);
        self.send(Msg::Tick);
    }

    /// Goes on where a session ended.
    pub fn resume(&mut self, replayed: &Replayed) {
        self.app.resume(replayed);
        self.send(Msg::Tick);
    }

    /// Plays what [`script`] reads: waits between two parts, and not after the last.
    pub fn play(&mut self, parts: &[Vec<Key>]) {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.settle();
            }
            self.press(part);
        }
    }

    /// Presses keys, a second apart; none after the one that leaves.
    pub fn press(&mut self, keys: &[Key]) {
        for key in keys {
            if self.left {
                return;
            }
            self.now += APART;
            self.send(Msg::Key(*key));
            // What follows is meant for the plan that a budget makes.
            if self.app.frontier.is_solving() || self.app.is_ruling() {
                self.settle();
            }
        }
    }

    /// Waits until nothing is left to do; an answer may lead to a new question. At once when nothing was asked since the
    /// last time.
    pub fn settle(&mut self) {
        if self.settled >= self.asked {
            return;
        }
        while let Ok(first) = self.reports.recv() {
            // Together, as the terminal takes them; up to the one that says that all is done.
            let mut idle = None;
            let mut together = Vec::new();
            for report in std::iter::once(first).chain(std::iter::from_fn(|| self.reports.try_recv().ok())) {
                idle = if let Report::Idle { requests } = report { Some(requests) } else { None };
                together.push(report);
                if idle.is_some() || together.len() == TOGETHER {
                    break;
                }
            }
            self.send(Msg::Reports(together));
            if let Some(idle) = idle.filter(|idle| *idle >= self.asked) {
                self.settled = idle;
                return;
            }
        }
    }
}

/// Reads keys separated by blanks; the first that is none is the error.
pub fn keys(text: &str) -> Result<Vec<Key>, String> {
    text.split_whitespace().map(|k| Key::parse(k).ok_or_else(|| k.to_owned())).collect()
}

/// Among keys: wait until everything is known.
const REST: &str = "<rest>";

/// Reads keys with `<rest>` between some of them: what is pressed between two rests.
pub fn script(text: &str) -> Result<Vec<Vec<Key>>, String> {
    text.split(REST).map(keys).collect()
}
