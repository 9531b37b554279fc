//! Networks that config.json lists layer by layer (`"model_type": "sequential"`), with the meaning of PyTorch's modules.

mod grid;
mod read;

use super::activation::Activation;
use super::pass::Pass;
use crate::model::{LayerId, TensorId};
use candle_core::{D, Result, Tensor};
use grid::Grid;

/// One step.
#[derive(Debug, Clone)]
enum Step {
    /// Over the last axis.
    Linear {
        layer: LayerId,
        inputs: usize,
    },
    Convolution {
        layer: LayerId,
        grid: Grid,
        groups: usize,
    },
    /// (x − mean) / √(variance + ε) · gain + shift, by channel.
    BatchNorm {
        mean: TensorId,
        variance: TensorId,
        gain: Option<TensorId>,
        shift: Option<TensorId>,
        eps: f64,
    },
    MaxPool(Grid),
    /// Zeros of the padding counted, or not.
    AveragePool {
        grid: Grid,
        padding_counts: bool,
    },
    GlobalAverage,
    Flatten,
    Pointwise(Activation),
    /// Consecutive channels in groups of this size, sorted upwards.
    GroupSort(usize),
    /// Consecutive pairs of channels, the larger first.
    MaxMin,
    /// Groups of channels as long as the vector: x where vᵀx > 0, else its mirror image (I − 2vvᵀ)x.
    Householder(Direction),
    LayerNorm {
        gain: TensorId,
        shift: Option<TensorId>,
        eps: f64,
    },
    RmsNorm {
        gain: TensorId,
        eps: f64,
    },
    /// Its body added to its input.
    Residual(Vec<Step>),
}

/// A vector of the checkpoint, or one that config.json holds; taken as a unit vector.
#[derive(Debug, Clone)]
enum Direction {
    Stored(TensorId),
    Given(Vec<f32>),
}

/// The list.
#[derive(Debug, Clone)]
pub struct Sequential {
    input: Vec<usize>,
    steps: Vec<Step>,
}

impl Sequential {
    /// Logits of images: examples × classes.
    pub fn logits(&self, pass: &mut Pass, pixels: &[f32], count: usize) -> Result<Tensor> {
        let shape: Vec<usize> = std::iter::once(count).chain(self.input.iter().copied()).collect();
        let x = Tensor::from_slice(pixels, shape, pass.device())?;
        run(&self.steps, pass, x)?.flatten_from(1)
    }
    /// Numbers of one example.
    pub fn example(&self) -> usize {
        self.input.iter().product()
    }
}

fn run(steps: &[Step], pass: &mut Pass, mut x: Tensor) -> Result<Tensor> {
    for step in steps {
        x = one(step, pass, &x)?;
    }
    Ok(x)
}

