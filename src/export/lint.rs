//! What a runtime will not do with a plan: remarks before anything is written. Pure; a rule is a function and a line in
//! `RULES`.

mod rules;

use crate::model::{Layer, Model};
use crate::plan::{LayerOutcome, Outcome, Plan, Treatment};

/// Where the compressed model is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Target {
    /// Nowhere in particular: what holds everywhere.
    #[default]
    Any,
    /// PyTorch by itself.
    Torch,
    /// Hugging Face's transformers.
    Transformers,
    /// vLLM.
    Vllm,
    /// TensorRT and TensorRT-LLM.
    Tensorrt,
    /// llama.cpp.
    LlamaCpp,
}

/// All targets with their names on the command line.
pub const TARGETS: &[(Target, &str)] = &[
    (Target::Any, "any"),
    (Target::Torch, "torch"),
    (Target::Transformers, "transformers"),
    (Target::Vllm, "vllm"),
    (Target::Tensorrt, "tensorrt"),
    (Target::LlamaCpp, "llama-cpp"),
];

impl Target {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        TARGETS.iter().find(|t| t.0 == self).map_or("any", |t| t.1)
    }
    /// The target of a name.
    pub fn parse(name: &str) -> Option<Self> {
        TARGETS.iter().find(|t| t.1 == name).map(|t| t.0)
    }
    /// As it is written in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "the runtime",
            Self::Torch => "PyTorch",
            Self::Transformers => "transformers",
            Self::Vllm => "vLLM",
            Self::Tensorrt => "TensorRT",
            Self::LlamaCpp => "llama.cpp",
        }
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Will not run, or not as planned.
    Problem,
    /// Runs, and gains less than the plan says.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The rule that found it.
    pub rule: &'static str,
    /// The layers that it is about, in module order.
    pub layers: Vec<String>,
    /// What is so.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    /// In a line: `warning: 3 layers (a, b, c): text; remedy`.
    pub fn line(&self) -> String {
        let whom = match self.layers.as_slice() {
            [] => String::new(),
            [one] => format!("{one}: "),
            many => format!("{} layers ({}): ", many.len(), super::recipe::names(many)),
        };
        format!("{}: {whom}{}; {}", self.severity.word(), self.text, self.remedy)
    }
}

/// What rules look at.
struct Case<'a> {
    model: &'a Model,
    plan: &'a Plan,
    outcome: &'a Outcome,
    target: Target,
}

impl<'a> Case<'a> {
    /// Layers that the plan does something to, with what becomes of them.
    fn treated(&self) -> impl Iterator<Item = (&'a Layer, Treatment, &'a LayerOutcome)> {
        let plan = self.plan;
        let all = self.model.layers.iter().zip(&self.outcome.layers);
        let treated = all.map(move |(l, o)| (l, plan.treatment(l.id), o));
        treated.filter(|(l, t, _)| l.eligible() && l.tied_to.is_none() && !t.is_dense())
    }
    /// Names of treated layers for which something holds.
    fn names(&self, holds: impl Fn(&Layer, &Treatment, &LayerOutcome) -> bool) -> Vec<String> {
        self.treated().filter(|(l, t, o)| holds(l, t, o)).map(|(l, ..)| l.name.clone()).collect()
    }
}

/// A rule: its name, and what it finds.
struct Rule {
    name: &'static str,
    find: fn(&Case) -> Vec<Found>,
}

/// What a rule finds, before it has the rule's name.
struct Found {
    severity: Severity,
    layers: Vec<String>,
    text: String,
    remedy: String,
}

static RULES: &[Rule] = &[
    Rule { name: "two-of-four", find: rules::two_of_four },
    Rule { name: "groups", find: rules::groups },
    Rule { name: "group-tail", find: rules::group_tail },
    Rule { name: "zeros", find: rules::zeros },
    Rule { name: "blocks", find: rules::blocks },
    Rule { name: "coupled-rows", find: rules::coupled },
    Rule { name: "uneven-gate", find: rules::uneven_gate },
    Rule { name: "channel-multiple", find: rules::channel_multiple },
    Rule { name: "factored", find: rules::factored },
    Rule { name: "rank-multiple", find: rules::rank_multiple },
    Rule { name: "break-even", find: rules::break_even },
    Rule { name: "rounding", find: rules::rounding },
    Rule { name: "nothing-left", find: rules::nothing_left },
    Rule { name: "tied", find: rules::tied },
    Rule { name: "pinned", find: rules::pinned },
];

/// What is to be said of a plan for a target, what matters most first. Layers that no plan touches find nothing.
pub fn findings(model: &Model, plan: &Plan, outcome: &Outcome, target: Target) -> Vec<Finding> {
    let case = Case { model, plan, outcome, target };
    let mut found: Vec<Finding> = Vec::new();
    for rule in RULES {
        found.extend((rule.find)(&case).into_iter().filter(|f| !f.text.is_empty()).map(|f| Finding {
            severity: f.severity,
            rule: rule.name,
            layers: f.layers,
            text: f.text,
            remedy: f.remedy,
        }));
    }
    found.sort_by_key(|f| f.severity);
    found
}

/// What is found, a line for each: for a terminal or a panel.
pub fn lines(found: &[Finding], target: Target) -> Vec<String> {
    if found.is_empty() {
        return vec![format!("nothing to say of this plan for {}", target.name())];
    }
    found.iter().map(Finding::line).collect()
}

#[cfg(test)]
mod tests;
