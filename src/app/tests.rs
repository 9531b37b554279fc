//! Key scripts on the state alone: no terminal, no engine.

use super::*;
use crate::config::sample;
use crate::model::Role;
use crate::plan::Treatment;
use crate::probe::Fact;
use crate::source;
use crate::treat::Prune;
use proptest::prelude::*;

pub(super) struct Script {
    pub app: App,
    pub now: u64,
    pub effects: Vec<Effect>,
}

pub(super) fn script() -> Script {
    let (model, _) = source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap();
    let mut s = Script { app: App::new(Arc::new(model), (120, 40)), now: 0, effects: Vec::new() };
    s.send(Msg::Tick);
    s
}

impl Script {
    pub fn send(&mut self, msg: Msg) {
        self.effects = self.app.update(Duration::from_millis(self.now), msg);
    }
    fn keys(&mut self, text: &str) -> &mut Self {
        for key in crate::drive::keys(text).unwrap() {
            self.now += 1000;
            self.send(Msg::Key(key));
        }
        self
    }
    pub fn label(&self) -> String {
        let layer = self.app.model.layer(self.app.selected).unwrap();
        layer.block.map_or_else(|| layer.label.clone(), |b| format!("{b}·{}", layer.label))
    }
    pub fn here(&self) -> Treatment {
        self.app.plan.treatment(self.app.selected)
    }
}

#[test]
fn up_and_down_choose_layers_and_step_over_headings() {
    let mut s = script();
    assert_eq!(s.label(), "0·q_proj");
    assert_eq!(s.keys("j j k").label(), "0·k_proj");
    assert_eq!(s.keys("j j j j j j").label(), "1·q_proj", "the heading of block 1 is no layer");
    assert_eq!(s.keys("k").label(), "0·down_proj");
    assert_eq!(s.keys("<end>").label(), "lm_head");
    assert_eq!(s.keys("<down> <down>").label(), "lm_head");
    assert_eq!(s.keys("<home>").label(), "embed_tokens");
    assert_eq!(s.keys("<up>").label(), "embed_tokens");
    assert_eq!(s.keys("j j J J").label(), "2·k_proj");
    assert_eq!(s.keys("K").label(), "1·k_proj");
}

#[test]
fn left_and_right_scrub_from_the_first_frame_on() {
    let mut s = script();
    assert_eq!(s.app.knob, Knob::Rank);
    s.keys("h");
    assert_eq!(s.here(), Treatment::rank(158), "1 % of rank 160 is two");
    s.keys("H");
    assert_eq!(s.here().rank, Some(138));
    s.keys("l L L");
    assert!(s.here().is_dense(), "beyond the full rank lies dense");
    s.keys("l");
    assert!(s.here().is_dense());
    for _ in 0..12 {
        s.keys("H");
    }
    assert_eq!(s.here().rank, Some(1), "a rank of nothing is no rank");
    s.keys("d <tab> h");
    assert!(s.here().is_dense(), "less than nothing is not removed");
    s.keys("l L");
    assert_eq!(s.here(), Treatment::prune(Prune::unstructured(0.11)));
    for _ in 0..12 {
        s.keys("<s-right>");
    }
    assert_eq!(s.here().prune.map(|p| p.remove), Some(1.0));
}

#[test]
fn totals_move_with_the_key_press() {
    let mut s = script();
    let before = s.app.outcome.totals.params.1;
    s.keys("= 4 0 <enter>");
    assert_eq!(s.here().rank, Some(40));
    assert_eq!(s.app.outcome.totals.params.1, before - 160 * 160 + 40 * 320);
    s.keys("= 1 2 0 <enter>");
    assert_eq!(s.app.outcome.totals.params.1, before - 160 * 160 + 120 * 320, "larger than dense is shown so");
    s.keys("u u");
    assert_eq!(s.app.outcome.totals.params.1, before);
}

#[test]
fn values_are_typed_and_mistakes_told() {
    let mut s = script();
    s.keys("<tab> = 6 2 . 5 % <enter>");
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.625));
    s.keys("l");
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.64), "a step from a typed value ends on the grid");
    s.keys("= x <enter>");
    assert!(s.app.status.as_ref().unwrap().contains("no number"));
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.64));
    s.keys("= 5 <esc>");
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.64));
    s.keys("= o f f <enter>");
    assert!(s.here().is_dense());
    s.keys("<s-tab> = 5 0 % <enter>");
    assert_eq!(s.here().rank, Some(80));
    s.keys("= 9 9 9 9 <enter>");
    assert_eq!(s.here().rank, Some(160));
    s.keys("= 2");
    s.send(Msg::Paste("5\n".into()));
    s.keys("<enter>");
    assert_eq!(s.here().rank, Some(25));
    s.send(Msg::Paste("dddd".into()));
    assert_eq!(s.here().rank, Some(25), "pasted text is no command");
}

