//! Layer-adaptive magnitude-based pruning (Lee et al. 2021): one threshold on w²/Σ of what is not smaller in the layer.

use super::{Allocator, BudgetError, Levels, Scene, Spread, single_entries, unmeasured};

pub(super) const LAMP: Allocator = Allocator {
    name: "lamp",
    words: "one threshold on squared magnitude over what is not smaller in the layer (Lee et al. 2021)",
    needs: &[],
    suits: single_entries,
    spread: Spread::Levels(levels),
};

fn levels<'b>(scene: &'b Scene) -> Result<Levels<'b>, BudgetError> {
    let mut tables = Vec::with_capacity(scene.free.len());
    for (layer, facts) in &scene.free {
        let table = facts.magnitude.as_deref();
        tables.push(table.ok_or_else(|| unmeasured(layer, facts, "its magnitudes are not there yet"))?);
    }
    // Entries whose score lies below e^(−x) go; the largest of a layer scores 1 and stays.
    let share = move |x: f64, i: usize| {
        let table = tables[i];
        1.0 - table.lamp_below((-x).exp()) as f64 / table.entries.max(1) as f64
    };
    Ok(Levels { most: 60.0, share: Box::new(share) })
}
