//! What the numbers mean: a name, what it is, how far to trust it.

/// A number and its explanation.
pub type Entry = (&'static str, &'static str);

/// What every screen shows.
pub static PLAN: &[Entry] = &[
    ("= ≤ ≥ ≈ …", "computed to the tested accuracy; upper bound; lower bound; estimate; still to come."),
    (
        "keep",
        "share of all parameters left: r(m+n) for two factors, nonzeros after pruning, their sum for both. Zeros save nothing at run time unless the runtime uses them.",
    ),
    ("err", "‖W−Ŵ‖_F/‖W‖_F of a layer. From the weights alone: it does not say how much quality is lost."),
    (
        "out err",
        "‖(W−Ŵ)X‖/‖WX‖ on the inputs that a calibration saw (w switches): = after a run, and of whitened factors before it; ≈ of Wanda, as if no two inputs went together; … where only a run can tell. The spectrum is then of WS, SSᵀ = E[xxᵀ], magnitudes are |w|·√E[x²]. Closer to quality than weights, and no quality either.",
    ),
    ("mean err", "√(Σ‖W−Ŵ‖²/Σ‖W‖²) over the eligible layers, those not measured yet left out."),
    (
        "rank",
        "rank kept: Ŵ is the truncated SVD, the best approximation of that rank (Eckart–Young). At or above the break-even rank ⌊mn/(m+n)⌋ two factors hold no fewer parameters than the matrix: the shaded part of the knob.",
    ),
    (
        "prune",
        "share of the entries removed, smallest magnitudes within the layer first. With a rank as well: Ŵ = W_r plus the pruned rest W−W_r.",
    ),
    (
        "MACs",
        "multiply-accumulates per token (per image for a network on images) if every stored parameter is used and no zero is.",
    ),
];

/// Measured quality.
pub static QUALITY: &[Entry] = &[
    (
        "bits/byte",
        "Σ −log₂ p(token | context) over the slice's predicted tokens ÷ their UTF-8 bytes; windows of the model's context, not overlapping, the first token of each not predicted. Comparable between tokenizers; perplexity (per token) is not.",
    ),
    ("accuracy", "share of the slice's images whose label has the largest output."),
    (
        "±",
        "standard error over windows or images: how far the slice may lie from all data like it. Plans on one slice are compared more closely than that: the difference has its own, smaller error, part by part. ≈ while the slice is not through.",
    ),
    (
        "τ",
        "Kendall's rank correlation of a proxy with the measured loss over the plans visited in this session: 1 the same order, 0 chance, −1 the opposite. It says which proxy to trust on this model, for plans like these.",
    ),
    (
        "alone",
        "loss above the dense model's (nats per token or image) with one layer treated and all others dense. Dim where it lies within twice its standard error. Layers treated together lose more or less than the sum.",
    ),
    ("slice", "always the same part of the data, named on the frame; E takes the larger one and measures anew."),
];

/// The spectrum.
pub static SPECTRUM: &[Entry] = &[
    (
        "σᵢ",
        "singular values of the matrix view (out × in; a convolution as out × in·kh·kw). = is off by at most a millionth of σ₁, as the tests check on many kinds of matrices: tested, not proven. C proves an upper bound on σ₁. Until they are computed: ≥ σ₁ from below and a sketch of the rest from random vectors (stochastic Lanczos quadrature), ≈ with error bars.",
    ),
    (
        "energy",
        "smallest rank whose values hold 90, 95, 99 % of Σσ². Energy is no quality: measure the loss before trusting it.",
    ),
    ("break-even", "⌊mn/(m+n)⌋: at or above this rank two factors are no smaller than the matrix."),
    ("cut", "‖W−W_r‖₂ = σ_{r+1}: the largest change of any unit input."),
    (
        "noise edge",
        "upper edge of the Marchenko–Pastur bulk fitted to the median value: a random matrix of this size and spread has no value above it. Trained weights are no noise below it; an estimate.",
    ),
    ("stable rank", "‖W‖_F²/σ₁². Near 1: one direction carries the energy."),
    ("effective rank", "exp of the entropy of σ/Σσ (Roy and Vetterli 2007)."),
    (
        "α",
        "exponent of a power law fitted to the tail of σ² (Clauset, Shalizi and Newman 2009); between 2 and 6 for most trained layers. An estimate from few points.",
    ),
];