#[test]
fn scopes_move_many_layers_and_leave_pinned_ones_alone() {
    let mut s = script();
    s.keys("j p g <tab> L");
    assert_eq!(s.app.scope(), Scope::Role);
    let keys: Vec<_> = s
        .app
        .model
        .layers
        .iter()
        .filter(|l| l.role == Role::Key)
        .map(|l| s.app.plan.treatment(l.id).prune.map(|p| p.remove))
        .collect();
    assert_eq!(keys, [None, Some(0.1), Some(0.1), Some(0.1)], "the pinned one stays");
    s.keys("g l");
    assert_eq!(s.app.scope(), Scope::Block);
    let treated = |s: &Script, b: usize| {
        s.app.model.layers.iter().filter(|l| l.block == Some(b) && !s.app.plan.treatment(l.id).is_dense()).count()
    };
    assert_eq!((treated(&s, 0), treated(&s, 1)), (6, 1));
    s.keys("g");
    assert_eq!(s.app.scope(), Scope::All);
    assert_eq!(s.app.targets().len(), 28, "29 eligible, one pinned; the embedding is none");
    s.keys("= 3 0 <enter>");
    assert_eq!(s.app.reading(Knob::Prune), Reading::Same(Some(0.3)));
    s.keys("u");
    assert!(matches!(s.app.reading(Knob::Prune), Reading::Mixed(low, high) if low == 0.0 && high == 0.1));
    s.keys("<s-tab> = 5 0 % <enter>");
    let ranks: std::collections::BTreeSet<_> =
        s.app.targets().iter().map(|id| s.app.plan.treatment(*id).rank).collect();
    assert_eq!(ranks.into_iter().collect::<Vec<_>>(), [Some(80)], "the same share of each full rank");
    assert_eq!(s.app.plan.treatment(s.app.selected).rank, None);
}

#[test]
fn what_cannot_be_treated_says_why() {
    let mut s = script();
    s.keys("<home> h");
    assert!(s.app.plan.is_dense());
    assert!(s.app.status.as_ref().unwrap().contains("look-up table"), "{:?}", s.app.status);
    s.keys("p");
    assert!(!s.app.plan.entry(s.app.selected).pinned);
}

#[test]
fn separate_keys_are_undone_one_by_one_and_a_held_key_at_once() {
    let mut s = script();
    s.keys("<tab> l l l u");
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.02));
    s.keys("<c-r>");
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.03));
    s.keys("u u u u");
    assert!(s.app.plan.is_dense());
    assert_eq!(s.app.status.as_deref(), Some("nothing to undo"));
    for _ in 0..20 {
        s.now += 30;
        s.send(Msg::Key(Key::char('l')));
    }
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.2));
    s.keys("u");
    assert!(s.app.plan.is_dense(), "a held key is one step");
}

#[test]
fn a_filter_narrows_the_list_and_esc_lifts_it() {
    let mut s = script();
    s.keys("/ d o w n");
    assert_eq!(s.app.listed_count(), 4);
    assert_eq!(s.label(), "0·down_proj");
    s.keys("<enter> j");
    assert_eq!(s.label(), "1·down_proj");
    s.keys("<esc>");
    assert_eq!((s.app.listed_count(), s.label().as_str()), (30, "1·down_proj"));
    s.keys("/ q q q");
    assert_eq!(s.app.listed_count(), 0);
    s.keys("<esc>");
    assert_eq!(s.app.listed_count(), 30);
    s.keys("/ l a y e r s . 3 <enter>");
    assert_eq!(s.app.listed_count(), 7, "names count in full");
}

#[test]
fn folding_keeps_the_selection_and_a_folded_block_is_a_scope() {
    let mut s = script();
    s.keys("j j z");
    assert_eq!(s.app.on_block(), Some(0));
    assert_eq!(s.app.scope(), Scope::Block);
    s.keys("<tab> L");
    let treated = s.app.model.layers.iter().filter(|l| !s.app.plan.treatment(l.id).is_dense()).count();
    assert_eq!(treated, 7);
    s.keys("j");
    assert_eq!(s.label(), "1·q_proj");
    s.keys("Z");
    assert!(s.app.list.folded.is_empty(), "unfolds all when any is folded");
    s.keys("Z");
    assert_eq!(s.app.list.rows.len(), 6, "{:?}", s.app.list.rows);
    s.keys("J");
    assert_eq!(s.label(), "2·q_proj", "going there unfolds");
}

#[test]
fn sorting_by_error_follows_the_measurements() {
    let mut s = script();
    s.keys("s");
    assert_eq!(s.app.list.sort, Sort::Error);
    assert!(s.app.list.rows.iter().all(|r| matches!(r, Row::Layer(_))));
    s.keys("s");
    let first = s.app.list.rows.first().copied().map(|r| s.app.layer_of(r)).unwrap();
    let params = |id| s.app.model.layer(id).map(|l: &crate::model::Layer| l.params).unwrap();
    assert_eq!(params(first), s.app.model.layers.iter().map(|l| l.params).max().unwrap());
}