fn one(step: &Step, pass: &mut Pass, x: &Tensor) -> Result<Tensor> {
    match step {
        Step::Linear { layer, inputs } => linear(pass, *layer, *inputs, x),
        Step::Convolution { layer, grid, groups } => convolution(pass, *layer, grid, *groups, x),
        Step::BatchNorm { mean, variance, gain, shift, eps } => {
            let by_channel = |t: &Tensor| t.reshape(along_channels(x));
            let spread = (pass.fixed(*variance)? + *eps)?.sqrt()?;
            let scale = match gain {
                Some(gain) => pass.fixed(*gain)?.div(&spread)?,
                None => spread.recip()?,
            };
            let centred = x.broadcast_sub(&by_channel(pass.fixed(*mean)?)?)?;
            let scaled = centred.broadcast_mul(&by_channel(&scale)?)?;
            match shift {
                Some(shift) => scaled.broadcast_add(&by_channel(pass.fixed(*shift)?)?),
                None => Ok(scaled),
            }
        }
        Step::MaxPool(grid) => grid.largest(x),
        Step::AveragePool { grid, padding_counts } => grid.mean(x, *padding_counts),
        Step::GlobalAverage => x.mean_keepdim(3)?.mean_keepdim(2),
        Step::Flatten => x.flatten_from(1),
        Step::Pointwise(activation) => activation.of(x),
        Step::GroupSort(size) => ungroup(&group(x, *size)?.contiguous()?.sort_last_dim(true)?.0, x),
        Step::MaxMin => {
            let pairs = group(x, 2)?;
            let (first, second) = (pairs.narrow(D::Minus1, 0, 1)?, pairs.narrow(D::Minus1, 1, 1)?);
            ungroup(&Tensor::cat(&[first.maximum(&second)?, first.minimum(&second)?], D::Minus1)?, x)
        }
        Step::Householder(direction) => {
            let v = match direction {
                Direction::Stored(id) => pass.fixed(*id)?.clone(),
                Direction::Given(numbers) => pass.given(numbers)?,
            };
            let v = v.broadcast_div(&v.sqr()?.sum_all()?.sqrt()?)?;
            let parts = group(x, v.dim(0)?)?;
            // x − 2 min(vᵀx, 0) v.
            let along = parts.broadcast_mul(&v)?.sum_keepdim(D::Minus1)?;
            let behind = (along.neg()?.relu()? * 2.0)?;
            ungroup(&(&parts + behind.broadcast_mul(&v)?)?, x)
        }
        Step::LayerNorm { gain, shift, eps } => pass.layer_norm(x, *gain, *shift, *eps),
        Step::RmsNorm { gain, eps } => pass.rms_norm(x, *gain, *eps),
        Step::Residual(body) => x + run(body, pass, x.clone())?,
    }
}

fn linear(pass: &mut Pass, layer: LayerId, inputs: usize, x: &Tensor) -> Result<Tensor> {
    // What a pool over everything leaves, n × c × 1 × 1, is taken as n × c.
    let x = match x.dims() {
        [_, c, 1, 1] if *c == inputs => x.flatten_from(1)?,
        _ => x.clone(),
    };
    let mut shape = x.dims().to_vec();
    if shape.len() == 2 {
        return pass.linear(layer, &x.contiguous()?);
    }
    let y = pass.linear(layer, &x.contiguous()?.reshape(((), inputs))?)?;
    if let Some(last) = shape.last_mut() {
        *last = y.dim(1)?;
    }
    y.reshape(shape)
}

/// A convolution as a product with its unfolded patches: columns in the order of its weight, channel · height · width.
fn convolution(pass: &mut Pass, layer: LayerId, grid: &Grid, groups: usize, x: &Tensor) -> Result<Tensor> {
    let patches = grid.patches(x)?;
    let (n, c, taps, height, width) = patches.dims5()?;
    let rows = n * height * width;
    let patches = if groups == 1 {
        patches.permute((0, 3, 4, 1, 2))?.reshape((rows, c * taps))?
    } else {
        let apart = patches.reshape((n, groups, c / groups * taps, height, width))?;
        apart.permute((1, 0, 3, 4, 2))?.reshape((groups * rows, c / groups * taps))?
    };
    let y = pass.grouped(layer, &patches, groups)?;
    let outputs = y.dim(1)?;
    y.reshape((n, height, width, outputs))?.permute((0, 3, 1, 2))?.contiguous()
}

/// `[1, channels, 1, …]` for as many axes as x has.
fn along_channels(x: &Tensor) -> Vec<usize> {
    let axes = x.dims().iter().enumerate();
    axes.map(|(i, &extent)| if i == 1 { extent } else { 1 }).collect()
}

/// Consecutive channels in groups, the members of a group on a new last axis.
fn group(x: &Tensor, size: usize) -> Result<Tensor> {
    let (n, channels) = (x.dim(0)?, x.dim(1)?);
    if size == 0 || channels % size != 0 {
        candle_core::bail!("{channels} channels are no groups of {size}");
    }
    x.reshape((n, channels / size, size, ()))?.transpose(2, 3)
}

/// Back to the shape of x.
fn ungroup(parts: &Tensor, x: &Tensor) -> Result<Tensor> {
    parts.transpose(2, 3)?.contiguous()?.reshape(x.shape())
}
