//! Windows that are moved over images: those of convolutions and of pools.

use candle_core::{Result, Tensor};

/// A window of height and width, and how it is moved; pairs are height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Extents of the window.
    pub kernel: [usize; 2],
    /// How far it moves.
    pub stride: [usize; 2],
    /// Added on each side.
    pub padding: [usize; 2],
    /// Distance of its taps.
    pub dilation: [usize; 2],
    /// Whether the padding is what lies on the other side, else zeros.
    pub circular: bool,
}

impl Grid {
    /// Positions along an axis, and what is said where there are none.
    fn positions(&self, axis: usize, extent: usize) -> Result<usize> {
        let span = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        match (extent + 2 * self.padding[axis]).checked_sub(span) {
            Some(room) => Ok(room / self.stride[axis] + 1),
            None => candle_core::bail!("a window of {span} does not fit into {extent} pixels"),
        }
    }

    /// What each tap sees: n × c × taps × height × width, with `outside` where the padding is.
    fn taps(&self, x: &Tensor, outside: f64) -> Result<Vec<Tensor>> {
        let (_, _, h, w) = x.dims4()?;
        let size = [self.positions(0, h)?, self.positions(1, w)?];
        let x = self.padded(x, outside)?;
        let mut taps = Vec::with_capacity(self.kernel[0] * self.kernel[1]);
        for i in 0..self.kernel[0] {
            let rows = self.along(&x, 0, i, size[0])?;
            for j in 0..self.kernel[1] {
                taps.push(self.along(&rows, 1, j, size[1])?);
            }
        }
        Ok(taps)
    }

    /// Every `stride`-th from where tap `tap` stands first.
    fn along(&self, x: &Tensor, axis: usize, tap: usize, positions: usize) -> Result<Tensor> {
        let (start, stride) = (tap * self.dilation[axis], self.stride[axis]);
        if stride == 1 {
            return x.narrow(2 + axis, start, positions);
        }
        let places: Vec<u32> = (0..positions).map(|p| (start + p * stride) as u32).collect();
        x.contiguous()?.index_select(&Tensor::new(places, x.device())?, 2 + axis)
    }

    fn padded(&self, x: &Tensor, outside: f64) -> Result<Tensor> {
        let mut x = x.clone();
        for axis in 0..2 {
            let (dim, pad) = (2 + axis, self.padding[axis]);
            if pad == 0 {
                continue;
            }
            let extent = x.dim(dim)?;
            if self.circular && pad > extent {
                candle_core::bail!("circular padding of {pad} around {extent} pixels");
            }
            let (before, after) = if self.circular {
                (x.narrow(dim, extent - pad, pad)?, x.narrow(dim, 0, pad)?)
            } else {
                let mut shape = x.dims().to_vec();
                shape[dim] = pad;
                let edge = Tensor::full(outside as f32, shape, x.device())?;
                (edge.clone(), edge)
            };
            x = Tensor::cat(&[&before, &x, &after], dim)?;
        }
        Ok(x)
    }

    /// Patches: n × c × taps × height × width.
    pub fn patches(&self, x: &Tensor) -> Result<Tensor> {
        Tensor::stack(&self.taps(x, 0.0)?, 2)
    }

    /// The largest of each window.
    pub fn largest(&self, x: &Tensor) -> Result<Tensor> {
        let taps = self.taps(x, f64::NEG_INFINITY)?;
        let (first, rest) = split(&taps)?;
        rest.iter().try_fold(first.contiguous()?, |most, tap| most.maximum(tap))
    }

    /// The mean of each window.
    pub fn mean(&self, x: &Tensor, padding_counts: bool) -> Result<Tensor> {
        let sum = self.sum(x)?;
        if padding_counts || self.padding == [0, 0] {
            return sum / (self.kernel[0] * self.kernel[1]) as f64;
        }
        sum.broadcast_div(&self.sum(&x.narrow(0, 0, 1)?.narrow(1, 0, 1)?.ones_like()?)?)
    }

    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        let taps = self.taps(x, 0.0)?;
        let (first, rest) = split(&taps)?;
        rest.iter().try_fold(first.contiguous()?, |sum, tap| sum + tap)
    }
}

fn split(taps: &[Tensor]) -> Result<(&Tensor, &[Tensor])> {
    taps.split_first().ok_or_else(|| candle_core::Error::Msg("a window without taps".to_owned()))
}
