//! One budget spread over many layers. Pure: curves in, a choice for each layer out.

/// One thing that could be done to a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// What it leaves to store or to compute.
    pub cost: f64,
    /// What it loses; smaller is better.
    pub loss: f64,
}

/// The choices of one layer.
#[derive(Debug, Clone, Default)]
pub struct Menu {
    /// Choices in any order, the one that changes nothing among them.
    pub choices: Vec<Choice>,
}

/// Why a budget cannot be met.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the smallest choices of all layers together take {least}, more than {budget}")]
pub struct Infeasible {
    /// What is left when every layer is as small as it may be.
    pub least: f64,
    /// What was asked for.
    pub budget: f64,
}

impl Menu {
    /// Numbers of the choices on the lower convex hull of loss over cost, from the cheapest to the one of least loss.
    pub fn hull(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.choices.len()).collect();
        let at = |i: usize| self.choices[i];
        order.sort_by(|&a, &b| at(a).cost.total_cmp(&at(b).cost).then(at(a).loss.total_cmp(&at(b).loss)));
        let mut hull: Vec<usize> = Vec::new();
        for i in order {
            // What costs more must lose less.
            if hull.last().is_some_and(|&l| at(l).loss <= at(i).loss) {
                continue;
            }
            while let [.., a, b] = hull[..] {
                let slope = |p: usize, q: usize| (at(p).loss - at(q).loss) / (at(q).cost - at(p).cost);
                if slope(a, b) > slope(b, i) {
                    break;
                }
                hull.pop();
            }
            hull.push(i);
        }
        hull
    }
}

/// The choice of each menu for which Σ loss is least among those whose Σ cost stays within the budget, up to the size of
/// one step: hulls of all menus merged by slope and taken in that order, steps that no longer fit left out.
///
/// Optimal at every budget that a prefix of the merged steps meets exactly (Everett 1963; Shoham and Gersho 1988); in
/// between the loss lies above the optimum by less than the gain of the first step that does not fit.
pub fn lagrangian(menus: &[Menu], budget: f64) -> Result<Vec<usize>, Infeasible> {
    let (mut chosen, steps) = path(menus);
    let cost = |(menu, choice): (&Menu, &usize)| menu.choices.get(*choice).map_or(0.0, |c| c.cost);
    let mut spent: f64 = menus.iter().zip(&chosen).map(cost).sum();
    if spent > budget * (1.0 + 1e-12) {
        return Err(Infeasible { least: spent, budget });
    }
    let mut stopped = vec![false; menus.len()];
    for step in steps {
        // A step that did not fit stops its menu.
        if stopped[step.menu] || spent + step.cost > budget * (1.0 + 1e-12) {
            stopped[step.menu] = true;
            continue;
        }
        spent += step.cost;
        chosen[step.menu] = step.choice;
    }
    Ok(chosen)
}

/// One step along the hull of a menu.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Whose.
    pub menu: usize,
    /// The choice it ends at.
    pub choice: usize,
    /// What it costs more.
    pub cost: f64,
    /// Loss that it spares for that.
    pub gain: f64,
}

