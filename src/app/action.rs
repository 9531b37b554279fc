//! Everything a key can mean, with the words of the help page.

use super::LensId;

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leave the program.
    Quit,
    /// Stop until the shell continues the program.
    Suspend,
    /// Show or hide the help page.
    Help,
    /// Explain the numbers of this lens.
    Explain,
    /// One step back: overlay, expanded panel, filter.
    Back,
    /// Start typing a filter.
    Filter,
    /// Show a lens.
    Lens(LensId),
    /// Move through the list by so many rows.
    Move(i32),
    /// Move by a page.
    Page(i32),
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The layer of the same role in the next (+1) or previous (−1) block.
    SameRole(i32),
    /// Move the active knob by so many steps of 1 %.
    Scrub(i32),
    /// The next knob.
    NextKnob,
    /// The knob before.
    PreviousKnob,
    /// The next pattern of pruning, or way to share scales.
    NextPattern,
    /// Factors of the matrix, or spatial-wise ones of a convolution.
    NextForm,
    /// The next criterion of pruning.
    NextCriterion,
    /// The next rule for ranks.
    NextRule,
    /// Type a value for the active knob.
    TypeValue,
    /// Make the layers in scope dense again.
    Dense,
    /// Protect the layer from scopes larger than itself.
    Pin,
    /// Take the last edit back.
    Undo,
    /// Make it again.
    Redo,
    /// List earlier sessions of this model, to take one up.
    Sessions,
    /// The next scope: layer, role, block, all.
    NextScope,
    /// Expand the panel, or open the layer from the map.
    Expand,
    /// Fold or unfold the block.
    Fold,
    /// Fold or unfold all blocks.
    FoldAll,
    /// The next order of the list.
    Sort,
    /// Show tensors that are never compressed.
    ShowAll,
    /// The next metric of the map.
    Metric,
    /// The next kind of axes.
    Axes,
    /// Values, or cumulative energy.
    Cumulative,
    /// Overlay the same role of other blocks.
    Overlay,
    /// Move the cursor along the spectrum by so many values.
    Cursor(i32),
    /// Prove an upper bound on σ₁ of the selected layer.
    Certify,
    /// Switch the mouse on or off.
    Mouse,
    /// Open the frontier with the budget as the active knob.
    Budget,
    /// The next allocator.
    Allocator,
    /// Meet budgets by pruning, by rank, or by either.
    Means,
    /// Budgets of parameters, bytes or multiply-accumulates.
    Unit,
    /// Which layers share a setting.
    Groups,
    /// The next multiple of ranks.
    Multiple,
    /// Put the plan aside.
    Snapshot,
    /// Show where two plans differ.
    Differences,
    /// Leave with the plan: remarks and formats.
    Export,
    /// Measure quality on the larger slice, or begin to.
    Extent,
    /// Measure what each layer loses alone.
    Sweep,
    /// From weights to activations, and back.
    Activations,
}

