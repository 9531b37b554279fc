//! A line of text being typed, and what a typed value means.

use super::message::{Code, Key};
use crate::plan::Knob;
use crate::plan::rule::{self, Chosen};
use crate::treat::quantise::BITS;
use crate::treat::{Criterion, Factors, Granularity, Pattern};

/// A line being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// What stands there.
    pub text: String,
}

/// What a key did to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// The text changed.
    Changed,
    /// It is finished.
    Done,
    /// It is given up.
    Given,
    /// The key is none of the line's business.
    Other,
}

impl Prompt {
    /// Takes a key.
    pub fn key(&mut self, key: Key) -> Typed {
        match key.code {
            Code::Enter => Typed::Done,
            Code::Esc => Typed::Given,
            Code::Char('c') if key.ctrl => Typed::Given,
            Code::Char('u') if key.ctrl => {
                self.text.clear();
                Typed::Changed
            }
            Code::Char('w') if key.ctrl => {
                let kept = self.text.trim_end().rfind(' ').map_or(0, |i| i + 1);
                self.text.truncate(kept);
                Typed::Changed
            }
            Code::Char(c) if !key.ctrl && !c.is_control() => {
                self.text.push(c);
                Typed::Changed
            }
            Code::Backspace if self.text.pop().is_none() => Typed::Given,
            Code::Backspace => Typed::Changed,
            _ => Typed::Other,
        }
    }

    /// Adds pasted text, line breaks as blanks.
    pub fn paste(&mut self, text: &str) {
        self.text.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
}

/// A typed value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Back to dense.
    Dense,
    /// A rank.
    Rank(usize),
    /// A share, 0 to 1: of the full rank kept, or of the entries removed.
    Share(f64),
    /// A pattern of pruning, with the share that it removes where one was given.
    Pattern(Pattern, Option<f64>),
    /// Bits that entries are rounded to, and which of them share a scale; what is not given stays.
    Bits(Option<u8>, Option<Granularity>),
    /// Of which matrix the rank is.
    Form(Factors),
    /// By what it is chosen what goes.
    Criterion(Criterion),
    /// What a rule says of each layer.
    Rule(Chosen),
}

/// Reads `64`, `50%`, `.5`, `dense`, `off`, `2:4`, `row 30%`, `block:16x16`, `int4`, `int3 group:64`. For the rank a whole
/// number is a rank; for pruning a number above 1 is a percentage; for rounding it is bits. A pattern is of pruning and
/// `int4` of rounding, `energy 95%` a rule for ranks, whichever knob is active.
pub fn value(knob: Knob, text: &str) -> Result<Value, String> {
    let text = text.trim().trim_start_matches('=').trim();
    if matches!(text, "dense" | "off" | "d") {
        return Ok(Value::Dense);
    }
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if knob == Knob::Bits || first.starts_with("int") {
        return bits(text, first, rest.trim());
    }
    if let Some(rule) = rule::parse(text) {
        return rule.map(Value::Rule);
    }
    match text {
        "channel" => return Ok(Value::Form(Factors::Matrix)),
        name => {
            if let Some(form) = Factors::parse(name) {
                return Ok(Value::Form(form));
            }
        }
    }
    if let Some(criterion) = Criterion::parse(text) {
        return Ok(Value::Criterion(criterion));
    }
    if let Some((pattern, own)) = Pattern::parse(first) {
        return match (own, rest.trim()) {
            (own, "") => Ok(Value::Pattern(pattern, own)),
            (Some(_), more) => Err(format!("{first} already sets how much is pruned: leave out {more}")),
            (None, share) => match value(Knob::Prune, share)? {
                Value::Share(share) => Ok(Value::Pattern(pattern, Some(share))),
                _ => Err(format!("\"{share}\" is no share: type {first} 30%")),
            },
        };
    }
    let (digits, percent) = text.strip_suffix('%').map_or((text, false), |t| (t.trim_end(), true));
    let number: f64 =
        digits.parse().map_err(|_| format!("\"{text}\" is no number: type 64, 50%, .5, 2:4, row 30% or dense"))?;
    if !number.is_finite() || number < 0.0 {
        return Err(format!("{text} is out of range"));
    }
    let whole = number.fract() == 0.0 && !digits.contains('.');
    let share = match knob {
        _ if percent => number / 100.0,
        Knob::Rank if whole => return Ok(Value::Rank(number as usize)),
        Knob::Prune if whole && number > 1.0 => number / 100.0,
        _ => number,
    };
    if share > 1.0 { Err(format!("{text} is more than everything")) } else { Ok(Value::Share(share)) }
}

