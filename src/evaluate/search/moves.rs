//! How trials change the weights of layers.

use super::LayerMenu;
use crate::model::Model;
use std::collections::BTreeMap;

/// Groups of layers whose weights move together, and how far.
pub struct Moves {
    groups: Vec<Vec<usize>>,
    step: f64,
    random: Random,
}

/// Uniform and normal numbers from a seed (splitmix64, Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n.saturating_sub(1))
    }
    fn normal(&mut self) -> f64 {
        // Box–Muller; 1 − u is never 0.
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

impl Moves {
    /// Groups: layers of one role, of one block, of one role in the first or second half of the blocks, and single layers.
    pub fn new(model: &Model, menus: &[LayerMenu], seed: u64) -> Self {
        let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let half = model.blocks() / 2;
        for (i, menu) in menus.iter().enumerate() {
            named.entry(format!("layer {i}")).or_default().push(i);
            let Some(layer) = model.layer(menu.layer) else { continue };
            named.entry(format!("role {:?}", layer.role)).or_default().push(i);
            if let Some(block) = layer.block {
                named.entry(format!("block {block}")).or_default().push(i);
                named.entry(format!("half {:?} {}", layer.role, block < half)).or_default().push(i);
            }
        }
        // Larger groups first: they are chosen as often as all single layers together.
        let mut groups: Vec<Vec<usize>> = named.into_values().collect();
        groups.sort();
        groups.dedup();
        groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
        Self { groups, step: 0.7, random: Random(seed) }
    }

    /// Weights near those given.
    pub fn propose(&mut self, weights: &[f64]) -> Vec<f64> {
        let mut out = weights.to_vec();
        let large = self.groups.iter().take_while(|g| g.len() > 1).count();
        for _ in 0..=self.random.below(3) {
            let among = if large > 0 && (large == self.groups.len() || self.random.uniform() < 0.5) {
                0..large
            } else {
                large..self.groups.len()
            };
            let group = among.start + self.random.below(among.len());
            let shift = self.step * self.random.normal();
            for &i in self.groups.get(group).into_iter().flatten() {
                out[i] += shift;
            }
        }
        out
    }

    /// Longer steps after a success, shorter ones after a failure: one in five succeeds (Rechenberg 1973).
    pub fn learn(&mut self, better: bool) {
        let factor = if better { 1.5 } else { 1.5f64.powf(-0.25) };
        self.step = (self.step * factor).clamp(0.1, 2.0);
    }

    /// Longer steps where the plan did not change at all.
    pub fn widen(&mut self) {
        self.step = (self.step * 1.02).min(2.0);
    }
}
