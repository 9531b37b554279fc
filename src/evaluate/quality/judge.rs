//! What logits say of the classes that are right.

use candle_core::{D, Result, Tensor};

/// What a row of logits says of the right class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// −ln of the probability it gives it; NaN where there is no such class.
    pub nats: f64,
    /// Whether it gives none a higher one.
    pub hit: bool,
}

/// Of each row, with the class that is right for it. Logits on a GPU are judged there: a large vocabulary takes longer to
/// come back than to be computed.
pub fn judge(logits: &Tensor, right: &[u32]) -> Result<Vec<Said>> {
    if !logits.device().is_cpu() {
        return judge_there(logits, right);
    }
    let width = logits.dim(D::Minus1)?.max(1);
    let numbers = logits.flatten_all()?.to_vec1::<f32>()?;
    let said = |(row, &right): (&[f32], &u32)| Said {
        nats: cross_entropy(row, right),
        hit: highest(row) == Some(right as usize),
    };
    Ok(numbers.chunks_exact(width).zip(right).map(said).collect())
}

/// The same by operations of tensors; only two numbers a row come back.
pub fn judge_there(logits: &Tensor, right: &[u32]) -> Result<Vec<Said>> {
    let width = logits.dim(1)? as u32;
    // A class that is none would be read from where nothing lies.
    let safe: Vec<u32> = right.iter().map(|&r| if r < width { r } else { 0 }).collect();
    let safe = Tensor::from_vec(safe, (right.len(), 1), logits.device())?;
    let most = logits.max_keepdim(1)?;
    let sum = logits.broadcast_sub(&most)?.exp()?.sum_keepdim(1)?;
    let own = (logits.gather(&safe, 1)? - most)?;
    let nats = (sum.log()? - own)?.flatten_all()?.to_vec1::<f32>()?;
    let best = logits.argmax(1)?.to_vec1::<u32>()?;
    let said = |((nats, best), &right): ((f32, u32), &u32)| Said {
        nats: if right < width { f64::from(nats) } else { f64::NAN },
        hit: best == right,
    };
    Ok(nats.into_iter().zip(best).zip(right).map(said).collect())
}

fn highest(row: &[f32]) -> Option<usize> {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.map(|(i, _)| i)
}

/// log Σ exp(l) − l of the label, the largest subtracted first; terms in `f32`, their sum in `f64`.
pub fn cross_entropy(row: &[f32], label: u32) -> f64 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.chunks(512).map(|some| f64::from(some.iter().map(|l| (l - most).exp()).sum::<f32>())).sum();
    let own = row.get(label as usize).copied().unwrap_or(f32::NAN);
    sum.ln() - f64::from(own - most)
}