/// The cheapest choice of each menu, and all steps of their hulls, most gain per cost first: each beginning is the best
/// plan of its cost.
pub fn path(menus: &[Menu]) -> (Vec<usize>, Vec<Step>) {
    let hulls: Vec<Vec<usize>> = menus.iter().map(Menu::hull).collect();
    let mut steps: Vec<Step> = Vec::new();
    for (menu, (hull, of)) in hulls.iter().zip(menus).enumerate() {
        for ends in hull.windows(2) {
            let (a, b) = (of.choices[ends[0]], of.choices[ends[1]]);
            steps.push(Step { menu, choice: ends[1], cost: b.cost - a.cost, gain: a.loss - b.loss });
        }
    }
    // Stable: within a menu slopes fall by themselves, and equal ones stay in order.
    steps.sort_by(|a, b| (b.gain / b.cost).total_cmp(&(a.gain / a.cost)));
    (hulls.iter().map(|h| h.first().copied().unwrap_or(0)).collect(), steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn menu(choices: &[(f64, f64)]) -> Menu {
        Menu { choices: choices.iter().map(|&(cost, loss)| Choice { cost, loss }).collect() }
    }

    fn loss(menus: &[Menu], chosen: &[usize]) -> f64 {
        menus.iter().zip(chosen).map(|(m, &i)| m.choices[i].loss).sum()
    }

    /// The least loss of all combinations within the budget.
    fn best(menus: &[Menu], budget: f64) -> Option<f64> {
        let Some((first, others)) = menus.split_first() else { return Some(0.0) };
        let tries = first.choices.iter().filter(|c| c.cost <= budget + 1e-9);
        tries.filter_map(|c| Some(c.loss + best(others, budget - c.cost)?)).reduce(f64::min)
    }

    #[test]
    fn the_worked_example_is_met_at_every_budget() {
        let menus = [
            menu(&[(0.0, 10.0), (1.0, 9.0), (2.0, 4.0), (3.0, 3.0)]),
            menu(&[(0.0, 6.0), (1.0, 4.0), (2.0, 3.0), (3.0, 2.5)]),
        ];
        assert_eq!(menus[0].hull(), [0, 2, 3]);
        for (budget, want) in [16.0, 14.0, 10.0, 8.0, 7.0, 6.0, 5.5].into_iter().enumerate() {
            let chosen = lagrangian(&menus, budget as f64).unwrap();
            assert_eq!(loss(&menus, &chosen), want, "budget {budget}");
        }
        // Flat spectra never factor: the hull goes from nothing straight to dense.
        assert_eq!(menu(&[(0.0, 4.0), (8.0, 3.0), (16.0, 0.0)]).hull(), [0, 2]);
    }

    #[test]
    fn a_budget_below_the_smallest_choices_says_what_is_left() {
        let menus = [menu(&[(3.0, 1.0), (5.0, 0.0)]), menu(&[(4.0, 0.0)])];
        assert_eq!(lagrangian(&menus, 6.0), Err(Infeasible { least: 7.0, budget: 6.0 }));
        assert_eq!(lagrangian(&menus, 7.0), Ok(vec![0, 0]));
        assert_eq!(lagrangian(&[], 0.0), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn it_is_optimal_where_steps_fit_and_near_where_they_do_not(
            layers in prop::collection::vec(prop::collection::vec((0u32..30, 0u32..100), 1..6), 1..5), budget in 0u32..90,
        ) {
            let menus: Vec<Menu> =
                layers.iter().map(|l| menu(&l.iter().map(|&(c, d)| (f64::from(c), f64::from(d))).collect::<Vec<_>>())).collect();
            let budget = f64::from(budget);
            match lagrangian(&menus, budget) {
                Err(_) => prop_assert_eq!(best(&menus, budget), None),
                Ok(chosen) => {
                    let spent: f64 = menus.iter().zip(&chosen).map(|(m, &i)| m.choices[i].cost).sum();
                    prop_assert!(spent <= budget + 1e-9);
                    let (found, optimum) = (loss(&menus, &chosen), best(&menus, budget).unwrap());
                    prop_assert!(found >= optimum - 1e-9);
                    // No plan that costs no more loses less, on the hulls; off them by less than the largest step.
                    let same = best(&menus.iter().map(|m| Menu { choices: m.hull().into_iter().map(|i| m.choices[i]).collect() }).collect::<Vec<_>>(), spent).unwrap();
                    let step = menus.iter().flat_map(|m| m.hull().windows(2).map(|w| m.choices[w[0]].loss - m.choices[w[1]].loss).collect::<Vec<_>>()).fold(0.0, f64::max);
                    prop_assert!(found <= same + step + 1e-9, "{found} {same} {step}");
                    prop_assert!(found <= optimum + step + 1e-9, "{found} {optimum} {step}");
                }
            }
        }
    }
}
