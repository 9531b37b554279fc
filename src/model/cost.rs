//! What a layer takes to store and to run. The arithmetic of treatments is in `treat/size.rs`.

/// Size and work of a layer's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Parameters stored: all entries, nonzeros, factors, or nonzeros and factors.
    pub params: u64,
    /// Their bytes in the layer's own element type. Values only: the index of a sparse format comes on top.
    pub bytes: u64,
    /// Multiply-accumulates per token (per example for images); `None` where the geometry is unknown.
    pub macs: Option<u64>,
    /// Bytes that say which entries are stored, beside `bytes`; 0 where all are.
    pub index: u64,
}