impl Action {
    /// What it does, for the help page.
    pub fn words(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Suspend => "suspend (fg brings it back)",
            Self::Help => "this help",
            Self::Explain => "what the numbers of this lens mean",
            Self::Back => "one step back: overlay, panel, filter",
            Self::Filter => "filter layers by name, role or block",
            Self::Lens(LensId::Spectrum) => "spectrum: singular values, rank, noise edge",
            Self::Lens(LensId::Sparsity) => "sparsity: magnitudes, threshold, patterns",
            Self::Lens(LensId::Lipschitz) => "Lipschitz: norms before and after",
            Self::Lens(LensId::Map) => "map: any metric by depth and role",
            Self::Lens(LensId::Frontier) => "frontier: size against error",
            Self::Lens(LensId::Quality) => "quality: measured loss",
            Self::Move(n) if n < 0 => "previous layer",
            Self::Move(_) => "next layer",
            Self::Page(n) if n < 0 => "a page up",
            Self::Page(_) => "a page down",
            Self::First => "first layer",
            Self::Last => "last layer",
            Self::SameRole(n) if n < 0 => "same role, previous block",
            Self::SameRole(_) => "same role, next block",
            Self::Scrub(-1) => "knob left by 1 % or a bit",
            Self::Scrub(1) => "knob right by 1 % or a bit",
            Self::Scrub(n) if n < 0 => "knob left by 10 %",
            Self::Scrub(_) => "knob right by 10 %",
            Self::NextKnob => "next knob: rank, prune, bits; on the frontier the budget",
            Self::PreviousKnob => "previous knob",
            Self::NextPattern => "next pattern of pruning; on bits: who shares a scale",
            Self::NextForm => "factors of a convolution: channel-wise or spatial-wise",
            Self::NextCriterion => "next criterion: magnitude, relative importance, …",
            Self::NextRule => "next rule for ranks: energy, LoRD, noise edge, …",
            Self::TypeValue => "type a value: 64, 50%, 2:4, row 30%, int4 row, energy 95%, dense",
            Self::Dense => "make the layers in scope dense again",
            Self::Pin => "pin: larger scopes leave the layer alone",
            Self::Undo => "undo",
            Self::Redo => "redo",
            Self::Sessions => "earlier sessions of this model: enter takes one up",
            Self::NextScope => "scope: layer, same role, block, all eligible",
            Self::Expand => "expand the panel; map: open the layer; frontier: take the plan",
            Self::Fold => "fold or unfold the block",
            Self::FoldAll => "fold or unfold all blocks",
            Self::Sort => "sort the list",
            Self::ShowAll => "show tensors that are never compressed",
            Self::Metric => "next metric of the map; frontier: which error; quality: panel",
            Self::Axes => "axes: log·log, linear, log σ",
            Self::Cumulative => "values or cumulative energy",
            Self::Overlay => "overlay the same role of other blocks",
            Self::Cursor(-1) => "cursor left by one value; frontier: row up",
            Self::Cursor(1) => "cursor right by one value; frontier: row down",
            Self::Cursor(n) if n < 0 => "cursor left by a tenth",
            Self::Cursor(_) => "cursor right by a tenth",
            Self::Certify => "certify: prove an upper bound on σ₁",
            Self::Mouse => "mouse on or off",
            Self::Budget => "budget: spread a share of the model over its layers",
            Self::Allocator => "next allocator: how a budget is spread",
            Self::Means => "budget by pruning, by rank, by either, by bits",
            Self::Unit => "budget of parameters, bytes, bytes with their index, MACs",
            Self::Groups => "budget: one setting for q·k·v, gate·up",
            Self::Multiple => "budget: ranks are multiples of 1, 8, 16, 32, 64",
            Self::Snapshot => "put the plan aside as A, B, C …",
            Self::Differences => "where the plan and one put aside differ",
            Self::Export => "leave with the plan: remarks, plan file, other tools' formats",
            Self::Extent => "measure quality: on the larger slice, on the smaller again",
            Self::Sweep => "measure what each layer loses alone, by the knob at hand",
            Self::Activations => "errors and pictures of weights, or of outputs by activations",
        }
    }

    /// The word for frames and the hint bar, where the action has a place there.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Quit => "quit",
            Self::Help => "help",
            Self::Explain => "explain",
            Self::Filter => "filter",
            Self::SameRole(_) => "same role",
            Self::Scrub(1 | -1) => "step",
            Self::Scrub(_) => "coarse",
            Self::NextKnob => "knob",
            Self::NextPattern => "pattern",
            Self::TypeValue => "type",
            Self::Dense => "dense",
            Self::Pin => "pin",
            Self::Undo => "undo",
            Self::Redo => "redo",
            Self::Sessions => "sessions",
            Self::NextScope => "scope",
            Self::Expand => "expand",
            Self::Fold => "fold",
            Self::Sort => "sort",
            Self::ShowAll => "all tensors",
            Self::Metric => "metric",
            Self::Axes => "axes",
            Self::Cumulative => "cumulative",
            Self::Overlay => "overlay role",
            Self::Cursor(1 | -1) => "cursor",
            Self::Back => "back",
            Self::Lens(_) => "lens",
            Self::Certify => "certify",
            Self::Mouse => "mouse",
            Self::Budget => "budget",
            Self::Allocator => "allocator",
            Self::Means => "by",
            Self::Unit => "of",
            Self::Groups => "groups",
            Self::Multiple => "multiple",
            Self::Snapshot => "put aside",
            Self::Differences => "differences",
            Self::Export => "export",
            Self::Extent => "slice",
            Self::Sweep => "sensitivity",
            Self::Activations => "weights or activations",
            _ => return None,
        })
    }
}
