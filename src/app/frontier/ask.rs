//! What is asked of a budget, moved by keys and typed.

use super::super::message::Effect;
use super::super::prompt::{self, Value};
use super::super::{App, LensId};
use super::{MULTIPLES, Measure};
use crate::plan::budget::{ALLOCATORS, Groups, Means, Unit};
use crate::plan::{Granularity, Knob, Pattern};

impl App {
    pub(in crate::app) fn scrub_budget(&mut self, steps: i32, effects: &mut Vec<Effect>) {
        let at = (self.frontier.ask.keep * 100.0).round() + f64::from(steps);
        self.set_budget((at / 100.0).max(0.01), effects);
    }

    pub(in crate::app) fn set_budget(&mut self, share: f64, effects: &mut Vec<Effect>) {
        let least = self.frontier.least().unwrap_or(0.001).clamp(0.001, 1.0);
        if share < least - 1e-9 && self.frontier.least().is_some() {
            let of = self.frontier.ask.of;
            let within = of.of_compressible(&self.model, &self.outcome, least).unwrap_or(0.0).max(0.0);
            self.say(format!(
                "the least that can be kept is {:.1}% of {} ({:.1}% of what can be compressed)",
                least * 100.0,
                of.word(),
                within * 100.0
            ));
        }
        self.frontier.ask.keep = share.clamp(least, 1.0);
        self.frontier.solved = None;
        self.frontier.cursor = None;
        // A plan that a budget made follows the budget; one that was changed by hand waits for enter.
        if self.frontier.follows {
            effects.push(self.solve());
        }
    }

    pub(in crate::app) fn next_allocator(&mut self) {
        self.lens = LensId::Frontier;
        self.frontier.cursor = None;
        self.frontier.allocator = (self.frontier.allocator + 1) % ALLOCATORS.len();
        let chosen = &ALLOCATORS[self.frontier.allocator];
        self.say(format!("{}: {}", chosen.name, chosen.words));
    }

    pub(in crate::app) fn next_means(&mut self) {
        let (frontier, pattern) = (&mut self.frontier, self.pattern);
        let multiple = frontier.multiple();
        frontier.means(match frontier.ask.means {
            Means::Prune(_) => Means::Rank(multiple),
            Means::Rank(_) => Means::Either(pattern, multiple),
            Means::Either(..) => Means::Bits(Granularity::Row),
            Means::Bits(_) => Means::Prune(pattern),
        });
        // Fewer bits change nothing but bytes.
        if matches!(frontier.ask.means, Means::Bits(_)) && matches!(frontier.ask.of, Unit::Params | Unit::Macs) {
            frontier.ask.of = Unit::Bytes;
        }
        let words = format!("{}, of {}", frontier.ask.means.words(), frontier.ask.of.word());
        self.say(format!("budget by {words}"));
    }

    pub(in crate::app) fn next_measure(&mut self) {
        self.frontier.measure = match self.frontier.measure {
            Measure::Total => Measure::Mean,
            Measure::Mean if self.quality.offer.is_some() => Measure::Measured,
            Measure::Mean | Measure::Measured => Measure::Total,
        };
    }

    pub(in crate::app) fn next_unit(&mut self) {
        let at = Unit::ALL.iter().position(|u| *u == self.frontier.ask.of).unwrap_or(0);
        self.frontier.ask.of = Unit::ALL[(at + 1) % Unit::ALL.len()];
        self.say(format!("budget of {}", self.frontier.ask.of.word()));
    }

    pub(in crate::app) fn next_groups(&mut self) {
        self.frontier.ask.groups = self.frontier.ask.groups.next();
        self.say(format!("one setting for: {}", self.frontier.ask.groups.words()));
    }

    pub(in crate::app) fn next_multiple(&mut self) {
        let at = MULTIPLES.iter().position(|m| *m == self.frontier.multiple()).map_or(0, |i| i + 1);
        self.set_multiple(MULTIPLES[at % MULTIPLES.len()]);
    }

