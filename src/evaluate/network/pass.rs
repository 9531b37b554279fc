//! One run through a network: what architectures build their forward pass of.

use super::Network;
use crate::evaluate::{Listener, Outputs};
use crate::model::{LayerId, TensorId};
use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops;

/// One run through a network.
pub struct Pass<'a, 'b> {
    network: &'a Network,
    listen: Option<&'a mut Listener<'b>>,
    outputs: Option<&'a mut Outputs<'b>>,
}

impl<'a, 'b> Pass<'a, 'b> {
    /// Through this network, with who listens to inputs and who changes outputs.
    pub fn new(
        network: &'a Network,
        listen: Option<&'a mut Listener<'b>>,
        outputs: Option<&'a mut Outputs<'b>>,
    ) -> Self {
        Self { network, listen, outputs }
    }

    /// A tensor that was loaded as it is.
    pub fn fixed(&self, id: TensorId) -> Result<&'a Tensor> {
        let found = self.network.fixed.get(&id);
        found.ok_or_else(|| candle_core::Error::Msg(format!("tensor {id} was not loaded")))
    }

    /// Where the network is.
    pub fn device(&self) -> &'a candle_core::Device {
        &self.network.device
    }

    /// A layer with its bias: rows × `in_features` to rows × `out_features`.
    pub fn linear(&mut self, id: LayerId, x: &Tensor) -> Result<Tensor> {
        self.grouped(id, x, 1)
    }

    /// A layer of which each group of outputs sees its own inputs: x is (groups · rows) × inputs, one group after the
    /// other; the result rows × outputs.
    pub fn grouped(&mut self, id: LayerId, x: &Tensor, groups: usize) -> Result<Tensor> {
        let site = self.network.site(id)?;
        if let Some(listen) = &mut self.listen {
            listen(id, x)?;
        }
        let named = |e: candle_core::Error| e.context(site.name.clone());
        let y = if groups == 1 {
            self.network.inside(|| site.product(x, None)).map_err(named)?
        } else {
            let outputs = site.rows() / groups;
            let rows = x.dim(0)? / groups;
            let one = |g: usize| site.product(&x.narrow(0, g * rows, rows)?, Some((g * outputs, outputs)));
            let parts: Vec<Tensor> = (0..groups).map(one).collect::<Result<_>>().map_err(named)?;
            Tensor::cat(&parts, 1)?
        };
        let y = match &mut self.outputs {
            Some(change) => change(id, y)?,
            None => y,
        };
        match &site.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// x / √(mean x² + ε) · gain, over the last axis.
    pub fn rms_norm(&self, x: &Tensor, gain: TensorId, eps: f64) -> Result<Tensor> {
        let gain = self.fixed(gain)?;
        if self.network.differentiable {
            ops::rms_norm_slow(x, gain, eps as f32)
        } else {
            ops::rms_norm(&x.contiguous()?, gain, eps as f32)
        }
    }

    /// (x − mean) / √(variance + ε) · gain + shift, over the last axis.
    pub fn layer_norm(&self, x: &Tensor, gain: TensorId, shift: Option<TensorId>, eps: f64) -> Result<Tensor> {
        let gain = self.fixed(gain)?;
        let shift = match shift {
            Some(shift) => self.fixed(shift)?.clone(),
            None => gain.zeros_like()?,
        };
        if self.network.differentiable {
            ops::layer_norm_slow(x, gain, &shift, eps as f32)
        } else {
            ops::layer_norm(&x.contiguous()?, gain, &shift, eps as f32)
        }
    }

    /// Rotates pairs of features, `[i]` with `[i + d/2]`, by the angles of their positions. x: B × H × T × d.
    pub fn rotate(&self, x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        if self.network.differentiable {
            candle_nn::rotary_emb::rope_slow(x, cos, sin)
        } else {
            candle_nn::rotary_emb::rope(&x.contiguous()?, cos, sin)
        }
    }

    /// Attention: softmax(q kᵀ / √d + mask) v. q is B × H × T × d, k and v B × K × T × d where H is a multiple of K;
    /// the result (B·T) × (H·d).
    pub fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (b, h, t, d) = q.dims4()?;
        let groups = k.dim(1)?;
        let together = (b * groups, h / groups * t, d);
        let q = (q * (1.0 / (d as f64).sqrt()))?.contiguous()?.reshape(together)?;
        let k = k.contiguous()?.reshape((b * groups, t, d))?;
        let v = v.contiguous()?.reshape((b * groups, t, d))?;
        let scores = q.matmul(&k.t()?)?.reshape((b * h, t, t))?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let weights = if self.network.differentiable {
            ops::softmax(&scores, D::Minus1)?
        } else {
            ops::softmax_last_dim(&scores)?
        };
        let mixed = weights.reshape((b * groups, h / groups * t, t))?.matmul(&v)?;
        mixed.reshape((b, h, t, d))?.transpose(1, 2)?.reshape((b * t, h * d))
    }

    /// T × T: 0 where a token may look, −∞ where not: at what follows it, and at what lies `window` or more before.
    pub fn causal(&self, t: usize, window: Option<usize>) -> Result<Tensor> {
        let window = window.unwrap_or(usize::MAX);
        let sees = |i: usize, j: usize| j <= i && i - j < window;
        let entry = |at: usize| if sees(at / t, at % t) { 0f32 } else { f32::NEG_INFINITY };
        Tensor::from_vec((0..t * t).map(entry).collect(), (t, t), self.device())
    }

    /// Rows of a table.
    pub fn look_up(&self, table: TensorId, rows: &[u32]) -> Result<Tensor> {
        let rows = Tensor::from_slice(rows, rows.len(), self.device())?;
        self.fixed(table)?.index_select(&rows, 0)
    }

    /// The product with the transpose of a table, for a head that is no layer.
    pub fn against(&self, table: TensorId, x: &Tensor) -> Result<Tensor> {
        let table = self.fixed(table)?;
        self.network.inside(|| x.matmul(&table.t()?))
    }

    /// Numbers as a tensor.
    pub fn given(&self, numbers: &[f32]) -> Result<Tensor> {
        Tensor::from_slice(numbers, numbers.len(), self.device())?.to_dtype(DType::F32)
    }
}

/// (B·T) × (H·d) to B × H × T × d.
pub fn heads(x: &Tensor, shape: [usize; 2], heads: usize) -> Result<Tensor> {
    let [b, t] = shape;
    let width = x.dim(1)? / heads;
    x.reshape((b, t, heads, width))?.transpose(1, 2)?.contiguous()
}