#[test]
fn only_the_plan_that_stands_is_refined_and_stale_answers_are_dropped() {
    let mut s = script();
    s.keys("h");
    assert!(!s.effects.iter().any(|e| matches!(e, Effect::Refine { .. })), "a rank alone follows from the spectrum");
    s.keys("<tab> l");
    let treatment = s.here();
    assert!(s.effects.contains(&Effect::Refine { layer: s.app.selected, treatment }), "{:?}", s.effects);
    let id = s.app.selected;
    let answer = |t: Treatment| crate::engine::Report::Refined {
        generation: 1,
        layer: id,
        result: Ok(Arc::new(Refined {
            treatment: t,
            error_energy: 1.0,
            params: 5,
            sigma: vec![2.0],
            delta_norm: crate::known::Known::lower(0.5),
            threshold: 0.1,
            row_density: vec![],
            col_density: vec![],
            weighed: None,
            linf_l1: None,
            convolution: None,
        })),
    };
    s.send(Msg::Report(answer(Treatment { prune: Some(Prune::unstructured(0.9)), ..treatment })));
    assert!(s.app.current_refinement(id).is_none());
    s.send(Msg::Report(answer(treatment)));
    assert!(s.app.current_refinement(id).is_some());
    assert_eq!(s.effects, [Effect::CancelRefine], "nothing more is awaited");
    s.keys("l");
    assert!(s.app.current_refinement(id).is_none());
    assert!(s.app.refined[id.0].is_some(), "the last good one stays, to be drawn dimmed");
}

#[test]
fn exact_runs_of_all_layers_end_where_several_of_them_fail() {
    let mut s = script();
    let model = Arc::make_mut(&mut s.app.model);
    for layer in model.layers.iter_mut().filter(|l| l.eligible()) {
        let moments = vec![1.0; layer.cols()];
        layer.inputs = Some(Arc::new(crate::model::Inputs::of_diagonal(4, moments)));
    }
    s.keys("w g g g <tab> l");
    let mut asked = std::collections::HashSet::new();
    // None of them can be run: each is asked for once.
    while let Some((layer, _)) = s.app.awaited {
        assert!(asked.insert(layer), "{layer:?} is asked for again");
        let result = Err("too large".to_owned());
        s.send(Msg::Report(crate::engine::Report::Refined { generation: 1, layer, result }));
        assert_eq!(s.app.refine_failure(layer), Some("too large"));
    }
    assert_eq!(asked.len(), s.app.model.layers.iter().filter(|l| l.eligible() && l.measurable()).count());
    s.keys("l");
    assert!(s.app.awaited.is_some(), "another treatment may do");
}

#[test]
fn the_focus_is_told_when_it_moves_and_only_then() {
    let mut s = script();
    let focus = |s: &Script| {
        s.effects.iter().find_map(|e| if let Effect::Focus { seen } = e { Some(seen.clone()) } else { None })
    };
    let seen = focus(&s).expect("asked at the start");
    assert_eq!(seen[0], s.app.selected);
    assert!(seen.len() > 10);
    s.keys("h");
    assert_eq!(focus(&s), None);
    s.keys("j");
    assert_eq!(focus(&s).unwrap()[0], s.app.selected);
}

#[test]
fn leaving_and_stepping_back() {
    let mut s = script();
    s.keys("? q u");
    assert!(s.app.overlay.is_some() && s.effects.is_empty(), "letters search the help page");
    s.keys("<esc>");
    assert!(s.app.overlay.is_none());
    s.keys("e");
    assert!(s.app.expanded);
    s.keys("<esc> q");
    assert!(!s.app.expanded);
    assert_eq!(s.effects, [Effect::Quit]);
    s.keys("/ a <c-c>");
    assert!(s.app.typing.is_none(), "ctrl-c gives the line up");
    s.keys("<c-c>");
    assert_eq!(s.effects, [Effect::Quit]);
    s.keys("? u n d o <enter>");
    assert_eq!(s.app.status.as_deref(), Some("nothing to undo"), "enter runs the entry");
    s.keys("4 j <enter>");
    assert_eq!((s.app.lens, s.label().as_str()), (LensId::Spectrum, "0·k_proj"));
    s.keys("M");
    assert_eq!(s.effects, [Effect::Mouse(true)]);
    s.keys("<c-z>");
    assert_eq!(s.effects, [Effect::Suspend]);
}

