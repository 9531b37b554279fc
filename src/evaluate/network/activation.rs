//! Functions of single numbers.

use candle_core::{Result, Tensor};
use candle_nn::ops;

/// A function of single numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x where positive, else this multiple of it.
    LeakyRelu(f64),
    /// x Φ(x).
    Gelu,
    /// x Φ(x) by a tanh.
    GeluTanh,
    /// x / (1 + e⁻ˣ).
    Silu,
    /// tanh x.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// log(1 + eˣ).
    Softplus,
}

impl Activation {
    /// By its name in a Hugging Face config.
    pub fn named(name: &str) -> std::result::Result<Self, String> {
        Ok(match name {
            "relu" => Self::Relu,
            "gelu" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Self::GeluTanh,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            other => return Err(format!("the activation {other} is not known")),
        })
    }

    /// Of each number.
    pub fn of(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => x.relu(),
            Self::LeakyRelu(slope) => x.relu()? - (x.neg()?.relu()? * slope)?,
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Silu => x.silu(),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => ops::sigmoid(x),
            // max(x, 0) + log(1 + e^−|x|) overflows nowhere.
            Self::Softplus => x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?,
        }
    }
}
