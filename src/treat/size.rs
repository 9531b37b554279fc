//! What a treated layer takes to store and to run. Pure arithmetic.

use super::error::NO_INPUTS;
use super::{Factors, Pattern, Prune, Quantise, Treatment};
use crate::model::cost::Cost;
use crate::model::{Kind, Layer, Orientation};

/// Cost of a layer under a treatment that leaves `nonzeros` stored entries of the matrix (or of the residual, when there
/// is a rank); `None` counts all where it is pruned.
///
/// Two factors hold r(m+n) parameters, more than mn above the break-even rank: shown so, not rounded. A convolution of
/// rank r is r filters followed by a 1×1 convolution, both at output resolution. Rounded entries take their bits, and 16
/// bits a scale of each matrix that is stored; the work stays the same.
pub fn cost(layer: &Layer, treatment: Treatment, nonzeros: Option<u64>) -> Cost {
    if treatment.is_dense() || layer.params == 0 {
        return Cost { params: layer.params, bytes: layer.bytes, macs: layer.macs, index: 0 };
    }
    let (rows, cols) = (layer.rows(), layer.cols());
    let shapes = factors(layer, treatment);
    let held: u64 = shapes.iter().flatten().map(|[m, n]| (m * n) as u64).sum();
    let entries = match treatment.prune {
        Some(_) => Some(nonzeros.unwrap_or(layer.params)),
        None => treatment.rank.is_none().then_some(layer.params),
    };
    let params = held + entries.unwrap_or(0);
    let bytes = match treatment.quantise {
        Some(how) => {
            let stored: u64 = shapes.iter().flatten().map(|[m, n]| how.bytes((m * n) as u64, *m, *n)).sum();
            stored + entries.map_or(0, |e| how.bytes(e, rows, cols))
        }
        None => (params as f64 * layer.element_bytes()).ceil() as u64,
    };
    let index = treatment.prune.zip(entries).map_or(0, |(how, entries)| index(layer, how, entries));
    Cost { params, bytes, macs: macs(layer, treatment, params), index }
}

/// Extents of the two factors.
fn factors(layer: &Layer, treatment: Treatment) -> Option<[[usize; 2]; 2]> {
    let rank = treatment.rank?;
    let [m, n] = treatment.form.shape(layer);
    Some([[m, rank], [rank, n]])
}

/// Each stored parameter works once for every use of the layer. Of spatial-wise factors of a convolution the first (kh×1)
/// takes the stride along the height and runs at output rows × input columns, the second (1×kw) at output resolution.
fn macs(layer: &Layer, treatment: Treatment, params: u64) -> Option<u64> {
    let uses = layer.uses?;
    let Some([[m, rank], [_, n]]) = factors(layer, treatment).filter(|_| treatment.form == Factors::Spatial) else {
        return Some(layer.work(params * uses));
    };
    let geometry = layer.conv?;
    let (first, second) = ((m * rank) as u64, (rank * n) as u64);
    let wide = (geometry.output[0] * geometry.input[1]) as u64;
    Some(first * wide + (params - first) * uses).filter(|_| second <= params)
}

/// Bytes that say which entries are stored.
///
/// Single entries: the cheaper of a bitmap (a bit an entry) and compressed rows (16 bits a stored entry for its column,
/// 32 where there are more than 65,536 columns, and a 32-bit pointer a row and one). N:M: ⌈log₂ C(M, N)⌉ bits a group,
/// but 2:4 as graphics cards keep it, 2 bits a stored entry. Rows, columns, tiles: a bitmap of them.
pub fn index(layer: &Layer, how: Prune, stored: u64) -> u64 {
    let (rows, cols) = (layer.rows() as u64, layer.cols() as u64);
    if how.remove <= 0.0 {
        return 0;
    }
    match how.pattern {
        Pattern::Unstructured | Pattern::PerRow => {
            let column = if cols <= 1 << 16 { 2 } else { 4 };
            let compressed = stored * column + (rows + 1) * 4;
            compressed.min((rows * cols).div_ceil(8))
        }
        Pattern::Groups(m) => {
            let kept = m as u64 - how.pattern.removed(how.remove, layer).min(m as u64);
            let bits = if (kept, m) == (2, 4) { 4 } else { bits_of(m as u64, kept) };
            (rows * (cols / m.max(1) as u64) * bits).div_ceil(8)
        }
        Pattern::Rows | Pattern::Columns | Pattern::Blocks(..) => how.pattern.units(layer).div_ceil(8),
    }
}

/// ⌈log₂ C(m, n)⌉.
fn bits_of(m: u64, n: u64) -> u64 {
    // Exact: each product of so many consecutive numbers is divisible; C(64, 32) has 61 bits.
    let ways = (0..n.min(m - n.min(m))).fold(1u128, |c, i| c * u128::from(m - i) / u128::from(i + 1));
    u64::from(ways.max(1).next_power_of_two().trailing_zeros())
}

