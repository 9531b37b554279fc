//! The log of a session: a line of JSON for everything that changes the plan or the view, written when it happens. The
//! log is the autosave: replayed it gives back the plan, its history and the view. Plain values here and in
//! `replay`; files in `store`, and a thread that writes them in `writer`.

mod clock;
pub mod replay;
pub mod store;
pub mod writer;

pub use clock::{ago, utc};
pub use replay::{LogError, Replayed, replay};
pub use store::{Ending, Found, Listing, Store};
pub use writer::Writer;

use crate::model::{LayerId, Model};
use crate::plan::file::{LayerPlan, ModelName, fingerprint};
use crate::plan::{Edit, Entry, News, Plan};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version written, and the only one read.
pub const VERSION: u32 = 1;

/// The first line of a log, and one for each time it was taken up again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// Version of the format.
    pub version: u32,
    /// The program and its version.
    pub by: String,
    /// The checkpoint.
    pub model: ModelName,
    /// Where it was opened from.
    pub path: String,
    /// When, in UTC.
    pub started: String,
    /// The machine that writes.
    pub host: String,
    /// The process that writes.
    pub pid: u32,
    /// The plan it began with; no edit of it is to be undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<LayerPlan>,
}

/// A line of a log. `at` is in milliseconds since the program was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Line {
    /// The log begins, or is taken up again.
    Open(Box<Opened>),
    /// The plan was changed.
    Edit {
        /// When.
        at: u64,
        /// What it was, for people.
        label: String,
        /// What was planned for the layers touched.
        from: Vec<LayerPlan>,
        /// What is planned for them now.
        to: Vec<LayerPlan>,
    },
    /// The last edit goes on: a key held, a knob dragged. Undone together with it.
    Amend {
        /// When.
        at: u64,
        /// What it was, for people.
        label: String,
        /// What is planned for the layers touched now.
        to: Vec<LayerPlan>,
    },
    /// The last edit was taken back.
    Undo {
        /// When.
        at: u64,
    },
    /// The edit taken back last was made again.
    Redo {
        /// When.
        at: u64,
    },
    /// The plan as it is was put aside.
    Snapshot {
        /// When.
        at: u64,
        /// Its letter.
        name: char,
    },
    /// The user looks at something else; only the last one counts.
    View {
        /// When.
        at: u64,
        /// How the dashboard is looked at.
        view: serde_json::Value,
    },
    /// The user left; without this line the session was cut off.
    Quit {
        /// When.
        at: u64,
    },
}

/// What is to be logged. What happened to a plan becomes a line on the thread that writes: the names of tens of thousands
/// of layers take longer than a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// A line.
    Line(Line),
    /// What happened to the plan, so long after the start.
    News(News, Duration),
}

impl Note {
    /// The line that is written.
    pub fn line(self, model: &Model) -> Line {
        match self {
            Self::Line(line) => line,
            Self::News(news, at) => Line::of(model, &news, at),
        }
    }
}

impl From<Line> for Note {
    fn from(line: Line) -> Self {
        Self::Line(line)
    }
}

impl Line {
    /// The line of what happened to a plan.
    pub fn of(model: &Model, news: &News, at: Duration) -> Self {
        let at = at.as_millis() as u64;
        match news {
            News::Edit(edit) => {
                let (from, to) = (side(model, edit, |c| c.1), side(model, edit, |c| c.2));
                Self::Edit { at, label: edit.label.clone(), from, to }
            }
            News::Amend(edit) => Self::Amend { at, label: edit.label.clone(), to: side(model, edit, |c| c.2) },
            News::Undo => Self::Undo { at },
            News::Redo => Self::Redo { at },
        }
    }

    /// The line as it stands in the file, with its end.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The program and its version.
fn by() -> String {
    format!("slimscope {}", env!("CARGO_PKG_VERSION"))
}

fn side(model: &Model, edit: &Edit, of: impl Fn(&(LayerId, Entry, Entry)) -> Entry) -> Vec<LayerPlan> {
    edit.changes.iter().filter_map(|c| Some(LayerPlan::of(model.layer(c.0)?, of(c)))).collect()
}

impl Opened {
    /// The first line of a log of this process, which begins with a plan.
    pub fn now(model: &Model, plan: &Plan) -> Self {
        let start = model.layers.iter().filter_map(|layer| {
            let entry = plan.entry(layer.id);
            (entry != Entry::default()).then(|| LayerPlan::of(layer, entry))
        });
        Self {
            version: VERSION,
            by: by(),
            model: ModelName { name: model.name.clone(), fingerprint: fingerprint(model) },
            path: model.path.display().to_string(),
            started: utc(std::time::SystemTime::now()),
            host: store::host(),
            pid: std::process::id(),
            plan: start.collect(),
        }
    }

    /// The line for taking a log up again: the plan is in the log already.
    pub fn again(&self) -> Self {
        Self { plan: Vec::new(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
