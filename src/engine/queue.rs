//! Which measurement is wanted most. Pure bookkeeping: no thread, no clock.

use crate::model::{Layer, LayerId, Model};
use crate::probe::{Probe, ProbeId};
use std::collections::{BTreeSet, HashSet};

/// A layer is set aside for something wanted more at most so often; then its job runs to its end.
const MAX_PREEMPTIONS: u8 = 3;

/// Nanoseconds that a first look at everything may take before anything larger is begun.
const FIRST_LOOK: f64 = 3e9;

struct Waiting {
    /// Probes not yet settled and not running, in running order.
    probes: Vec<ProbeId>,
    /// Whether a job of this layer runs.
    running: bool,
    preempted: u8,
    eligible: bool,
    /// What its probes cost.
    costs: Vec<(ProbeId, f64)>,
}

impl Waiting {
    fn ready(&self) -> bool {
        !self.running && !self.probes.is_empty()
    }

    /// The probes up to a rung that still wait.
    fn cheap(&self, rung: ProbeId) -> impl Iterator<Item = ProbeId> {
        self.probes.iter().copied().take_while(move |p| *p <= rung)
    }
}

/// The rungs of the first look at everything, in order.
const LOOKS: [ProbeId; 2] = [ProbeId::Magnitude, ProbeId::Sketch];

/// Layers that wait for the same thing, found by their distance from the layer under the cursor in logarithmic time: there
/// may be tens of thousands, and a job may take microseconds.
#[derive(Default)]
struct Near {
    /// Those that can be treated, and the others: they come later.
    layers: [BTreeSet<usize>; 2],
}

impl Near {
    fn set(&mut self, layer: usize, eligible: bool, wanted: bool) {
        let layers = &mut self.layers[usize::from(!eligible)];
        if wanted {
            layers.insert(layer);
        } else {
            layers.remove(&layer);
        }
    }

    fn len(&self) -> usize {
        self.layers.iter().map(BTreeSet::len).sum()
    }

    /// The nearest to `centre` of those that can be treated; the lower of two as near.
    fn eligible(&self, centre: usize) -> Option<usize> {
        nearest(&self.layers[0], centre)
    }

    /// The nearest; what can be treated comes first.
    fn any(&self, centre: usize) -> Option<usize> {
        self.eligible(centre).or_else(|| nearest(&self.layers[1], centre))
    }

    /// The first in module order.
    fn first(&self) -> Option<usize> {
        self.layers.iter().filter_map(|l| l.first().copied()).min()
    }
}

fn nearest(layers: &BTreeSet<usize>, centre: usize) -> Option<usize> {
    let below = layers.range(..centre).next_back().copied();
    let above = layers.range(centre..).next().copied();
    match (below, above) {
        (Some(b), Some(a)) => Some(if centre - b <= a - centre { b } else { a }),
        (one, other) => one.or(other),
    }
}

/// Measurements to be made, and the order in which they are wanted.
pub(super) struct Queue {
    layers: Vec<Waiting>,
    /// Layers on screen, most wanted first.
    seen: Vec<LayerId>,
    /// The layer under the cursor.
    centre: usize,
    /// Layers that wait for a worker: for anything, and for each rung of the first look.
    ready: Near,
    looks: [Near; 2],
    /// Layers that wait or run.
    unsettled: usize,
    /// Time given so far to "one look at everything" and to "all of what is on screen".
    spent: [f64; 2],
    layer_by_layer: bool,
}

impl Queue {
    pub fn new(model: &Model, probes: &[&dyn Probe], only: Option<&[LayerId]>, layer_by_layer: bool) -> Self {
        let only: Option<HashSet<LayerId>> = only.map(|o| o.iter().copied().collect());
        let wanted = |l: &Layer| l.tied_to.is_none() && only.as_ref().is_none_or(|o| o.contains(&l.id));
        let layers = model.layers.iter().map(|layer| Waiting {
            // A tied copy would only repeat what its original tells.
            probes: probes
                .iter()
                .filter(|p| wanted(layer) && p.applies(layer) && !p.on_request())
                .map(|p| p.id())
                .collect(),
            running: false,
            preempted: 0,
            eligible: layer.eligible(),
            costs: probes.iter().map(|p| (p.id(), p.cost(layer))).collect(),
        });
        Self::of(layers.collect(), layer_by_layer)
    }

    fn of(layers: Vec<Waiting>, layer_by_layer: bool) -> Self {
        let mut queue = Self {
            unsettled: layers.iter().filter(|l| !l.probes.is_empty()).count(),
            layers,
            seen: Vec::new(),
            centre: 0,
            ready: Near::default(),
            looks: Default::default(),
            spent: [0.0; 2],
            layer_by_layer,
        };
        (0..queue.layers.len()).for_each(|layer| queue.index(layer));
        queue
    }

    /// Changes what waits of a layer, and what it is found by.
    fn change<R>(&mut self, layer: LayerId, change: impl FnOnce(&mut Waiting) -> R) -> Option<R> {
        let waiting = self.layers.get_mut(layer.0)?;
        let settled = |w: &Waiting| w.probes.is_empty() && !w.running;
        self.unsettled -= usize::from(!settled(waiting));
        let changed = change(waiting);
        self.unsettled += usize::from(!settled(waiting));
        self.index(layer.0);
        Some(changed)
    }