impl Factors {
    /// `[m, n]` of the matrix whose rank is kept: spatial-wise (inputs · kh) × (outputs · kw).
    pub fn shape(self, layer: &Layer) -> [usize; 2] {
        match (self, layer.shape.as_slice()) {
            (Self::Spatial, &[outputs, inputs, height, width]) => [inputs * height, outputs * width],
            _ => layer.matrix,
        }
    }
    /// All of them, in the order in which a key goes through them.
    pub const ALL: [Self; 4] = [Self::Matrix, Self::Spatial, Self::Whitened, Self::Asvd];

    /// Its name in plan files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Spatial => "spatial",
            Self::Whitened => "whitened",
            Self::Asvd => "asvd",
        }
    }
    /// The form of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }
    /// Its word.
    pub fn words(self) -> &'static str {
        match self {
            Self::Matrix => "channel-wise",
            Self::Spatial => "spatial-wise",
            Self::Whitened => "whitened",
            Self::Asvd => "ASVD",
        }
    }
    /// What it is, in a line of help.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Matrix => "the matrix itself: least error of the weights",
            Self::Spatial => "spatial-wise, for convolutions: a kh×1 and a 1×kw convolution",
            Self::Whitened => "least error of the outputs (SVD-LLM); needs --calibration",
            Self::Asvd => "columns scaled by their mean |x| (ASVD); needs --calibration",
        }
    }
    /// What it is, said when it is chosen.
    pub fn describe(self, layer: &Layer) -> String {
        let diagonal = layer.inputs.as_ref().is_some_and(|i| !i.has_gram());
        match self {
            Self::Matrix => "the matrix: least ‖W−Ŵ‖".to_owned(),
            Self::Spatial => "spatial-wise: a kh×1 and a 1×kw convolution".to_owned(),
            Self::Whitened if diagonal => {
                "whitened: least ‖(W−Ŵ)X‖ as far as the diagonal of the inputs' Gram matrix says (SVD-LLM)".to_owned()
            }
            Self::Whitened => "whitened: least ‖(W−Ŵ)X‖ over the calibration (SVD-LLM)".to_owned(),
            Self::Asvd => "columns scaled by the root of their mean |x| (ASVD)".to_owned(),
        }
    }
    /// Whether it goes by activations.
    pub fn weighs(self) -> bool {
        matches!(self, Self::Whitened | Self::Asvd)
    }
    /// Whether a layer has such factors.
    pub fn apply_to(self, layer: &Layer) -> bool {
        self.fits(layer).is_ok()
    }
    /// Why a layer has no such factors: spatial-wise those convolutions have over two axes, of more than one tap and without
    /// groups; the weighted ones layers whose inputs were seen.
    pub fn fits(self, layer: &Layer) -> Result<(), String> {
        match self {
            Self::Matrix => Ok(()),
            Self::Spatial => {
                let one_group = layer.conv.is_none_or(|c| c.groups == 1);
                let fits = layer.kind == Kind::Conv2d
                    && layer.orientation == Orientation::OutIn
                    && layer.shape.len() == 4
                    && layer.input_columns() > 1
                    && one_group;
                let what = "spatial factors are of convolutions over two axes, of several taps and without groups";
                if fits { Ok(()) } else { Err(what.to_owned()) }
            }
            Self::Whitened | Self::Asvd => match &layer.inputs {
                None => Err(NO_INPUTS.to_owned()),
                Some(inputs) if self == Self::Asvd && inputs.abs_mean.is_none() => {
                    Err("it needs the mean |x| of each input, which the calibration does not hold: --calibration FILE \
                         with abs_mean"
                        .to_owned())
                }
                Some(_) => Ok(()),
            },
        }
    }
    /// The largest possible rank.
    pub fn full_rank(self, layer: &Layer) -> usize {
        let [m, n] = self.shape(layer);
        m.min(n)
    }
    /// ⌊parameters/(m+n)⌋: at or above this rank two factors hold no fewer parameters than the layer.
    pub fn break_even_rank(self, layer: &Layer) -> usize {
        let [m, n] = self.shape(layer);
        if m + n == 0 { 0 } else { ((m as u128 * n as u128) / (m + n) as u128) as usize }
    }
}

