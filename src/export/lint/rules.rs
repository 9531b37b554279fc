//! The rules: each looks at a plan and says what one kind of runtime will not do with it.

use super::Severity::{Note, Problem, Warning};
use super::{Case, Found, Severity, Target};
use crate::model::{Layer, Role};
use crate::treat::{Pattern, Treatment};
use std::collections::HashMap;

/// A finding about layers; none where there are none.
fn about(layers: Vec<String>, severity: Severity, text: impl Into<String>, remedy: impl Into<String>) -> Vec<Found> {
    if layers.is_empty() {
        return Vec::new();
    }
    vec![Found { severity, layers, text: text.into(), remedy: remedy.into() }]
}

fn pattern(treatment: &Treatment) -> Option<Pattern> {
    treatment.prune.map(|p| p.pattern)
}

/// Whether it is 2:4, which hardware knows.
fn is_two_of_four(treatment: &Treatment) -> bool {
    treatment.prune.is_some_and(|p| p.pattern == Pattern::Groups(4) && (p.remove - 0.5).abs() < 1e-9)
}

/// 2:4 has hardware, and not every runtime uses it.
pub fn two_of_four(case: &Case) -> Vec<Found> {
    let alone = case.names(|_, t, _| is_two_of_four(t) && t.rank.is_none());
    match case.target {
        Target::Vllm => about(
            alone,
            Problem,
            "vLLM no longer serves 2:4: its semi-structured sparse kernels were removed, and the zeros run as dense weights",
            "quantise instead, or serve with TensorRT-LLM or torch.sparse.to_sparse_semi_structured",
        ),
        Target::LlamaCpp => about(
            alone,
            Warning,
            "llama.cpp has no sparse kernels: 2:4 zeros are stored and multiplied",
            "leave blocks out whole, or round entries (`export --to llama-cpp`)",
        ),
        Target::Tensorrt => about(
            alone,
            Note,
            "TensorRT uses 2:4 only where it is asked to, and only where it finds the sparse kernel faster",
            "build the engine with sparse weights enabled, and measure it",
        ),
        _ => {
            let fits = |l: &Layer| l.rows().is_multiple_of(32) && l.cols().is_multiple_of(64);
            let odd = case.names(|l, t, _| is_two_of_four(t) && t.rank.is_none() && !fits(l));
            let fit = case.names(|l, t, _| is_two_of_four(t) && t.rank.is_none() && fits(l));
            let mut out = about(
                odd,
                Warning,
                "PyTorch's 2:4 kernels take 16-bit matrices with rows in multiples of 32 and columns of 64",
                "leave these layers dense (`plan --pin NAME=dense`)",
            );
            out.extend(about(
                fit,
                Note,
                format!("{} runs 2:4 zeros as dense weights until they are converted", case.target.word()),
                "convert each weight with torch.sparse.to_sparse_semi_structured",
            ));
            out
        }
    }
}

/// Other N:M patterns have no hardware.
pub fn groups(case: &Case) -> Vec<Found> {
    let other = case.names(|_, t, _| matches!(pattern(t), Some(Pattern::Groups(_))) && !is_two_of_four(t));
    about(
        other,
        Warning,
        "no hardware kernel knows N:M other than 2:4: the zeros are stored and multiplied",
        "choose 2:4, or count on the smaller error alone",
    )
}

/// Columns that fill no group stay dense.
pub fn group_tail(case: &Case) -> Vec<Found> {
    let tail = case.names(|l, t, _| matches!(pattern(t), Some(Pattern::Groups(m)) if l.cols() % m != 0));
    about(
        tail,
        Warning,
        "the columns are no multiple of the group: the last ones stay dense, and sparse kernels refuse such a matrix",
        "leave these layers dense (`plan --pin NAME=dense`)",
    )
}

/// Zeros in no order save nothing.
pub fn zeros(case: &Case) -> Vec<Found> {
    let zeros = case.names(|_, t, _| {
        matches!(pattern(t), Some(Pattern::Unstructured | Pattern::PerRow)) && t.prune.is_some_and(|p| p.remove < 1.0)
    });
    let text = match case.target {
        Target::Any => {
            "single zeros save neither bytes nor time: dense kernels multiply them, and only a sparse format skips them"
                .to_owned()
        }
        target => {
            format!("{} stores single zeros and multiplies them: neither bytes nor time are saved", target.word())
        }
    };
    about(
        zeros,
        Warning,
        text,
        "for time choose rows, 2:4 or a rank; for bytes compress the file, or use a runtime for sparse weights",
    )
}