    fn index(&mut self, layer: usize) {
        let Some(waiting) = self.layers.get(layer) else { return };
        let ready = waiting.ready();
        self.ready.set(layer, waiting.eligible, ready);
        for (look, rung) in self.looks.iter_mut().zip(LOOKS) {
            look.set(layer, waiting.eligible, ready && waiting.cheap(rung).next().is_some());
        }
    }

    /// Takes a new order of interest: the layers on screen, the first of them under the cursor. All others follow by their
    /// distance from that one, or in module order where layers are measured one by one.
    pub fn focus(&mut self, mut seen: Vec<LayerId>) {
        seen.retain(|id| id.0 < self.layers.len());
        self.centre = seen.first().map_or(self.centre, |id| id.0);
        self.seen = seen;
    }

    /// Adds a measurement that somebody asked for; whether it was not waiting already.
    pub fn add(&mut self, layer: LayerId, probe: ProbeId) -> bool {
        let add = |waiting: &mut Waiting| {
            let new = !waiting.probes.contains(&probe);
            if new {
                waiting.probes.push(probe);
                waiting.probes.sort_unstable();
            }
            new
        };
        self.change(layer, add).unwrap_or(false)
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    /// Whether a layer has nothing left to measure.
    pub fn is_done_with(&self, layer: LayerId) -> bool {
        self.layers.get(layer.0).is_none_or(|l| l.probes.is_empty() && !l.running)
    }

    /// The layer under the cursor.
    pub fn first(&self) -> Option<LayerId> {
        self.seen.first().copied()
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// The layer under the cursor, when it waits for a worker.
    pub fn starving_focus(&self) -> Option<LayerId> {
        self.first().filter(|id| self.ready(*id))
    }

    fn ready(&self, id: LayerId) -> bool {
        self.layers.get(id.0).is_some_and(Waiting::ready)
    }

    /// A first look at everything comes first, as far as that is a matter of seconds; then it gets half of the time.
    fn survey_turn(&self) -> bool {
        let [survey, screen] = self.spent;
        survey < FIRST_LOOK || survey <= screen
    }

    /// The cheap measurements that a layer on screen still lacks, up to a rung.
    fn look_at_screen(&self, rung: ProbeId) -> Option<(LayerId, Vec<ProbeId>)> {
        let cheap = |id: &LayerId| -> Vec<ProbeId> { self.layers[id.0].cheap(rung).collect() };
        let wanted = |id: &&LayerId| self.ready(**id) && !cheap(id).is_empty();
        self.seen.iter().find(wanted).map(|id| (*id, cheap(id)))
    }

    /// The same of the nearest layer anywhere.
    fn survey(&self) -> Option<(LayerId, Vec<ProbeId>)> {
        let found = self.looks.iter().zip(LOOKS).find_map(|(look, rung)| Some((look.any(self.centre)?, rung)));
        found.map(|(layer, rung)| (LayerId(layer), self.layers[layer].cheap(rung).collect()))
    }

    /// The job wanted most now, without taking it.
    pub fn peek(&self) -> Option<(LayerId, Vec<ProbeId>)> {
        let everything = |id: LayerId| (id, self.layers[id.0].probes.clone());
        let seen = || self.seen.iter().copied().filter(|id| self.ready(*id));
        if self.layer_by_layer {
            return seen().next().or_else(|| self.ready.first().map(LayerId)).map(everything);
        }
        let on_screen = || seen().find(|id| self.layers[id.0].eligible).map(everything);
        self.starving_focus()
            .map(everything)
            .or_else(|| LOOKS.into_iter().find_map(|rung| self.look_at_screen(rung)))
            .or_else(|| {
                if self.survey_turn() {
                    self.survey().or_else(on_screen)
                } else {
                    on_screen().or_else(|| self.survey())
                }
            })
            .or_else(|| self.ready.eligible(self.centre).map(LayerId).map(everything))
            .or_else(|| seen().next().or_else(|| self.ready.any(self.centre).map(LayerId)).map(everything))
    }

    /// Takes a job that [`Self::peek`] gave.
    pub fn take(&mut self, layer: LayerId, probes: &[ProbeId]) {
        let take = |waiting: &mut Waiting| {
            waiting.running = true;
            waiting.probes.retain(|p| !probes.contains(p));
            waiting.costs.iter().filter(|(p, _)| probes.contains(p)).map(|(_, c)| c).sum::<f64>()
        };
        let cost = self.change(layer, take).unwrap_or(0.0);
        self.spent[usize::from(probes.contains(&ProbeId::Spectrum))] += cost;
    }

    /// A job ended; the probes it did not settle wait again.
    pub fn finish(&mut self, layer: LayerId, taken: &[ProbeId], settled: &[ProbeId]) {
        self.change(layer, |waiting| {
            waiting.running = false;
            waiting.probes.extend(taken.iter().filter(|p| !settled.contains(p)));
            // A kept result may settle more than was taken.
            waiting.probes.retain(|p| !settled.contains(p));
            waiting.probes.sort_unstable();
        });
    }

    /// Whether a running job of this layer may be set aside; counts the times.
    pub fn preempt(&mut self, layer: LayerId) -> bool {
        let waiting = &mut self.layers[layer.0];
        waiting.preempted += u8::from(waiting.preempted < MAX_PREEMPTIONS + 1);
        waiting.preempted <= MAX_PREEMPTIONS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(n: usize) -> Queue {
        let all = vec![ProbeId::Magnitude, ProbeId::Spectrum];
        let costs = vec![(ProbeId::Magnitude, 1.6e9), (ProbeId::Spectrum, 1.6e9)];
        let layers = (0..n).map(|_| Waiting {
            probes: all.clone(),
            running: false,
            preempted: 0,
            eligible: true,
            costs: costs.clone(),
        });
        Queue::of(layers.collect(), false)
    }

    fn run(queue: &mut Queue) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        while let Some((layer, probes)) = queue.peek() {
            queue.take(layer, &probes);
            queue.finish(layer, &probes, &probes);
            out.push((layer.0, probes.len()));
        }
        out
    }

    #[test]
    fn the_layer_under_the_cursor_comes_first_and_whole_then_a_look_at_the_screen() {
        let mut q = queue(6);
        q.focus(vec![LayerId(3), LayerId(4), LayerId(2)]);
        let order = run(&mut q);
        assert_eq!(order[0], (3, 2));
        assert_eq!(&order[1..3], &[(4, 1), (2, 1)]);
        assert!(q.is_settled());
        // every layer is settled once, in one or two jobs
        let mut probes = [0; 6];
        order.iter().for_each(|&(l, n)| probes[l] += n);
        assert_eq!(probes, [2; 6]);
    }

    #[test]
    fn the_survey_of_the_rest_and_the_spectra_on_screen_take_turns() {
        let mut q = queue(8);
        q.focus(vec![LayerId(0), LayerId(1), LayerId(2)]);
        let order = run(&mut q);
        let spectra_on_screen = order.iter().position(|&j| j == (2, 1)).unwrap();
        let last_survey = order.iter().rposition(|&(l, n)| l == 7 && n == 1).unwrap();
        assert!(spectra_on_screen < last_survey, "{order:?}");
    }

    #[test]
    fn layers_off_screen_come_by_their_distance_from_the_cursor_and_those_that_cannot_be_treated_last() {
        let mut q = queue(7);
        q.layers[4].eligible = false;
        let mut q = Queue::of(q.layers, false);
        q.focus(vec![LayerId(3)]);
        let first_seen: Vec<usize> = run(&mut q).into_iter().filter(|&(_, n)| n == 1).map(|(l, _)| l).collect();
        assert_eq!(&first_seen[..6], &[2, 1, 5, 0, 6, 4]);
    }

    #[test]
    fn what_a_queue_finds_layers_by_agrees_with_what_waits_after_any_run_of_changes() {
        let mut q = queue(9);
        q.focus(vec![LayerId(4), LayerId(5)]);
        for step in 0..40_usize {
            let Some((layer, probes)) = q.peek() else { break };
            q.take(layer, &probes);
            let settled = if step % 3 == 0 { &probes[..0] } else { &probes[..] };
            if step % 4 != 3 {
                q.finish(layer, &probes, settled);
            }
            let ready: Vec<usize> = (0..9).filter(|&l| q.ready(LayerId(l))).collect();
            assert_eq!(q.ready.layers[0].iter().copied().collect::<Vec<_>>(), ready);
            assert_eq!(q.len(), ready.len());
            let unsettled = q.layers.iter().filter(|l| !l.probes.is_empty() || l.running).count();
            assert_eq!((q.unsettled, q.is_settled()), (unsettled, unsettled == 0));
        }
    }

    #[test]
    fn a_first_look_of_seconds_comes_before_the_spectra_on_screen() {
        let mut q = queue(8);
        q.layers.iter_mut().flat_map(|l| &mut l.costs).for_each(|c| c.1 = 1e6);
        q.focus(vec![LayerId(0), LayerId(1), LayerId(2)]);
        let order = run(&mut q);
        assert_eq!(order[0], (0, 2), "the layer under the cursor is measured whole all the same");
        let last_look = order.iter().position(|&j| j == (7, 1)).unwrap();
        assert_eq!(last_look, 7, "{order:?}");
    }

    #[test]
    fn what_a_stopped_job_left_waits_again() {
        let mut q = queue(1);
        q.focus(vec![LayerId(0)]);
        let (layer, probes) = q.peek().unwrap();
        q.take(layer, &probes);
        assert!(q.peek().is_none() && !q.is_settled());
        q.finish(layer, &probes, &[ProbeId::Magnitude]);
        assert_eq!(q.peek(), Some((LayerId(0), vec![ProbeId::Spectrum])));
    }

    #[test]
    fn a_layer_is_set_aside_only_so_often() {
        let mut q = queue(1);
        let granted = (0..10).filter(|_| q.preempt(LayerId(0))).count();
        assert_eq!(granted, MAX_PREEMPTIONS as usize);
    }
}