/// Share of the dense bytes that rounding alone takes.
pub fn rounded_share(layer: &Layer, how: Quantise) -> f64 {
    super::quantise::bytes(layer, how) as f64 / layer.bytes.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layer::ConvGeometry;
    use crate::treat::Granularity;

    fn layer(rows: usize, cols: usize) -> Layer {
        Layer::alone(Kind::Linear, &[rows, cols])
    }

    #[test]
    fn bits_that_name_a_choice() {
        for (m, n, bits) in
            [(4, 2, 3), (4, 1, 2), (8, 4, 7), (2, 1, 1), (16, 1, 4), (16, 2, 7), (64, 32, 61), (4, 4, 0)]
        {
            assert_eq!(bits_of(m, n), bits, "{n} of {m}");
        }
    }

    #[test]
    fn the_cheaper_index_is_counted() {
        let l = layer(64, 256);
        // 16,384 entries: a bitmap takes 2,048 bytes; 819 entries in compressed rows 1,638 + 260.
        let how = Prune::unstructured(0.95);
        assert_eq!((index(&l, how, 819), index(&l, how, 8192)), (1898, 2048));
        // 2:4: 64 groups a row, 4 bits each; 1:4: 2 bits each; 4:8: 7 bits for each of 32.
        for (m, remove, bytes) in [(4, 0.5, 2048), (4, 0.75, 1024), (8, 0.5, 64 * 32 * 7 / 8)] {
            assert_eq!(index(&l, Prune::of(remove, Pattern::Groups(m)), 0), bytes, "{m}");
        }
        assert_eq!(index(&l, Prune::of(0.5, Pattern::Rows), 8192), 8);
        assert_eq!(index(&l, Prune::of(0.5, Pattern::Blocks(16, 16)), 8192), 8);
        // Beyond 65,536 columns a column takes 32 bits.
        assert_eq!(index(&layer(1, 70_000), Prune::unstructured(0.99), 700), 2808);
    }

    #[test]
    fn spatial_factors_break_even_where_they_should() {
        // 64 filters of 32 × 3×3: channel-wise 52.36 of at most 64, spatial-wise 64 of at most 96.
        let conv = Layer::alone(Kind::Conv2d, &[64, 32, 3, 3]);
        let (channel, spatial) = (Factors::Matrix, Factors::Spatial);
        assert_eq!((channel.break_even_rank(&conv), channel.full_rank(&conv)), (52, 64));
        assert_eq!((spatial.break_even_rank(&conv), spatial.full_rank(&conv)), (64, 96));
        assert_eq!(spatial.shape(&conv), [96, 192]);
        assert!(spatial.apply_to(&conv) && !spatial.apply_to(&layer(3, 3)));
        assert!(!spatial.apply_to(&Layer::alone(Kind::Conv2d, &[64, 32, 1, 1])));
        let t = Treatment { form: spatial, ..Treatment::rank(64) };
        assert_eq!(cost(&conv, t, None).params, 18_432);
    }

    #[test]
    fn the_first_spatial_factor_runs_at_output_rows_and_input_columns() {
        // 8×10 to 4×5 by stride 2: 3×1 at 4×10 places, 1×3 at 4×5.
        let geometry = ConvGeometry {
            output: [4, 5],
            input: [8, 10],
            stride: [2, 2],
            padding: [1, 1],
            dilation: [1, 1],
            groups: 1,
            circular: false,
        };
        let conv = Layer { conv: Some(geometry), uses: Some(20), ..Layer::alone(Kind::Conv2d, &[6, 2, 3, 3]) };
        let t = Treatment { form: Factors::Spatial, ..Treatment::rank(4) };
        assert_eq!(cost(&conv, t, None).macs, Some(4 * 6 * 40 + 4 * 18 * 20));
        // Of rank r: r filters, then a 1×1 convolution, both at output resolution.
        let whole = cost(&conv, Treatment::rank(4), None);
        let params = 4 * (18 + 6);
        assert_eq!(whole, Cost { params, bytes: params * 4, macs: Some(params * 20), index: 0 });
        let expert = Layer { chosen: Some([2, 8]), ..layer(64, 32) };
        assert_eq!(cost(&expert, Treatment::rank(4), None).macs, Some(4 * 96 / 4), "two of eight experts run");
    }

    #[test]
    fn rounded_entries_take_their_bits_and_their_scales() {
        let l = layer(64, 256);
        let how = |bits, per| Some(Quantise { bits, per });
        let bytes = |t: Treatment, nonzeros| cost(&l, t, nonzeros).bytes;
        let alone = |bits, per| Treatment { quantise: how(bits, per), ..Treatment::default() };
        // 16,384 entries of 4 bits; a scale a tensor, a row, 64 entries.
        assert_eq!(bytes(alone(4, Granularity::Tensor), None), 8194);
        assert_eq!(bytes(alone(4, Granularity::Row), None), 8192 + 128);
        assert_eq!(bytes(alone(3, Granularity::Group(64)), None), 6144 + 512);
        let dense = cost(&l, Treatment::default(), None);
        let rounded = cost(&l, alone(4, Granularity::Row), None);
        assert_eq!((rounded.params, rounded.macs), (dense.params, dense.macs));
        // Rank 8: factors 64×8 and 8×256, 4 bits, a scale a row of each.
        let ranked = Treatment { rank: Some(8), ..alone(4, Granularity::Row) };
        assert_eq!(bytes(ranked, None), 256 + 128 + 1024 + 16);
        let sparse = Treatment { prune: Some(Prune::unstructured(0.5)), ..alone(4, Granularity::Row) };
        assert_eq!(bytes(sparse, Some(8192)), 4096 + 128);
        let both = Treatment { prune: Some(Prune::unstructured(0.5)), ..ranked };
        assert_eq!(cost(&l, both, Some(8192)).params, 8 * 320 + 8192);
        assert_eq!(bytes(both, Some(8192)), 256 + 128 + 1024 + 16 + 4096 + 128);
    }
}
