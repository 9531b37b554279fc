//! From the text of a log back to the plan, its history and the view.

use super::{Line, Opened, VERSION};
use crate::model::{Layer, Model};
use crate::plan::file::{LayerPlan, fingerprint};
use crate::plan::{Edit, Entry, Plan};
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

/// What a log amounts to.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// Its first line.
    pub opened: Opened,
    /// The plan at its end, with what can be undone and redone.
    pub plan: Plan,
    /// Plans put aside, with their letters.
    pub snapshots: Vec<(char, Plan)>,
    /// How the dashboard was looked at last.
    pub view: Option<serde_json::Value>,
    /// Whether the user left; else the session was cut off, or goes on.
    pub left: bool,
    /// The process and the machine that wrote last.
    pub writer: (u32, String),
    /// Bytes of whole lines; a torn last one is not counted.
    pub whole: u64,
}

/// Why a text is no log that can be replayed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LogError {
    /// Not even a first line.
    #[error("no session in it: its first line is not whole")]
    Empty,
    /// Another version.
    #[error("version {0} of the session format is not known here (this program writes version {VERSION})")]
    Version(u64),
    /// Made with another checkpoint.
    #[error(
        "a session of {made_for} ({theirs}), not of {model} ({ours}): other names, shapes or types of tensors; --force replays it all the same"
    )]
    OtherModel {
        /// Whose session it is.
        made_for: String,
        /// Its fingerprint.
        theirs: String,
        /// The model that was opened.
        model: String,
        /// Its fingerprint.
        ours: String,
    },
    /// A line that says nothing, or something that cannot be.
    #[error("line {number}: {why}{}", remedy(*.number))]
    Line {
        /// Its number, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// A line that goes by activations, which are not open.
    #[error("line {number}: {why}")]
    Blind {
        /// Its number, from 1.
        number: usize,
        /// What is missing.
        why: String,
    },
}

/// What still can be done with a log of which a line is wrong.
fn remedy(number: usize) -> String {
    match number {
        0..=1 => "; the dashboard keeps sessions in its state directory, in sessions/*.jsonl".to_owned(),
        n => format!("; the lines before it replay: head -n {} LOG > OTHER", n - 1),
    }
}

/// Replays a log for a model; `force` takes one of another model whose layers have the same names. A last line that was
/// torn by the end of the process that wrote it is left out.
pub fn replay(model: &Model, text: &[u8], force: bool) -> Result<Replayed, LogError> {
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let mut lines = text.get(..whole).unwrap_or_default().split_inclusive(|b| *b == b'\n').zip(1..);
    let first = lines.next().ok_or(LogError::Empty)?.0;
    let opened = head(first)?;
    let ours = fingerprint(model);
    if !force && opened.model.fingerprint != ours {
        let (made_for, theirs) = (opened.model.name, opened.model.fingerprint);
        return Err(LogError::OtherModel { made_for, theirs, model: model.name.clone(), ours });
    }
    let mut player = Player {
        layers: model.layers.iter().map(|l| (l.name.as_str(), l)).collect(),
        blind: Cell::new(false),
        out: Replayed {
            plan: Plan::new(model.layers.len()),
            snapshots: Vec::new(),
            view: None,
            left: false,
            writer: (opened.pid, opened.host.clone()),
            whole: whole as u64,
            opened,
        },
    };
    let told = |blind: bool, number, why| {
        if blind { LogError::Blind { number, why } } else { LogError::Line { number, why } }
    };
    player.begin().map_err(|why| told(player.blind.get(), 1, why))?;
    for (text, number) in lines {
        let line = serde_json::from_slice(text).map_err(|e| format!("no line of a session: {e}"));
        line.and_then(|line| player.line(line)).map_err(|why| told(player.blind.get(), number, why))?;
    }
    player.out.plan.news();
    Ok(player.out)
}

/// The first line, whose version is looked at before anything else.
pub(super) fn head(text: &[u8]) -> Result<Opened, LogError> {
    let wrong = |why: String| LogError::Line { number: 1, why };
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|e| wrong(format!("no line of a session: {e}")))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version != u64::from(VERSION) => return Err(LogError::Version(version)),
        Some(_) => {}
        None => return Err(wrong("a session begins with its version".to_owned())),
    }
    match serde_json::from_value(value) {
        Ok(Line::Open(opened)) => Ok(*opened),
        Ok(_) => Err(wrong("a session begins with the line that opens it".to_owned())),
        Err(e) => Err(wrong(format!("no line of a session: {e}"))),
    }
}

struct Player<'a> {
    layers: HashMap<&'a str, &'a Layer>,
    /// Whether what could not be planned goes by activations.
    blind: Cell<bool>,
    out: Replayed,
}

impl Player<'_> {
    fn layer(&self, named: &LayerPlan) -> Result<&Layer, String> {
        self.layers.get(named.name.as_str()).copied().ok_or_else(|| format!("the model has no layer {}", named.name))
    }

    fn entry(&self, named: &LayerPlan, layer: &Layer) -> Result<Entry, String> {
        named.entry(layer).map_err(|why| {
            self.blind.set(named.weighs());
            format!("layer {}: {why}", named.name)
        })
    }

    /// The plan that the session began with.
    fn begin(&mut self) -> Result<(), String> {
        for named in std::mem::take(&mut self.out.opened.plan) {
            let layer = self.layer(&named)?;
            let entry = self.entry(&named, layer)?;
            self.out.plan.set(layer.id, entry);
        }
        Ok(())
    }

    fn line(&mut self, line: Line) -> Result<(), String> {
        self.out.left = matches!(line, Line::Quit { .. });
        match line {
            Line::Open(again) if again.version != VERSION => {
                Err(format!("written by {}, which is newer than this program", again.by))
            }
            Line::Open(again) => {
                self.out.writer = (again.pid, again.host);
                Ok(())
            }
            Line::Edit { label, from, to, .. } => {
                for named in &from {
                    let layer = self.layer(named)?;
                    if LayerPlan::of(layer, self.out.plan.entry(layer.id)) != *named {
                        return Err(format!("layer {} was planned otherwise before: a line is missing", named.name));
                    }
                }
                let edit = self.edit(label, &to)?;
                self.out.plan.edit(edit);
                Ok(())
            }
            Line::Amend { label, to, .. } => {
                let edit = self.edit(label, &to)?;
                if self.out.plan.depth().0 == 0 {
                    return Err("goes on with an edit, and there is none".to_owned());
                }
                self.out.plan.amend(edit);
                Ok(())
            }
            Line::Undo { .. } => {
                self.out.plan.undo().map(drop).ok_or_else(|| "undoes an edit, and there is none".to_owned())
            }
            Line::Redo { .. } => {
                self.out.plan.redo().map(drop).ok_or_else(|| "redoes an edit, and there is none".to_owned())
            }
            Line::Snapshot { name, .. } => {
                self.out.snapshots.push((name, self.out.plan.bare()));
                Ok(())
            }
            Line::View { view, .. } => {
                self.out.view = Some(view);
                Ok(())
            }
            Line::Quit { .. } => Ok(()),
        }
    }

    fn edit(&self, label: String, to: &[LayerPlan]) -> Result<Edit, String> {
        let change = |named: &LayerPlan| {
            let layer = self.layer(named)?;
            let after = self.entry(named, layer)?;
            Ok((layer.id, self.out.plan.entry(layer.id), after))
        };
        let changes = to.iter().map(change).collect::<Result<_, String>>()?;
        // A gesture is in the log as an edit and what amends it.
        Ok(Edit { changes, label, gesture: None, at: Duration::ZERO })
    }
}
