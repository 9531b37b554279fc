//! Erdős–Rényi kernel: densities from shapes alone (Evci et al. 2020).

use super::{Allocator, BudgetError, Levels, Scene, Spread, anything};

pub(super) const ERK: Allocator = Allocator {
    name: "erk",
    words: "keep in proportion to (rows + columns)/(rows · columns), from shapes alone (Evci et al. 2020)",
    needs: &[],
    suits: anything,
    spread: Spread::Levels(levels),
};

#[allow(clippy::unnecessary_wraps, reason = "one form for all allocators")]
fn levels<'b>(scene: &'b Scene) -> Result<Levels<'b>, BudgetError> {
    // Raw density Σ dims / Π dims over all extents of the tensor.
    let raw: Vec<f64> = scene
        .free
        .iter()
        .map(|(l, _)| l.shape.iter().sum::<usize>() as f64 / l.shape.iter().product::<usize>().max(1) as f64)
        .collect();
    let least = raw.iter().copied().fold(f64::INFINITY, f64::min).max(1e-300);
    Ok(Levels { most: 1.0 / least, share: Box::new(move |scale, i| scale * raw[i]) })
}