/// Sparsity.
pub static SPARSITY: &[Entry] = &[
    (
        "histogram",
        "entries by magnitude on logarithmic bins; zeros are a bar of their own at the left. Heights are square roots of counts.",
    ),
    ("threshold", "the largest magnitude removed at this ratio within the layer: everything left of it goes."),
    ("remove n%", "relative error ‖W−Ŵ‖_F/‖W‖_F of removing that share, smallest first. Exact."),
    (
        "2:4 …",
        "keep the 2 largest of every 4 consecutive inputs: its relative error, exact. Of a convolution the inputs are those of the matrix view, channel by channel.",
    ),
    (
        "n",
        "goes through the patterns: single entries, the same share of each row, N of every 4, 8 or 16 inputs, rows, columns (input channels of a convolution), blocks. Units of least energy an entry go first; what stays of a row, column or block is stored densely.",
    ),
    (
        "by layer, by row",
        "relative error of removing as much with one threshold for the whole layer, or with one for each row (per-row). The same number of entries goes; one threshold never errs more. ≈ where only some rows were sorted.",
    ),
    (
        "rows, columns",
        "density of each row and column after pruning, dark where few entries are left: stripes are structure that structured pruning could use.",
    ),
    ("PQ index", "1 − d^(1/q−1/p)‖w‖_p/‖w‖_q with p = ½, q = 1: 0 when all magnitudes are equal (Diao et al. 2023)."),
];

/// Lipschitz.
pub static LIPSCHITZ: &[Entry] = &[
    (
        "ℓ2",
        "largest stretch of Euclidean length: σ₁ for a linear layer; for a convolution the norm of the operator on whole images, between a lower bound (Lanczos on the operator) and an upper one.",
    ),
    ("ℓ∞, ℓ1", "largest row and column sum of |w|: exact for a linear layer."),
    ("RMS", "ℓ2 times √(in/out): stretch of the root mean square."),
    (
        "‖W−Ŵ‖₂",
        "largest change of any unit input through this layer. σ_{r+1} for a truncation; for pruning a bound, then a lower bound from Lanczos once run.",
    ),
    (
        "product",
        "of the layers' ℓ2 constants, in log10: an upper bound on the whole network only where layers follow each other with activations that do not stretch, and usually a loose one.",
    ),
];

/// The map.
pub static MAP: &[Entry] = &[
    (
        "shades",
        "· ░ ▒ ▓ █ from the smallest to the largest value on screen; values that span more than two decades are shaded by their logarithm.",
    ),
    ("metric", "m changes it; s sorts the list by it."),
];

/// The frontier.
pub static FRONTIER: &[Entry] = &[
    (
        "curves",
        "what each allocator makes of every budget: size across, error up. The bright one is the chosen allocator, ● the plan at hand, letters are plans put aside. Errors come from the weights alone and are no quality.",
    ),
    (
        "mean err, err per layer",
        "m changes it. Mean err: √(Σ‖W−Ŵ‖²/Σ‖W‖²), in which large weights count more. Per layer: √(mean of (‖W−Ŵ‖/‖W‖)²), each layer alike.",
    ),
    (
        "knee",
        "the point farthest below the chord from the first to the last point of the curve, both axes scaled to 1: left of it a little less costs much more (Kneedle, Satopää et al. 2011). A knee exists even for random weights.",
    ),
    (
        "uniform, erk, lamp",
        "the same share of every layer; more of small layers, from shapes alone (Evci et al. 2020); one threshold on w²/Σ of what is not smaller in the layer (Lee et al. 2021).",
    ),
    (
        "global, flops",
        "least total squared error, which large weights dominate: of single entries one threshold for all, of ranks the directions of most energy a parameter; flops the same a multiply-accumulate, for budgets of MACs.",
    ),
    (
        "waterfill",
        "least sum of squared relative errors: steps of all layers' convex hulls in the order of gain per cost. Optimal where a budget ends on a step, off by less than one step between.",
    ),
    (
        "alphapruning, stable-rank",
        "from spectra: more from layers with a lighter tail (Lu et al. 2024); less from layers whose energy is spread over many directions (after Mi et al. 2025).",
    ),
    (
        "budget",
        "←→ moves it, enter makes the row under the cursor the plan. = types 50%, floor 10%, ceiling 90%, of bytes, rank 8, 2:4, groups qkv, or an allocator's name. Pinned layers stay as they are.",
    ),
    (
        "min, max",
        "the least and the most that an allocator can keep, where a budget is out of its reach: pinned layers, floors, ceilings and what is not compressed hold it.",
    ),
];
