//! All that can happen, and all that may be asked of the world.

use super::{Action, LensId};
use crate::engine::{Question, Report, Request, Sweep, Trial};
use crate::export::save::Save;
use crate::model::LayerId;
use crate::plan::{Knob, Treatment};
use crate::session::{Listing, Note};
use std::path::PathBuf;
use std::sync::Arc;

/// A key, independent of any terminal library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which key.
    pub code: Code,
    /// Whether control was held.
    pub ctrl: bool,
    /// Whether shift was held; told for keys that are no characters.
    pub shift: bool,
}

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A character.
    Char(char),
    /// Return.
    Enter,
    /// Escape.
    Esc,
    /// Tabulator.
    Tab,
    /// Tabulator with shift.
    BackTab,
    /// Backspace.
    Backspace,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
}

impl Key {
    /// A key without modifiers.
    pub fn plain(code: Code) -> Self {
        Self { code, ctrl: false, shift: false }
    }
    /// A character.
    pub fn char(c: char) -> Self {
        Self::plain(Code::Char(c))
    }
    /// A character with control.
    pub fn ctrl(c: char) -> Self {
        Self { ctrl: true, ..Self::char(c) }
    }
    /// A key with shift.
    pub fn shift(code: Code) -> Self {
        Self { shift: true, ..Self::plain(code) }
    }
    /// How it is written on screen: `⇧←`, `ctrl-r`, `enter`.
    pub fn label(self) -> String {
        let name = match self.code {
            Code::Char(' ') => "space".to_owned(),
            Code::Char(c) => c.to_string(),
            Code::Enter => "enter".to_owned(),
            Code::Esc => "esc".to_owned(),
            Code::Tab => "tab".to_owned(),
            Code::BackTab => "⇧tab".to_owned(),
            Code::Backspace => "backspace".to_owned(),
            Code::Up => "↑".to_owned(),
            Code::Down => "↓".to_owned(),
            Code::Left => "←".to_owned(),
            Code::Right => "→".to_owned(),
            Code::PageUp => "pgup".to_owned(),
            Code::PageDown => "pgdn".to_owned(),
            Code::Home => "home".to_owned(),
            Code::End => "end".to_owned(),
        };
        format!("{}{}{name}", if self.ctrl { "ctrl-" } else { "" }, if self.shift { "⇧" } else { "" })
    }
    /// Reads the notation of `frame --keys`: a character, or `<enter> <c-x> <s-left> …`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut chars = text.chars();
        if let (Some(c), None) = (chars.next(), chars.next()) {
            return Some(Self::char(c));
        }
        let name = text.strip_prefix('<')?.strip_suffix('>')?;
        if let Some(c) = name.strip_prefix("c-") {
            let mut chars = c.chars();
            return chars.next().filter(|_| chars.next().is_none()).map(Self::ctrl);
        }
        if name == "s-tab" {
            return Some(Self::plain(Code::BackTab));
        }
        let (name, shift) = name.strip_prefix("s-").map_or((name, false), |n| (n, true));
        let code = match name {
            "enter" => Code::Enter,
            "esc" => Code::Esc,
            "tab" => Code::Tab,
            "space" => Code::Char(' '),
            "backspace" => Code::Backspace,
            "up" => Code::Up,
            "down" => Code::Down,
            "left" => Code::Left,
            "right" => Code::Right,
            "pgup" => Code::PageUp,
            "pgdn" => Code::PageDown,
            "home" => Code::Home,
            "end" => Code::End,
            _ => return None,
        };
        Some(Self { code, ctrl: false, shift })
    }
}

/// What the pointer touched, found from the same layout that was drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A row of the layer list, counted from the first of all rows.
    Row(usize),
    /// A lens's tab.
    Lens(LensId),
    /// The slider of the budget at a share of its length.
    Budget(f64),
    /// A row of the table of plans.
    Plan(usize),
    /// A knob's slider at a share of its length.
    Slider(Knob, f64),
    /// The plot of the spectrum at a share of its width.
    Plot(f64),
    /// A cell of the map.
    Layer(LayerId),
    /// Nothing that answers.
    Nothing,
}