/// Blocks need kernels of their own.
pub fn blocks(case: &Case) -> Vec<Found> {
    let blocks = case.names(|_, t, _| matches!(pattern(t), Some(Pattern::Blocks(..))));
    let (severity, text) = match case.target {
        Target::Any | Target::Torch => {
            (Note, "zero blocks are skipped only in a block-sparse format (BSR) with kernels for that block".to_owned())
        }
        target => {
            (Warning, format!("{} has no block-sparse kernels: zero blocks are stored and multiplied", target.word()))
        }
    };
    about(blocks, severity, text, "convert the weights with Tensor.to_sparse_bsr, or choose rows")
}

/// What else must be cut when outputs of this layer go.
fn coupling(layer: &Layer, by_rows: bool) -> (Severity, &'static str) {
    match (layer.role, by_rows) {
        (Role::Output | Role::Down, true) | (Role::Query | Role::Key | Role::Value | Role::Gate | Role::Up, false) => (
            Warning,
            "these are features of the residual stream: they can be cut only if every layer that writes or reads the \
             stream loses the same ones",
        ),
        (Role::Query | Role::Key | Role::Value | Role::QueryKeyValue, true) | (Role::Output, false) => (
            Warning,
            "these are features of attention heads: query and key, value and output must lose the same ones, whole heads \
             for most runtimes",
        ),
        (Role::Gate | Role::Up | Role::GateUp, true) | (Role::Down, false) => {
            (Note, "rows of gate and up are columns of down: all three must lose the same ones")
        }
        (Role::Head, true) => (Warning, "rows of the head are classes or tokens: cutting one takes its answer away"),
        _ => (
            Note,
            "rows are columns of the layer after, columns rows of the layer before: both must lose the same ones",
        ),
    }
}

/// Rows and columns become smaller only together with what they are joined to.
pub fn coupled(case: &Case) -> Vec<Found> {
    let mut out: Vec<Found> = Vec::new();
    for (layer, treatment, _) in case.treated() {
        let rows = match pattern(&treatment).filter(|_| treatment.prune.is_some_and(|p| p.remove < 1.0)) {
            Some(Pattern::Rows) => true,
            Some(Pattern::Columns) => false,
            _ => continue,
        };
        let (severity, text) = coupling(layer, rows);
        match out.iter_mut().find(|f| f.text == text) {
            Some(found) => found.layers.push(layer.name.clone()),
            None => out.extend(about(
                vec![layer.name.clone()],
                severity,
                text,
                "apply writes them as zeros; a tool that follows the connections cuts them (`export --to torch-pruning`)",
            )),
        }
    }
    out
}

/// Gate and up of one block are multiplied: their rows must match.
pub fn uneven_gate(case: &Case) -> Vec<Found> {
    // An expert's gate belongs to the same expert's up: the two have one parent module.
    fn module(layer: &Layer) -> &str {
        layer.name.rsplit_once('.').map_or("", |(parent, _)| parent)
    }
    let share =
        |l: &Layer| case.plan.treatment(l.id).prune.filter(|p| p.pattern == Pattern::Rows).map_or(0.0, |p| p.remove);
    let layers = || case.model.layers.iter().filter(|l| l.block.is_some());
    let ups: HashMap<&str, &Layer> = layers().filter(|l| l.role == Role::Up).map(|l| (module(l), l)).collect();
    let uneven = layers().filter(|l| l.role == Role::Gate).filter(|gate| {
        let up = ups.get(module(gate)).filter(|up| up.rows() == gate.rows());
        up.is_some_and(|up| (share(up) - share(gate)).abs() > 1e-9)
    });
    about(
        uneven.map(|l| l.name.clone()).collect(),
        Warning,
        "gate and up of the block lose different shares of rows, and are multiplied row by row: only what both lose goes",
        "give both the same share",
    )
}

/// Channel counts that kernels do not like.
pub fn channel_multiple(case: &Case) -> Vec<Found> {
    let odd = case.names(|l, t, _| {
        let units = match pattern(t) {
            Some(p @ (Pattern::Rows | Pattern::Columns)) => {
                p.units(l).saturating_sub(p.removed(t.prune.map_or(0.0, |p| p.remove), l))
            }
            _ => return false,
        };
        units % 8 != 0
    });
    about(
        odd,
        Note,
        "the rows or columns that stay are no multiple of 8: matrix units pad them",
        "choose a share that leaves a multiple of 8",
    )
}

