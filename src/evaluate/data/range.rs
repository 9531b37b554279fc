//! Which part of the data is wanted, as it is written on the command line.

use super::{Data, DataError};
use std::ops::Range;
use std::str::FromStr;

/// `N`: the first N bytes of text or examples. `A..B`: those from A on and before B; either may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The first.
    pub from: usize,
    /// One behind the last; `None` is the end.
    pub to: Option<usize>,
}

impl Wanted {
    /// Everything.
    pub const ALL: Self = Self { from: 0, to: None };
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |s: &str| {
            let plain = s.replace('_', "");
            plain.parse::<usize>().map_err(|_| format!("{s:?} is not a whole number; write N or A..B"))
        };
        let optional = |s: &str| if s.is_empty() { Ok(None) } else { number(s).map(Some) };
        let wanted = match text.split_once("..") {
            Some((from, to)) => Self { from: optional(from)?.unwrap_or(0), to: optional(to)? },
            None => Self { from: 0, to: Some(number(text)?) },
        };
        match wanted.to {
            Some(to) if to <= wanted.from => Err(format!("{text} holds nothing: the end is not behind the start")),
            _ => Ok(wanted),
        }
    }
}

impl Data {
    /// The range that is wanted; an error that says how much there is where it goes beyond the end.
    pub fn range(&self, wanted: Wanted) -> Result<Range<usize>, DataError> {
        let range = wanted.from..wanted.to.unwrap_or(self.len());
        self.check(&range)?;
        Ok(range)
    }

    /// Whether a range lies within the data and holds anything.
    pub(super) fn check(&self, range: &Range<usize>) -> Result<(), DataError> {
        let (len, unit) = (self.len(), self.unit());
        if range.end > len || range.start >= range.end {
            let what = format!("has {len} {unit}, and the slice {}..{} is not within", range.start, range.end);
            return Err(DataError::new(&self.path, what, format!("ask for a part of 0..{len}")));
        }
        Ok(())
    }
}
