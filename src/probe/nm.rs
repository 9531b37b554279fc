//! N:M patterns: the error of keeping N of every M consecutive input columns of a row.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use crate::numerics::isa::{Isa, Kernel};

/// Entries of a group that all of [`PATTERNS`] fit into.
const GROUP: usize = 8;
/// Groups worked on together.
const LANES: usize = 64;
/// Such stretches after which sums in `f32` move to `f64`.
const FOLD: usize = 8;

/// Patterns whose error every layer tells: keep N of M.
pub const PATTERNS: [(usize, usize); 4] = [(1, 2), (2, 4), (4, 8), (1, 4)];

/// Adds up, for each of [`PATTERNS`], the energy that the pattern removes; columns that fill no group stay dense.
#[derive(Debug, Default)]
pub struct Removed([f64; 4]);

impl Removed {
    /// Takes whole rows of so many columns in.
    pub fn add(&mut self, rows: &[f32], cols: usize, isa: Isa) {
        if cols.is_multiple_of(GROUP) {
            self.groups(rows, isa);
            return;
        }
        for row in rows.chunks_exact(cols.max(1)) {
            let (whole, rest) = row.split_at(cols / GROUP * GROUP);
            self.groups(whole, isa);
            for (sum, (n, m)) in self.0.iter_mut().zip(PATTERNS) {
                *sum += removed_energy(rest, n, m);
            }
        }
    }

    fn groups(&mut self, entries: &[f32], isa: Isa) {
        let found = isa.run(Groups(entries));
        for (sum, f) in self.0.iter_mut().zip(found) {
            *sum += f;
        }
    }

    /// Relative error ‖W−Ŵ‖_F/‖W‖_F for each `(n, m)`.
    pub fn errors(&self, sum_squares: f64) -> Vec<(usize, usize, f64)> {
        let error = |removed: f64| if sum_squares > 0.0 { (removed / sum_squares).sqrt() } else { 0.0 };
        PATTERNS.iter().zip(self.0).map(|(&(n, m), removed)| (n, m, error(removed))).collect()
    }
}

/// Sum of squares that keeping the `n` largest of every `m` removes from a row.
pub fn removed_energy(row: &[f32], n: usize, m: usize) -> f64 {
    let mut group: Vec<f32> = vec![0.0; m];
    row.chunks_exact(m)
        .map(|g| {
            group.copy_from_slice(g);
            group.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
            group[..m.saturating_sub(n)].iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>()
        })
        .sum()
}

/// Entries in whole groups.
struct Groups<'a>(&'a [f32]);

type Lanes = [f32; LANES];

#[inline(always)]
fn low(x: f32, y: f32) -> f32 {
    if x < y { x } else { y }
}

#[inline(always)]
fn high(x: f32, y: f32) -> f32 {
    if x > y { x } else { y }
}

/// Four magnitudes, ascending.
#[inline(always)]
fn sorted(a: f32, b: f32, c: f32, d: f32) -> [f32; 4] {
    let (l, h, m, i) = (low(a, b), high(a, b), low(c, d), high(c, d));
    let (x, y) = (high(l, m), low(h, i));
    [low(l, m), low(x, y), high(x, y), high(h, i)]
}

impl Kernel for Groups<'_> {
    type Output = [f64; 4];
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; 4] {
        let mut total = [0f64; 4];
        let mut sums = [[0f32; LANES]; 4];
        let mut since = 0;
        let (chunks, rest) = self.0.as_chunks::<{ GROUP * LANES }>();
        for chunk in chunks {
            stretch(chunk, &mut sums);
            since += 1;
            if since == FOLD {
                fold(&mut sums, &mut total);
                since = 0;
            }
        }
        // Groups of zeros remove nothing.
        let mut last = [0f32; GROUP * LANES];
        last[..rest.len()].copy_from_slice(rest);
        stretch(&last, &mut sums);
        fold(&mut sums, &mut total);
        total
    }
}

#[inline(always)]
fn fold(sums: &mut [Lanes; 4], total: &mut [f64; 4]) {
    for (t, s) in total.iter_mut().zip(sums) {
        *t += s.iter().map(|&v| f64::from(v)).sum::<f64>();
        *s = [0.0; LANES];
    }
}

/// Entries of equal place in their groups side by side; then sorting networks, a group a lane.
#[inline(always)]
fn stretch(chunk: &[f32; GROUP * LANES], sums: &mut [Lanes; 4]) {
    let mut planes = [[0f32; LANES]; GROUP];
    for g in 0..LANES {
        for j in 0..GROUP {
            planes[j][g] = chunk[g * GROUP + j].abs();
        }
    }
    let [pairs, fours, eights, ones] = sums;
    let [p0, p1, p2, p3, p4, p5, p6, p7] = &planes;
    for g in 0..LANES {
        let (a, b, c, d) = (low(p0[g], p1[g]), low(p2[g], p3[g]), low(p4[g], p5[g]), low(p6[g], p7[g]));
        pairs[g] += (a * a + b * b) + (c * c + d * d);
        let s = sorted(p0[g], p1[g], p2[g], p3[g]);
        let t = sorted(p4[g], p5[g], p6[g], p7[g]);
        let two = (s[0] * s[0] + s[1] * s[1]) + (t[0] * t[0] + t[1] * t[1]);
        fours[g] += two;
        ones[g] += two + (s[2] * s[2] + t[2] * t[2]);
        // The four smallest of two sorted fours: the smaller of the i-th and the (5−i)-th of the other.
        let (a, b, c, d) = (low(s[0], t[3]), low(s[1], t[2]), low(s[2], t[1]), low(s[3], t[0]));
        eights[g] += (a * a + b * b) + (c * c + d * d);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(data: &[f32], pattern: usize) -> f64 {
        let mut removed = Removed::default();
        removed.add(data, data.len(), Isa::Best);
        removed.errors(data.iter().map(|&w| f64::from(w) * f64::from(w)).sum())[pattern].2
    }

    #[test]
    fn the_worked_example_keeps_3_4_8_7() {
        let w = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0];
        assert!((error(&w, 1) - 0.568_796_459_0).abs() < 1e-9);
        // a column that fills no group stays
        let longer = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0, 100.0];
        assert!((error(&longer, 1) - (66f64 / 10_204.0).sqrt()).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_networks_agree_with_sorting_on_every_instruction_set(
            data in prop::collection::vec(-200i32..200, 0..1400), isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]),
        ) {
            let data: Vec<f32> = data.into_iter().map(|x| x as f32 / 8.0).collect();
            let mut removed = Removed::default();
            removed.add(&data, data.len(), isa);
            for (found, (n, m)) in removed.0.into_iter().zip(PATTERNS) {
                let want = removed_energy(&data, n, m);
                prop_assert!((found - want).abs() <= 1e-6 * (1.0 + want), "{n}:{m}: {found} {want}");
            }
        }
    }
}
