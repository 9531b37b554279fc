//! By stable rank: a layer whose energy lies in few directions keeps less.
//!
//! With stable rank R, ‖W − `W_r`‖² ≥ (1 − r/R)‖W‖²: of a flat spectrum no rank keeps much. What is kept is spread so
//! that Σ R/k is least under Σ c·k = budget, which gives k = B·√(R/c)/Σ c√(R/c) (the closed form of D-Rank, Mi et al.
//! 2025, with the stable rank as its density; c: parameters that a unit of k takes).

use super::{Allocator, BudgetError, Levels, Means, Scene, Spread, anything, unmeasured};
use crate::model::Layer;
use crate::probe::ProbeId;

pub(super) const STABLE_RANK: Allocator = Allocator {
    name: "stable-rank",
    words: "less from layers of high stable rank: kept in proportion to √(stable rank / cost) (after Mi et al. 2025)",
    needs: &[ProbeId::Sketch],
    suits: anything,
    spread: Spread::Levels(levels),
};

fn levels<'b>(scene: &'b Scene) -> Result<Levels<'b>, BudgetError> {
    let mut raw = Vec::with_capacity(scene.free.len());
    for (layer, facts) in &scene.free {
        let spectrum = facts.best_spectrum();
        let spectrum =
            spectrum.ok_or_else(|| unmeasured(layer, facts, "its largest singular value is not there yet"))?;
        // A zero matrix has none: it keeps as little as may be.
        raw.push(share(layer, scene.ask.means, spectrum.stable_rank.unwrap_or(0.0)));
    }
    let least = raw.iter().copied().filter(|r| *r > 0.0).fold(f64::INFINITY, f64::min);
    let most = if least.is_finite() { 1.0 / least } else { 1.0 };
    Ok(Levels { most, share: Box::new(move |level, i| level * raw[i]) })
}

/// √(R/c) as a share of the layer: of its parameters, or of those that two factors of the break-even rank hold.
fn share(layer: &Layer, means: Means, stable_rank: f64) -> f64 {
    let entries = layer.rows() as f64 * layer.cols() as f64;
    match means {
        // k is the rank, c = m + n; as a share of the matrix k·c/mn.
        Means::Rank(_) => {
            let c = (layer.rows() + layer.cols()) as f64;
            (stable_rank / c).sqrt() * c / entries.max(1.0)
        }
        // k is the share itself, c = mn.
        Means::Prune(_) | Means::Either(..) => (stable_rank / entries.max(1.0)).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    #[test]
    fn the_closed_form_is_that_of_the_worked_example() {
        // R = [100, 400], c = [1, 4], budget 600: k = [120, 120], so k·c is in the ratio 1 to 4.
        let k = |r: f64, c: f64| (r / c).sqrt();
        let scale = 600.0 / (k(100.0, 1.0) + 4.0 * k(400.0, 4.0));
        assert!((scale * k(100.0, 1.0) - 120.0).abs() < 1e-12 && (scale * k(400.0, 4.0) - 120.0).abs() < 1e-12);
        // The same through shares of two layers: ranks are share·mn/(m + n).
        let (a, b) = (Layer::alone(Kind::Linear, &[40, 60]), Layer::alone(Kind::Linear, &[100, 300]));
        let rank = |l: &Layer, r: f64| {
            let (m, n) = (l.rows() as f64, l.cols() as f64);
            share(l, Means::Rank(1), r) * m * n / (m + n)
        };
        assert!((rank(&b, 4.0) / rank(&a, 1.0) - 1.0).abs() < 1e-12, "R/c is the same");
    }
}