/// Reads `int4`, `int4 row`, `4 group:64`, `row`.
fn bits(text: &str, first: &str, rest: &str) -> Result<Value, String> {
    let number = first.strip_prefix("int").unwrap_or(first);
    let wrong = || format!("\"{text}\" is no rounding: type int4, int4 row, int3 group:64, tensor or off");
    if let Some(per) = Granularity::parse(first).filter(|_| rest.is_empty()) {
        return Ok(Value::Bits(None, Some(per)));
    }
    let bits = number.parse().ok().filter(|b| BITS.contains(b)).ok_or_else(wrong)?;
    match (rest, Granularity::parse(rest)) {
        ("", _) => Ok(Value::Bits(Some(bits), None)),
        (_, per @ Some(_)) => Ok(Value::Bits(Some(bits), per)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_mean_what_people_type() {
        for (knob, text, want) in [
            (Knob::Rank, "64", Value::Rank(64)),
            (Knob::Rank, "50%", Value::Share(0.5)),
            (Knob::Rank, ".25", Value::Share(0.25)),
            (Knob::Rank, "dense", Value::Dense),
            (Knob::Prune, "50", Value::Share(0.5)),
            (Knob::Prune, "62.5 %", Value::Share(0.625)),
            (Knob::Prune, "0.5", Value::Share(0.5)),
            (Knob::Prune, "1", Value::Share(1.0)),
            (Knob::Prune, "0", Value::Share(0.0)),
            (Knob::Rank, "2:4", Value::Pattern(Pattern::Groups(4), Some(0.5))),
            (Knob::Prune, "row 30%", Value::Pattern(Pattern::Rows, Some(0.3))),
            (Knob::Prune, "block:8x4", Value::Pattern(Pattern::Blocks(8, 4), None)),
            (Knob::Rank, "int4", Value::Bits(Some(4), None)),
            (Knob::Bits, "3", Value::Bits(Some(3), None)),
            (Knob::Bits, "int8 tensor", Value::Bits(Some(8), Some(Granularity::Tensor))),
            (Knob::Prune, "int3 group:64", Value::Bits(Some(3), Some(Granularity::Group(64)))),
            (Knob::Bits, "row", Value::Bits(None, Some(Granularity::Row))),
            (Knob::Bits, "off", Value::Dense),
            (Knob::Prune, "energy 95%", Value::Rule(rule::parse("energy 95%").unwrap().unwrap())),
            (Knob::Rank, "leverage", Value::Criterion(Criterion::Leverage)),
            (Knob::Prune, "spatial", Value::Form(Factors::Spatial)),
            (Knob::Rank, "whitened", Value::Form(Factors::Whitened)),
            (Knob::Rank, "asvd", Value::Form(Factors::Asvd)),
            (Knob::Rank, "gd", Value::Rule(rule::parse("gd").unwrap().unwrap())),
        ] {
            assert_eq!(value(knob, text), Ok(want), "{text}");
        }
        for text in [
            "",
            "x",
            "-1",
            "150%",
            "nan",
            "inf",
            "1e400",
            "2:4 30%",
            "row x",
            "4:2",
            "int9",
            "int1",
            "int4 column",
            "gd 3",
        ] {
            assert!(value(Knob::Prune, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_is_typed_and_given_up() {
        let mut p = Prompt::default();
        for c in "ab cd".chars() {
            assert_eq!(p.key(Key::char(c)), Typed::Changed);
        }
        p.key(Key::ctrl('w'));
        assert_eq!(p.text, "ab ");
        p.key(Key::ctrl('u'));
        assert_eq!(p.key(Key::plain(Code::Backspace)), Typed::Given);
        assert_eq!(p.key(Key::plain(Code::Enter)), Typed::Done);
        p.paste("a\nb");
        assert_eq!(p.text, "a b");
    }
}
