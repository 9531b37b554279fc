//! What a calibration pass saw at a layer's input: second moments, means, and the sensitivity of the loss to the outputs.

use super::Matrix;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Where a Gram matrix comes from: it is handed out when asked, so that those of a large model need not lie in memory
/// together.
pub trait Held: fmt::Debug + Send + Sync {
    /// Hands out the bytes, little-endian `f32`, row after row, a stretch of whole entries at a time.
    fn read(&self, with: &mut dyn FnMut(&[u8])) -> Result<(), InputsError>;
}

/// Why a Gram matrix could not be had; the text names the file, the tensor and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InputsError(pub String);

/// The inputs x of a layer, over the tokens of a calibration pass. Of a convolution the unfolded patches, in the order of
/// the columns of the layer's matrix.
pub struct Inputs {
    /// Tokens (rows of the layer's input) that it is the mean over.
    pub tokens: u64,
    /// E|x_j| of each input feature.
    pub abs_mean: Option<Vec<f32>>,
    /// E\[x_j\] of each input feature.
    pub mean: Option<Vec<f32>>,
    /// E\[g_i²\] of each output: g is the derivative of a token's loss, in nats, by that output.
    pub gradient: Option<Vec<f32>>,
    diagonal: Vec<f32>,
    gram: Option<Arc<dyn Held>>,
    digest: OnceLock<[u8; 32]>,
}

impl Inputs {
    /// Of which only E\[x_j²\] is known.
    pub fn of_diagonal(tokens: u64, diagonal: Vec<f32>) -> Self {
        let (abs_mean, mean, gradient) = (None, None, None);
        Self { tokens, abs_mean, mean, gradient, diagonal, gram: None, digest: OnceLock::new() }
    }
    /// Of which all of E\[x xᵀ\] is known; `diagonal` is its diagonal.
    pub fn of_held(tokens: u64, diagonal: Vec<f32>, gram: Arc<dyn Held>) -> Self {
        Self { gram: Some(gram), ..Self::of_diagonal(tokens, diagonal) }
    }
    /// From a Gram matrix in memory, E\[x xᵀ\], in × in.
    pub fn of_gram(tokens: u64, gram: &Matrix) -> Self {
        let diagonal = (0..gram.rows).map(|i| gram.data[i * gram.cols + i]).collect();
        Self::of_held(tokens, diagonal, Arc::new(InMemory(gram.data.iter().flat_map(|x| x.to_le_bytes()).collect())))
    }
    /// Number of input features: columns of the layer's matrix.
    pub fn in_features(&self) -> usize {
        self.diagonal.len()
    }
    /// E\[x_j²\] of each input feature, none negative.
    pub fn diagonal(&self) -> &[f32] {
        &self.diagonal
    }
    /// Whether all of E\[x xᵀ\] is known, not only its diagonal.
    pub fn has_gram(&self) -> bool {
        self.gram.is_some()
    }
    /// E\[x xᵀ\], in × in, symmetric; `None` where only the diagonal is known.
    pub fn gram(&self) -> Result<Option<Matrix>, InputsError> {
        let Some(gram) = &self.gram else { return Ok(None) };
        let n = self.in_features();
        let mut data = Vec::with_capacity(n * n);
        gram.read(&mut |bytes| data.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))))?;
        if data.iter().any(|x| !x.is_finite()) {
            return Err(InputsError("its Gram matrix holds NaN or infinity; calibrate again".to_owned()));
        }
        Matrix::new(n, n, data).map(Some).ok_or_else(|| {
            InputsError(format!("its Gram matrix is not {n} × {n}: the file was changed; open it again"))
        })
    }
    /// A blake3 of all numbers, the Gram matrix included: what is made with these inputs is kept under it.
    pub fn digest(&self) -> Result<[u8; 32], InputsError> {
        if let Some(known) = self.digest.get() {
            return Ok(*known);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.tokens.to_le_bytes());
        let lists = [Some(&self.diagonal), self.abs_mean.as_ref(), self.mean.as_ref(), self.gradient.as_ref()];
        for list in lists {
            hasher.update(&list.map_or(0, |l| l.len() as u64 + 1).to_le_bytes());
            for x in list.into_iter().flatten() {
                hasher.update(&x.to_le_bytes());
            }
        }
        if let Some(gram) = &self.gram {
            gram.read(&mut |bytes| {
                hasher.update(bytes);
            })?;
        }
        Ok(*self.digest.get_or_init(|| *hasher.finalize().as_bytes()))
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inputs, gram) = (self.in_features(), self.has_gram());
        f.debug_struct("Inputs")
            .field("tokens", &self.tokens)
            .field("in_features", &inputs)
            .field("gram", &gram)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Inputs {
    /// By their numbers; those that cannot be read are like no others.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || matches!((self.digest(), other.digest()), (Ok(a), Ok(b)) if a == b)
    }
}

#[derive(Debug)]
struct InMemory(Vec<u8>);

impl Held for InMemory {
    fn read(&self, with: &mut dyn FnMut(&[u8])) -> Result<(), InputsError> {
        with(&self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gram_is_handed_out_and_the_digest_is_of_every_number() {
        let gram = Matrix::new(2, 2, vec![4.0, 1.0, 1.0, 9.0]).unwrap();
        let inputs = Inputs::of_gram(7, &gram);
        assert_eq!((inputs.diagonal(), inputs.in_features()), (&[4.0, 9.0][..], 2));
        assert_eq!(inputs.gram().unwrap().unwrap(), gram);
        assert_eq!(inputs, Inputs::of_gram(7, &gram));
        let other = Matrix::new(2, 2, vec![4.0, 2.0, 2.0, 9.0]).unwrap();
        let mean = Inputs { abs_mean: Some(vec![1.0, 2.0]), ..Inputs::of_gram(7, &gram) };
        let same = Inputs { mean: Some(vec![1.0, 2.0]), ..Inputs::of_gram(7, &gram) };
        let all = [
            inputs,
            Inputs::of_gram(8, &gram),
            Inputs::of_gram(7, &other),
            Inputs::of_diagonal(7, vec![4.0, 9.0]),
            mean,
            same,
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a == b, i == j, "{i} {j}");
            }
        }
        assert_eq!(all[3].gram(), Ok(None));
        let broken = Matrix::new(1, 1, vec![f32::NAN]).unwrap();
        assert!(Inputs::of_gram(1, &broken).gram().is_err());
    }
}