/// Two factors in place of one matrix need code that knows of them.
pub fn factored(case: &Case) -> Vec<Found> {
    let ranks = case.names(|_, t, _| t.rank.is_some());
    let dense = "`apply --as dense` multiplies the factors out, which any code loads and which saves nothing";
    match case.target {
        Target::Vllm | Target::LlamaCpp => about(
            ranks,
            Problem,
            format!("{} loads no layer of two factors", case.target.word()),
            format!("{dense}; or serve with code of your own"),
        ),
        target => about(
            ranks,
            Warning,
            format!("{} needs modelling code of its own for layers of two factors", target.word()),
            dense,
        ),
    }
}

/// Ranks that matrix units pad.
pub fn rank_multiple(case: &Case) -> Vec<Found> {
    let by = |wanted: fn(usize) -> bool| case.names(|_, t, _| t.rank.is_some_and(wanted));
    let remedy = |n: usize| format!("`plan --by rank --multiple {n}`");
    let mut out = about(
        by(|r| r % 8 != 0),
        Warning,
        "the rank is no multiple of 8: 16-bit matrix units pad it, or fall back to slower kernels",
        remedy(8),
    );
    out.extend(about(
        by(|r| r % 8 == 0 && r % 16 != 0),
        Note,
        "the rank is a multiple of 8 and not of 16, which 8-bit matrix units want",
        remedy(16),
    ));
    out.extend(about(
        by(|r| r % 16 == 0 && r % 64 != 0),
        Note,
        "the rank is no multiple of 64, in which most kernels tile",
        remedy(64),
    ));
    out
}

/// Layers that grow.
pub fn break_even(case: &Case) -> Vec<Found> {
    let grown = case.names(|_, t, o| t.rank.is_some() && o.after.params >= o.before.params);
    about(
        grown,
        Warning,
        "what is stored holds at least as many parameters as the matrix: the layer grows and loses accuracy",
        "take a rank below break-even, rows · columns / (rows + columns), or leave the layer dense",
    )
}

/// Rounding is a question, not a file.
pub fn rounding(case: &Case) -> Vec<Found> {
    let rounded = case.names(|_, t, _| t.quantise.is_some());
    let mut out = about(
        rounded,
        Note,
        "rounding is a what-if: apply writes the rounded values in the layer's own type, not as integers, so that bytes \
         and time stay",
        "quantise with the runtime's own tool (`export --to llama-cpp` names the types)",
    );
    if case.target == Target::LlamaCpp {
        let narrow = case.names(|l, t, _| t.quantise.is_some() && l.cols() % 32 != 0);
        out.extend(about(
            narrow,
            Warning,
            "llama.cpp rounds blocks of 32 or 256 columns: these rows are no multiple, and the tensor stays 16-bit",
            "count these layers as dense",
        ));
    }
    out
}

/// Layers of which nothing is left.
pub fn nothing_left(case: &Case) -> Vec<Found> {
    let gone = case.names(|_, t, _| t.rank.is_none() && t.prune.is_some_and(|p| p.remove >= 1.0));
    about(
        gone,
        Note,
        "nothing of the layer is left, and its zeros are stored",
        "where a whole block goes, `export --to mergekit` or `--to llama-cpp` leaves it out",
    )
}

/// Tied layers are one tensor.
pub fn tied(case: &Case) -> Vec<Found> {
    if case.plan.is_dense() {
        return Vec::new();
    }
    let tied = case.model.layers.iter().filter(|l| l.tied_to.is_some()).map(|l| l.name.clone()).collect();
    about(
        tied,
        Note,
        "shares its tensor with another layer: it is counted once and stays dense",
        "untie the checkpoint first, if it is to be compressed",
    )
}

/// Pins that keep a plan from going further.
pub fn pinned(case: &Case) -> Vec<Found> {
    let held = |l: &&Layer| {
        let entry = case.plan.entry(l.id);
        l.eligible() && l.tied_to.is_none() && entry.pinned && entry.treatment.is_dense()
    };
    if case.plan.is_dense() {
        return Vec::new();
    }
    let (layers, params): (Vec<String>, Vec<u64>) =
        case.model.layers.iter().filter(held).map(|l| (l.name.clone(), l.params)).unzip();
    let share = 100.0 * params.iter().sum::<u64>() as f64 / case.model.params().max(1) as f64;
    if share < 5.0 {
        return Vec::new();
    }
    about(
        layers,
        Note,
        format!("pinned dense, {share:.0} % of the model's parameters: the rest carries the whole budget"),
        "take the pin away where it is not needed",
    )
}
