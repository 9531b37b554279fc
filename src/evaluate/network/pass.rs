//! One run through a network: what architectures build their forward pass of.

use super::Network;
use super::activation::Activation;
use super::inplace::{Pointwise, Softmax, With};
use crate::evaluate::{Listener, Outputs};
use crate::model::{LayerId, TensorId};
use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops;
use std::cell::OnceCell;

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
    pub fn device(&self) -> &'a Device {
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
            self.network.arithmetic(|| site.product(x, None)).map_err(named)?
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
            Some(bias) => self.plus(y, bias),
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
    pub fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Mask>) -> Result<Tensor> {
        let (b, h, t, d) = q.dims4()?;
        let groups = k.dim(1)?;
        let together = (b * groups, h / groups * t, d);
        let scale = 1.0 / (d as f64).sqrt();
        let q = q.contiguous()?.reshape(together)?;
        let k = k.contiguous()?.reshape((b * groups, t, d))?;
        let v = v.contiguous()?.reshape((b * groups, t, d))?;
        let product = |a: &Tensor, b: &Tensor| self.network.arithmetic(|| a.matmul(b));
        let weights = if self.in_place() {
            let scores = product(&q, &k.t()?)?;
            let by = Softmax { scale: scale as f32, tokens: t, window: mask.map(|m| m.window) };
            self.network.inside(|| scores.inplace_op1(&by))?;
            scores
        } else {
            let scores = product(&(q * scale)?, &k.t()?)?.reshape((b * h, t, t))?;
            let scores = match mask {
                Some(mask) => scores.broadcast_add(mask.added(t, self.device())?)?,
                None => scores,
            };
            if self.network.differentiable {
                ops::softmax(&scores, D::Minus1)?
            } else {
                ops::softmax_last_dim(&scores)?
            }
        };
        let mixed = product(&weights.reshape((b * groups, h / groups * t, t))?, &v)?;
        mixed.reshape((b, h, t, d))?.transpose(1, 2)?.reshape((b * t, h * d))
    }

    /// Whether what was just computed, and is nobody else's yet, may be overwritten: not where derivatives are taken, nor
    /// where somebody was given it.
    fn in_place(&self) -> bool {
        self.network.device.is_cpu() && !self.network.differentiable && self.outputs.is_none()
    }

    /// What a layer answered, with something added: a tensor of its shape, or a number for each column.
    pub fn plus(&self, answer: Tensor, more: &Tensor) -> Result<Tensor> {
        if !self.in_place() {
            return answer.broadcast_add(more);
        }
        let more = more.contiguous()?;
        self.network.inside(|| answer.inplace_op2(&more, &With::Plus))?;
        Ok(answer)
    }

    /// A function of each number that a layer answered.
    pub fn activate(&self, activation: Activation, answer: Tensor) -> Result<Tensor> {
        match Pointwise::of(activation).filter(|_| self.in_place()) {
            Some(by) => self.network.inside(|| answer.inplace_op1(&by)).map(|()| answer),
            None => activation.of(&answer),
        }
    }

    /// The same, times what another layer answered.
    pub fn gate(&self, activation: Activation, gate: Tensor, answer: &Tensor) -> Result<Tensor> {
        let gate = self.activate(activation, gate)?;
        if !self.in_place() {
            return gate * answer;
        }
        self.network.inside(|| gate.inplace_op2(answer, &With::Times))?;
        Ok(gate)
    }

    /// Rows of a table.
    pub fn look_up(&self, table: TensorId, rows: &[u32]) -> Result<Tensor> {
        let rows = Tensor::from_slice(rows, rows.len(), self.device())?;
        self.fixed(table)?.index_select(&rows, 0)
    }

    /// The product with the transpose of a table, for a head that is no layer.
    pub fn against(&self, table: TensorId, x: &Tensor) -> Result<Tensor> {
        let table = self.fixed(table)?;
        self.network.arithmetic(|| x.matmul(&table.t()?))
    }

    /// Numbers as a tensor.
    pub fn given(&self, numbers: &[f32]) -> Result<Tensor> {
        Tensor::from_slice(numbers, numbers.len(), self.device())?.to_dtype(DType::F32)
    }
}

/// What tokens see: nothing that follows them.
#[derive(Debug)]
pub struct Mask {
    /// How many tokens up to itself a token sees.
    window: usize,
    /// What is added to scores, once it was needed.
    added: OnceCell<Tensor>,
}

impl Mask {
    /// With a window, only so many tokens up to itself.
    pub fn causal(window: Option<usize>) -> Self {
        Self { window: window.unwrap_or(usize::MAX), added: OnceCell::new() }
    }

    /// T × T: 0 where a token may look, −∞ where not.
    fn added(&self, t: usize, device: &Device) -> Result<&Tensor> {
        if let Some(made) = self.added.get() {
            return Ok(made);
        }
        let sees = |i: usize, j: usize| j <= i && i - j < self.window;
        let entry = |at: usize| if sees(at / t, at % t) { 0f32 } else { f32::NEG_INFINITY };
        let made = Tensor::from_vec((0..t * t).map(entry).collect(), (t, t), device)?;
        Ok(self.added.get_or_init(|| made))
    }
}

/// (B·T) × (H·d) to B × H × T × d.
pub fn heads(x: &Tensor, shape: [usize; 2], heads: usize) -> Result<Tensor> {
    let [b, t] = shape;
    let width = x.dim(1)? / heads;
    x.reshape((b, t, heads, width))?.transpose(1, 2)?.contiguous()
}
