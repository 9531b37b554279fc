//! What a layer takes to store and to run, under any treatment. Pure arithmetic.

use super::layer::Layer;

/// Size and work of a layer's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Parameters stored: all entries, nonzeros, factors, or nonzeros and factors.
    pub params: u64,
    /// Their bytes in the layer's own element type. Values only: the index of a sparse format comes on top.
    pub bytes: u64,
    /// Multiply-accumulates per token (per example for images); `None` where the geometry is unknown.
    pub macs: Option<u64>,
}

/// Cost with `rank` kept and, of the entries (or of the residual, when a rank is given), `nonzeros` left.
///
/// Two factors hold r(m+n) parameters, more than mn above the break-even rank: shown so, not rounded. A convolution
/// of rank r is r filters followed by a 1×1 convolution, both at output resolution: the same count.
pub fn cost(layer: &Layer, rank: Option<usize>, nonzeros: Option<u64>) -> Cost {
    if rank.is_none() && nonzeros.is_none() || layer.params == 0 {
        return Cost { params: layer.params, bytes: layer.bytes, macs: layer.macs };
    }
    let factors = rank.map_or(0, |r| r as u64 * (layer.rows() + layer.cols()) as u64);
    let params = factors + nonzeros.unwrap_or(0);
    let bytes = (params as f64 * layer.element_bytes()).ceil() as u64;
    Cost { params, bytes, macs: layer.uses.map(|uses| params * uses) }
}