/// All that can happen.
#[derive(Debug, Clone)]
pub enum Msg {
    /// A key was pressed or repeats.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The pointer pressed, or dragged with the button held.
    Press(Target),
    /// The pointer's button went up.
    Release,
    /// The wheel turned over the list (`true`: down).
    Scroll(bool),
    /// The window has this many columns and rows.
    Resize(u16, u16),
    /// The engine says something.
    Report(Report),
    /// The engine reports several things that came together.
    Reports(Vec<Report>),
    /// Earlier sessions were looked for.
    Sessions {
        /// What was found.
        listing: Listing,
        /// Whether the user asked for them.
        asked: bool,
    },
    /// The world has something to say to the user.
    Told(String),
    /// A plan was written, or why not.
    Saved(Result<String, String>),
    /// Time passed.
    Tick,
    /// An action chosen in the help page.
    Act(Action),
}

/// What the world is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Measure these layers first.
    Focus {
        /// Layers on screen, the one under the cursor first.
        seen: Vec<LayerId>,
    },
    /// Run a treatment exactly.
    Refine {
        /// The layer.
        layer: LayerId,
        /// What is done to it.
        treatment: Treatment,
    },
    /// The exact run is no longer wanted.
    CancelRefine,
    /// Say roughly, and at once, what a treatment makes of the spectrum.
    Preview {
        /// The layer.
        layer: LayerId,
        /// What is done to it.
        treatment: Treatment,
        /// Largest magnitude removed, of single entries.
        threshold: f32,
    },
    /// Prove an upper bound on σ₁.
    Certify(LayerId),
    /// Add to the log of this session.
    Log(Note),
    /// Look for earlier sessions of this model.
    Sessions,
    /// Go on with the log of an earlier session.
    TakeUp {
        /// The log.
        path: PathBuf,
        /// Bytes of it that were read.
        whole: u64,
    },
    /// Spread a budget, or draw the curves of all allocators.
    Spread(Arc<Question>),
    /// Run the model under a plan.
    Quality(Arc<Trial>),
    /// Nobody wants to know any more.
    CancelQuality,
    /// Run the model with single layers treated, or stop that.
    Sweep(Option<Arc<Sweep>>),
    /// Write the plan; [`Msg::Saved`] answers.
    Save(Arc<Save>),
    /// Report the pointer (or stop).
    Mouse(bool),
    /// Give the terminal back and stop the process until the shell continues it.
    Suspend,
    /// Leave.
    Quit,
}

impl Effect {
    /// The engine's part of it.
    pub fn request(&self) -> Option<Request> {
        Some(match self {
            Self::Focus { seen } => Request::Focus { seen: seen.clone() },
            Self::Refine { layer, treatment } => Request::Refine { layer: *layer, treatment: *treatment },
            Self::CancelRefine => Request::CancelRefine,
            Self::Preview { layer, treatment, threshold } => {
                Request::Preview { layer: *layer, treatment: *treatment, threshold: *threshold }
            }
            Self::Certify(layer) => Request::Certify { layer: *layer },
            Self::Log(_) | Self::Sessions | Self::TakeUp { .. } => return None,
            Self::Spread(question) => Request::Spread(Arc::clone(question)),
            Self::Quality(trial) => Request::Quality(Arc::clone(trial)),
            Self::CancelQuality => Request::CancelQuality,
            Self::Sweep(sweep) => Request::Sweep(sweep.clone()),
            Self::Save(_) | Self::Mouse(_) | Self::Suspend | Self::Quit => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_of_keys_is_read() {
        for (text, key) in [
            ("j", Key::char('j')),
            ("<", Key::char('<')),
            ("<c-r>", Key::ctrl('r')),
            ("<s-tab>", Key::plain(Code::BackTab)),
            ("<s-left>", Key::shift(Code::Left)),
            ("<space>", Key::char(' ')),
            ("<pgdn>", Key::plain(Code::PageDown)),
        ] {
            assert_eq!(Key::parse(text), Some(key), "{text}");
        }
        for text in ["", "<>", "<nothing>", "jj", "<c-xy>"] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
