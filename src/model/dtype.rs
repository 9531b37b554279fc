//! Element types: width, name, and decoding to `f32`.

use serde::{Serialize, Serializer};

/// Element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    BF16,
    /// 8-bit float, 4 exponent bits, finite only (`float8_e4m3fn`).
    F8E4M3,
    /// 8-bit float, 5 exponent bits.
    F8E5M2,
    /// 64-bit signed.
    I64,
    /// 32-bit signed.
    I32,
    /// 16-bit signed.
    I16,
    /// 8-bit signed.
    I8,
    /// 64-bit unsigned.
    U64,
    /// 32-bit unsigned.
    U32,
    /// 16-bit unsigned.
    U16,
    /// 8-bit unsigned.
    U8,
    /// Boolean, one byte.
    Bool,
    /// A type that the format names but that is not decoded here (4- and 6-bit floats, scales, complex).
    Unknown {
        /// Bits of an element.
        bits: u16,
        /// Its name in the file.
        name: &'static str,
    },
}

impl DType {
    /// Bits of one element.
    pub fn bits(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 64,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 16,
            Self::F8E4M3 | Self::F8E5M2 | Self::I8 | Self::U8 | Self::Bool => 8,
            Self::Unknown { bits, .. } => bits as usize,
        }
    }
    /// Whether elements are floating-point weights that can be decoded.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2)
    }
    /// Name as in the file format: `BF16`, `F8_E4M3`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::Unknown { name, .. } => name,
        }
    }
    /// Precision of the type, for the numerical rank: 2⁻²³ for F32, 2⁻¹¹ for F16, 2⁻⁸ for BF16.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::F64 => f64::EPSILON,
            Self::F16 => 2f64.powi(-11),
            Self::BF16 => 2f64.powi(-8),
            Self::F8E4M3 => 2f64.powi(-4),
            Self::F8E5M2 => 2f64.powi(-3),
            _ => f64::from(f32::EPSILON),
        }
    }
}

impl Serialize for DType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