    fn set_multiple(&mut self, multiple: usize) {
        let pattern = self.pattern;
        self.frontier.means(match self.frontier.ask.means {
            Means::Either(pattern, _) => Means::Either(pattern, multiple),
            Means::Rank(_) => Means::Rank(multiple),
            Means::Prune(_) | Means::Bits(_) if multiple > 1 => Means::Rank(multiple),
            Means::Prune(_) | Means::Bits(_) => Means::Prune(pattern),
        });
        self.say(format!("budget by {}", self.frontier.ask.means.words()));
    }

    /// The pattern of pruning has changed: budgets go by the new one.
    pub(in crate::app) fn budget_pattern(&mut self) {
        self.frontier.means(match self.frontier.ask.means {
            Means::Prune(_) => Means::Prune(self.pattern),
            Means::Either(_, multiple) => Means::Either(self.pattern, multiple),
            other @ (Means::Rank(_) | Means::Bits(_)) => other,
        });
    }

    pub(in crate::app) fn move_row(&mut self, steps: i32) {
        let last = self.frontier.rows().saturating_sub(1);
        self.frontier.cursor = Some(self.frontier.row().saturating_add_signed(steps.signum() as isize).min(last));
    }

    /// What was typed while the budget is the active knob: `50%`, `floor 10%`, `of bytes`, `lamp`, `2:4`, `rank 8`.
    pub(in crate::app) fn type_budget(&mut self, text: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
        let text = text.trim().trim_start_matches('=').trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let share = |text: &str| match prompt::value(Knob::Prune, text)? {
            Value::Share(share) => Ok(share),
            _ => Err(format!("\"{text}\" is no share: type 50% or .5")),
        };
        let ask = &mut self.frontier.ask;
        match (first, rest) {
            ("floor", rest) => ask.floor = share(rest)?.min(ask.ceiling),
            ("ceiling", "dense" | "off") => ask.ceiling = 1.0,
            ("ceiling", rest) => ask.ceiling = share(rest)?.max(ask.floor),
            ("of", rest) => {
                let unit = Unit::ALL.into_iter().find(|u| u.word().eq_ignore_ascii_case(rest));
                ask.of = unit.ok_or_else(|| format!("of {rest}: params, bytes, stored or macs"))?;
            }
            ("rank", "") => {
                let multiple = self.frontier.multiple();
                self.frontier.means(Means::Rank(multiple));
            }
            ("rank" | "multiple", rest) => {
                let digits = rest.trim_start_matches(['×', 'x']);
                let multiple = digits.parse().ok().filter(|m| *m > 0);
                self.set_multiple(multiple.ok_or_else(|| format!("{first} {rest}: a multiple such as 8"))?);
            }
            ("bits" | "int", rest) => {
                let per = Granularity::parse(if rest.is_empty() { "row" } else { rest });
                let per = per.ok_or_else(|| format!("{first} {rest}: bits row, bits group:64 or bits tensor"))?;
                self.frontier.means(Means::Bits(per));
            }
            ("either", "") => {
                let (pattern, multiple) = (self.pattern, self.frontier.multiple());
                self.frontier.means(Means::Either(pattern, multiple));
            }
            ("prune", "") => self.frontier.means(Means::Prune(self.pattern)),
            ("groups", rest) => {
                ask.groups = Groups { qkv: rest.contains("qkv"), gate_up: rest.contains("gate") };
            }
            (name, "") if ALLOCATORS.iter().any(|a| a.name == name) => {
                self.frontier.allocator = ALLOCATORS.iter().position(|a| a.name == name).unwrap_or(0);
                self.frontier.cursor = None;
            }
            (name, "") if Pattern::parse(name).is_some() => {
                self.pattern = Pattern::parse(name).map_or(self.pattern, |p| p.0);
                self.frontier.means(Means::Prune(self.pattern));
            }
            _ => {
                let keep = share(text).map_err(|_| {
                    format!("\"{text}\": type 50%, floor 10%, ceiling 90%, of stored, prune, rank 8, 2:4, either, bits row, groups qkv, or an allocator")
                })?;
                self.set_budget(keep, effects);
            }
        }
        Ok(())
    }
}
