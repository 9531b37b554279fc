//! Which measurement is wanted most. Pure bookkeeping: no thread, no clock.

use crate::model::{Layer, LayerId, Model};
use crate::probe::{Probe, ProbeId};

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

/// Measurements to be made, and the order in which they are wanted.
pub(super) struct Queue {
    layers: Vec<Waiting>,
    /// Layers, most wanted first.
    order: Vec<LayerId>,
    visible: usize,
    /// Time given so far to "one look at everything" and to "all of what is on screen".
    spent: [f64; 2],
    layer_by_layer: bool,
}

impl Queue {
    pub fn new(model: &Model, probes: &[&dyn Probe], only: Option<&[LayerId]>, layer_by_layer: bool) -> Self {
        let wanted = |l: &Layer| l.tied_to.is_none() && only.is_none_or(|o| o.contains(&l.id));
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
        Self { layers: layers.collect(), order: Vec::new(), visible: 0, spent: [0.0; 2], layer_by_layer }
    }

    /// Takes a new order of interest; layers not named follow in module order.
    pub fn focus(&mut self, mut order: Vec<LayerId>, visible: usize) {
        let mut named = vec![false; self.layers.len()];
        order.retain(|id| id.0 < named.len() && !std::mem::replace(&mut named[id.0], true));
        self.visible = visible.min(order.len());
        order.extend((0..named.len()).filter(|&i| !named[i]).map(LayerId));
        self.order = order;
    }

    /// Adds a measurement that somebody asked for; whether it was not waiting already.
    pub fn add(&mut self, layer: LayerId, probe: ProbeId) -> bool {
        let Some(waiting) = self.layers.get_mut(layer.0).filter(|l| !l.probes.contains(&probe)) else { return false };
        waiting.probes.push(probe);
        waiting.probes.sort_unstable();
        true
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_settled(&self) -> bool {
        self.layers.iter().all(|l| l.probes.is_empty() && !l.running)
    }

    /// Whether a layer has nothing left to measure.
    pub fn is_done_with(&self, layer: LayerId) -> bool {
        self.layers.get(layer.0).is_none_or(|l| l.probes.is_empty() && !l.running)
    }

    /// The layer under the cursor.
    pub fn first(&self) -> Option<LayerId> {
        self.order.first().copied()
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.layers.iter().filter(|l| !l.probes.is_empty() && !l.running).count()
    }

    /// The layer under the cursor, when it waits for a worker.
    pub fn starving_focus(&self) -> Option<LayerId> {
        let &first = self.order.first()?;
        self.ready(first).then_some(first)
    }

    fn ready(&self, id: LayerId) -> bool {
        self.layers.get(id.0).is_some_and(|l| !l.running && !l.probes.is_empty())
    }

    /// The cheap measurements that this layer still lacks: the first pass, else the sketch and the norms.
    fn cheap(&self, id: LayerId, rung: ProbeId) -> Option<(LayerId, Vec<ProbeId>)> {
        let probes = || self.layers[id.0].probes.iter().copied().take_while(|p| *p <= rung);
        (self.ready(id) && probes().next().is_some()).then(|| (id, probes().collect()))
    }

    fn eligible(&self, id: LayerId) -> bool {
        self.layers[id.0].eligible
    }

    /// A first look at everything comes first, as far as that is a matter of seconds; then it gets half of the time.
    fn survey_turn(&self) -> bool {
        let [survey, screen] = self.spent;
        survey < FIRST_LOOK || survey <= screen
    }

    /// The job wanted most now, without taking it.
    pub fn peek(&self) -> Option<(LayerId, Vec<ProbeId>)> {
        let everything = |id: LayerId| (id, self.layers[id.0].probes.clone());
        let (seen, rest) = self.order.split_at(self.visible);
        let find = |ids: &[LayerId], wanted: &dyn Fn(LayerId) -> bool| ids.iter().copied().find(|&id| wanted(id));
        if self.layer_by_layer {
            return find(&self.order, &|id| self.ready(id)).map(everything);
        }
        let look = |ids: &[LayerId], rung: ProbeId| ids.iter().find_map(|&id| self.cheap(id, rung));
        let survey = || look(rest, ProbeId::Magnitude).or_else(|| look(rest, ProbeId::Sketch));
        let on_screen = || find(seen, &|id| self.ready(id) && self.eligible(id)).map(everything);
        self.starving_focus()
            .map(everything)
            .or_else(|| look(seen, ProbeId::Magnitude))
            .or_else(|| look(seen, ProbeId::Sketch))
            .or_else(|| if self.survey_turn() { survey().or_else(on_screen) } else { on_screen().or_else(survey) })
            .or_else(|| find(rest, &|id| self.ready(id) && self.eligible(id)).map(everything))
            .or_else(|| find(&self.order, &|id| self.ready(id)).map(everything))
    }

    /// Takes a job that [`Self::peek`] gave.
    pub fn take(&mut self, layer: LayerId, probes: &[ProbeId]) {
        let waiting = &mut self.layers[layer.0];
        waiting.running = true;
        waiting.probes.retain(|p| !probes.contains(p));
        let cost: f64 = waiting.costs.iter().filter(|(p, _)| probes.contains(p)).map(|(_, c)| c).sum();
        self.spent[usize::from(probes.contains(&ProbeId::Spectrum))] += cost;
    }

    /// A job ended; the probes it did not settle wait again.
    pub fn finish(&mut self, layer: LayerId, taken: &[ProbeId], settled: &[ProbeId]) {
        let waiting = &mut self.layers[layer.0];
        waiting.running = false;
        waiting.probes.extend(taken.iter().filter(|p| !settled.contains(p)));
        // A kept result may settle more than was taken.
        waiting.probes.retain(|p| !settled.contains(p));
        waiting.probes.sort_unstable();
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
        Queue { layers: layers.collect(), order: Vec::new(), visible: 0, spent: [0.0; 2], layer_by_layer: false }
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
        q.focus(vec![LayerId(3), LayerId(4), LayerId(2)], 3);
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
        q.focus(vec![LayerId(0), LayerId(1), LayerId(2)], 3);
        let order = run(&mut q);
        let spectra_on_screen = order.iter().position(|&j| j == (2, 1)).unwrap();
        let last_survey = order.iter().rposition(|&(l, n)| l == 7 && n == 1).unwrap();
        assert!(spectra_on_screen < last_survey, "{order:?}");
    }

    #[test]
    fn a_first_look_of_seconds_comes_before_the_spectra_on_screen() {
        let mut q = queue(8);
        q.layers.iter_mut().flat_map(|l| &mut l.costs).for_each(|c| c.1 = 1e6);
        q.focus(vec![LayerId(0), LayerId(1), LayerId(2)], 3);
        let order = run(&mut q);
        assert_eq!(order[0], (0, 2), "the layer under the cursor is measured whole all the same");
        let last_look = order.iter().position(|&j| j == (7, 1)).unwrap();
        assert_eq!(last_look, 7, "{order:?}");
    }

    #[test]
    fn what_a_stopped_job_left_waits_again() {
        let mut q = queue(1);
        q.focus(vec![LayerId(0)], 1);
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