#[test]
fn a_drag_moves_the_knob_it_began_on_and_is_one_step() {
    let mut s = script();
    for share in [0.1, 0.4, 0.25] {
        s.now += 20;
        s.send(Msg::Press(Target::Slider(Knob::Prune, share)));
    }
    s.send(Msg::Press(Target::Row(9)));
    s.send(Msg::Release);
    assert_eq!(s.here().prune.map(|p| p.remove), Some(0.25));
    assert_eq!(s.label(), "0·q_proj", "the pointer left the slider with the button held");
    s.keys("u");
    assert!(s.app.plan.is_dense());
    s.send(Msg::Press(Target::Slider(Knob::Rank, 1.0)));
    s.send(Msg::Release);
    assert!(s.app.plan.is_dense());
    s.send(Msg::Press(Target::Row(4)));
    assert_eq!(s.label(), "0·v_proj");
}

#[test]
fn patterns_go_round_and_keep_their_share() {
    let mut s = script();
    s.keys("n");
    assert_eq!(s.here(), Treatment::default(), "nothing is removed yet");
    assert_eq!((s.app.pattern, s.app.knob), (Pattern::PerRow, Knob::Prune));
    s.keys("n");
    assert_eq!((s.app.pattern, s.app.knob), (Pattern::Groups(4), Knob::Prune));
    s.keys("l l");
    assert_eq!(s.here().prune, Some(Prune::of(0.5, Pattern::Groups(4))));
    assert!(s.effects.iter().any(|e| matches!(e, Effect::Preview { .. })), "patterns are previewed as well");
    s.keys("n n n");
    assert_eq!(s.here().prune, Some(Prune::of(0.5, Pattern::Rows)));
    s.keys("= 1 : 8 <enter> j l");
    assert_eq!(s.here().prune, Some(Prune::of(0.125, Pattern::Groups(8))), "the next layer likewise");
    s.keys("k");
    assert_eq!(s.here().prune, Some(Prune::of(0.875, Pattern::Groups(8))));
    s.keys("H H H H H H H H H H");
    assert_eq!(s.here().prune, None);
    s.keys("u");
    assert_eq!(s.here().prune.map(|p| p.pattern), Some(Pattern::Groups(8)), "one step of the group back");
}

fn any_key() -> impl Strategy<Value = Key> {
    let chars = "hjklHJKLqu/=gdpnszZamvceoi?MI[]{}123456 0x.%".chars().collect::<Vec<_>>();
    let codes = [
        Code::Enter,
        Code::Esc,
        Code::Tab,
        Code::Backspace,
        Code::Up,
        Code::Down,
        Code::PageUp,
        Code::PageDown,
        Code::Home,
        Code::End,
    ];
    prop_oneof![
        4 => prop::sample::select(chars).prop_map(Key::char),
        1 => prop::sample::select(codes.to_vec()).prop_map(Key::plain),
        1 => prop::sample::select(vec!['r', 'z', 'w', 'u']).prop_map(Key::ctrl),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_sequence_of_keys_breaks_anything(
        keys in prop::collection::vec(any_key(), 1..80), sizes in prop::collection::vec((0u16..220, 0u16..70), 1..5), facts in 0usize..4,
    ) {
        let mut s = script();
        for (i, key) in keys.iter().enumerate() {
            s.now += 137;
            s.send(Msg::Key(*key));
            let (w, h) = sizes[i % sizes.len()];
            if i % 7 == 0 {
                s.send(Msg::Resize(w, h));
            }
            if i % 11 == 0 && facts > 0 {
                let layer = crate::model::LayerId(i % s.app.model.layers.len());
                let sigma = crate::probe::Spectrum::from_sigma(vec![3.0, 1.0], 2, 2, 1e-7, 1e-15);
                s.send(Msg::Report(crate::engine::Report::Fact { layer, fact: Fact::Spectrum(Arc::new(sigma)) }));
            }
            prop_assert!(s.app.selected.0 < s.app.model.layers.len());
            prop_assert!(s.app.list.rows.is_empty() || s.app.list.cursor < s.app.list.rows.len());
            let area = ratatui::layout::Rect::new(0, 0, w, h);
            s.app.size = (w, h);
            let mut buf = ratatui::buffer::Buffer::empty(area);
            let skin = crate::screen::Skin { theme: crate::widgets::Theme { depth: crate::widgets::Depth::Ansi256 }, glyphs: crate::widgets::Glyphs::Braille };
            crate::screen::draw(&s.app, skin, &mut buf);
        }
        // Undoing everything leads back to dense.
        s.app.typing = None;
        s.app.overlay = None;
        for _ in 0..=keys.len() {
            s.now += 1000;
            s.send(Msg::Key(Key::char('u')));
        }
        prop_assert!(s.app.plan.is_dense());
        let fresh = project(&s.app.model, &s.app.facts, &s.app.refined, &s.app.plan);
        prop_assert_eq!(&s.app.outcome, &fresh, "the outcome kept up to date is the outcome computed anew");
    }
}
