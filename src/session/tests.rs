use super::*;
use crate::app::{App, Effect, Msg};
use crate::config::sample;
use crate::plan::{Knob, Prune, Treatment};
use crate::source;
use crate::treat::{Granularity, Pattern, Quantise};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let open = || Arc::new(source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap().0);
    Arc::clone(MODEL.get_or_init(open))
}

/// A dashboard whose log is kept.
struct Desk {
    app: App,
    now: u64,
    text: String,
}

impl Desk {
    fn open() -> Self {
        let app = App::new(model(), (120, 40));
        let mut desk = Self { now: 0, text: String::new(), app };
        desk.text = Line::Open(Box::new(Opened::now(&desk.app.model, &desk.app.plan))).text();
        desk.send(Msg::Tick);
        desk
    }
    fn send(&mut self, msg: Msg) -> Vec<Effect> {
        let effects = self.app.update(Duration::from_millis(self.now), msg);
        for effect in &effects {
            if let Effect::Log(note) = effect {
                self.text.push_str(&note.clone().line(&self.app.model).text());
            }
        }
        effects
    }
    fn keys(&mut self, text: &str, apart: u64) -> &mut Self {
        for key in crate::drive::keys(text).unwrap() {
            self.now += apart;
            self.send(Msg::Key(key));
        }
        self
    }
}

fn line_of(text: &str) -> Line {
    serde_json::from_str(text).unwrap()
}

type Steps = Vec<(Vec<(LayerId, Entry, Entry)>, String)>;

/// Everything of a plan that a log gives back: entries, what can be undone, what can be made again.
fn all(plan: &Plan) -> (Vec<Entry>, Steps, Steps) {
    let entries = model().layers.iter().map(|l| plan.entry(l.id)).collect();
    let step = |e: Edit| (e.changes, e.label);
    (entries, plan.past().map(step).collect(), plan.future().map(step).collect())
}

/// What the user sees of where he is.
fn view(app: &App) -> String {
    let f = &app.frontier;
    let aside: Vec<_> = f.snapshots.iter().map(|s| (s.name, s.plan.treated(), s.keep(f.ask.of))).collect();
    format!(
        "{:?} {:?} {:?} {:?}",
        (app.lens, app.selected, app.knob, app.scope(), app.pattern, app.metric()),
        app.list,
        (app.spectrum, app.expanded),
        (f.ask, f.allocator, f.measure, f.active, aside)
    )
}

#[test]
fn a_session_comes_back_with_its_history_and_its_view() {
    let mut desk = Desk::open();
    desk.keys(
        "j j H H 2 <tab> n l l g g = 3 0 <enter> p u u <c-r> / d o w n <enter> s v c o [ z e S l S 5 h A t G x m",
        1000,
    );
    desk.keys("l l l l l", 30);
    let replayed = replay(&model(), desk.text.as_bytes(), false).unwrap();
    assert_eq!(all(&replayed.plan), all(&desk.app.plan));
    let mut again = App::new(model(), (120, 40));
    again.resume(&replayed);
    assert_eq!(view(&again), view(&desk.app));
    assert_eq!(again.outcome, desk.app.outcome);
    assert!(again.update(Duration::ZERO, Msg::Tick).iter().all(|e| !matches!(e, Effect::Log(_))), "nothing is new");
}

#[test]
fn a_held_key_is_an_edit_and_what_amends_it() {
    let mut desk = Desk::open();
    desk.keys("<tab>", 1000).keys("l l l l", 30);
    let kinds: Vec<&str> = desk.text.lines().skip(1).map(|l| l.split('"').nth(3).unwrap()).collect();
    assert_eq!(kinds, ["view", "edit", "amend", "amend", "amend"], "{}", desk.text);
    let replayed = replay(&model(), desk.text.as_bytes(), false).unwrap();
    assert_eq!(replayed.plan.depth(), (1, 0));
    assert_eq!(all(&replayed.plan), all(&desk.app.plan));
}

#[test]
fn what_is_no_session_says_which_line_and_why() {
    let mut desk = Desk::open();
    desk.keys("h u h", 1000);
    let lines: Vec<&str> = desk.text.split_inclusive('\n').collect();
    assert_eq!(replay(&model(), b"", false).unwrap_err(), LogError::Empty);
    assert_eq!(replay(&model(), lines[0].trim_end().as_bytes(), false).unwrap_err(), LogError::Empty);
    let newer = lines[0].replace("\"version\":1", "\"version\":2");
    assert_eq!(replay(&model(), newer.as_bytes(), false).unwrap_err(), LogError::Version(2));
    let other = desk.text.replace("blake3:", "blake3:0");
    let told = replay(&model(), other.as_bytes(), false).unwrap_err().to_string();
    assert!(told.contains("a session of bytelm (blake3:0") && told.contains("--force"), "{told}");
    assert!(replay(&model(), other.as_bytes(), true).is_ok(), "layers of the same names will do");
    // An activation-aware edit is no damage: it waits for the calibration.
    let weighed = lines[1].replace("\"rank\":158", "\"rank\":158,\"factors\":\"whitened\"");
    let blind = replay(&model(), [lines[0], &weighed].concat().as_bytes(), false).unwrap_err();
    assert!(matches!(&blind, LogError::Blind { number: 2, why } if why.contains("--calibration FILE")), "{blind}");
    for (text, number, why) in [
        ([lines[0], "{}\n"].concat(), 2, "no line of a session"),
        ([lines[0], lines[2]].concat(), 2, "undoes an edit, and there is none"),
        ([lines[0], lines[1], lines[1]].concat(), 3, "a line is missing"),
        ([lines[0], &lines[1].replace("q_proj\"", "x_proj\"")].concat(), 2, "no layer"),
        ([lines[0], &lines[1].replace("158", "1580")].concat(), 2, "not between 1 and 160"),
        ([lines[1], lines[0]].concat(), 1, "begins with its version"),
        ("a letter\nto you\n".to_owned(), 1, "no line of a session"),
    ] {
        match replay(&model(), text.as_bytes(), false).unwrap_err() {
            LogError::Line { number: n, why: told } => {
                assert!(n == number && told.contains(why), "line {n}: {told}, not {number}: {why}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn torn_anywhere_a_log_gives_a_state_that_was() {
    let mut desk = Desk::open();
    // The states that the lines lead through.
    let mut states = vec![all(&desk.app.plan)];
    for key in "h j <tab> l l u <c-r> p 2 g l".split(' ') {
        desk.keys(key, 1000);
        states.push(all(&desk.app.plan));
    }
    for _ in 0..3 {
        desk.keys("l", 20);
        states.push(all(&desk.app.plan));
    }
    let bytes = desk.text.as_bytes();
    let first = desk.text.find('\n').unwrap() + 1;
    let mut reached = 0;
    for cut in 0..=bytes.len() {
        match replay(&model(), &bytes[..cut], false) {
            Ok(replayed) => {
                assert!(replayed.whole <= cut as u64 && cut >= first);
                let state = all(&replayed.plan);
                let found = states.iter().skip(reached).position(|s| *s == state);
                reached += found.unwrap_or_else(|| panic!("at {cut} a state that never was"));
            }
            Err(error) => assert!(error == LogError::Empty && cut < first, "at {cut}: {error}"),
        }
    }
    assert_eq!(all(&replay(&model(), bytes, false).unwrap().plan), *states.last().unwrap());
}

/// Any treatment in any pattern.
fn any_entry() -> impl Strategy<Value = Entry> {
    let pattern = prop_oneof![
        Just(Pattern::Unstructured),
        prop::sample::select(vec![4usize, 8, 16, 7]).prop_map(Pattern::Groups),
        Just(Pattern::Rows),
        Just(Pattern::Columns),
        (1usize..40, 1usize..40).prop_map(|(r, c)| Pattern::Blocks(r, c)),
    ];
    let prune = (pattern, 0.0f64..1.0).prop_map(|(p, share)| Prune::of(p.on_grid(share), p));
    let prune = prop::option::of(prune.prop_filter("something goes", |p| p.remove > 0.0));
    let per = prop::sample::select(vec![Granularity::Tensor, Granularity::Row, Granularity::Group(32)]);
    let quantise = prop::option::of((2u8..=8, per).prop_map(|(bits, per)| Quantise { bits, per }));
    (prop::option::of(1usize..=160), prune, quantise, any::<bool>()).prop_map(|(rank, prune, quantise, pinned)| Entry {
        treatment: Treatment { rank, prune, quantise, ..Treatment::default() },
        pinned,
    })
}

#[derive(Debug, Clone)]
enum Step {
    Edit(Vec<(usize, Entry)>, bool, u64),
    Undo,
    Redo,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop::collection::vec((0usize..29, any_entry()), 1..4), any::<bool>(), 0u64..500)
            .prop_map(|(changes, gesture, wait)| Step::Edit(changes, gesture, wait)),
        2 => Just(Step::Undo),
        1 => Just(Step::Redo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_edits_replayed_are_the_plan_and_its_history(steps in prop::collection::vec(any_step(), 1..40)) {
        let model = model();
        let eligible: Vec<LayerId> = model.layers.iter().filter(|l| l.eligible()).map(|l| l.id).collect();
        let mut plan = Plan::new(model.layers.len());
        let mut text = Line::Open(Box::new(Opened::now(&model, &plan))).text();
        let mut clock = 0;
        for step in steps {
            match step {
                Step::Edit(changes, gesture, wait) => {
                    clock += wait;
                    let mut changes: Vec<_> =
                        changes.iter().map(|(i, e)| (eligible[*i % eligible.len()], *e)).collect();
                    changes.sort_by_key(|c| c.0);
                    changes.dedup_by_key(|c| c.0);
                    let changes = changes.into_iter().map(|(id, e)| (id, plan.entry(id), e)).collect();
                    let (label, at) = (format!("at {clock}"), Duration::from_millis(clock));
                    plan.edit(Edit { changes, label, gesture: gesture.then_some((Knob::Rank, 0)), at });
                }
                Step::Undo => drop(plan.undo()),
                Step::Redo => drop(plan.redo()),
            }
            for news in plan.news() {
                text.push_str(&Line::of(&model, &news, Duration::from_millis(clock)).text());
            }
        }
        let replayed = replay(&model, text.as_bytes(), false).unwrap();
        prop_assert_eq!(all(&replayed.plan), all(&plan));
        prop_assert_eq!(replayed.whole, text.len() as u64);
    }

    #[test]
    fn no_bytes_make_it_panic(cut in 0usize..4000, at in 0usize..4000, junk in prop::collection::vec(any::<u8>(), 0..20)) {
        static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
        let text = TEXT.get_or_init(|| { let mut d = Desk::open(); d.keys("h j <tab> l u", 1000); d.text.into_bytes() });
        let mut text = text[..cut.min(text.len())].to_vec();
        let at = at.min(text.len());
        text.splice(at..at, junk);
        let _ = replay(&model(), &text, false);
        let _ = replay(&model(), &text, true);
    }
}

/// Lines of the edits that some keys make, and of the view between them.
fn lines(keys: &str) -> Vec<Line> {
    let mut desk = Desk::open();
    desk.keys(keys, 1000);
    desk.text.lines().skip(1).map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn writer(dir: &Path) -> (Writer, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let opened = Opened::now(&model(), &Plan::new(model().layers.len()));
    (Writer::start(Store::new(dir), model(), opened, move |t| heard.lock().unwrap().push(t)).unwrap(), told)
}

fn write(dir: &Path, keys: &str, leave: bool) {
    let (writer, told) = writer(dir);
    lines(keys).into_iter().for_each(|l| writer.note(l.into()));
    if leave {
        writer.note(Line::Quit { at: 9 }.into());
    }
    drop(writer);
    assert!(told.lock().unwrap().is_empty(), "{told:?}");
}

#[test]
fn logs_are_found_newest_first_with_how_they_ended() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    assert!(store.list(&model(), None).found.is_empty(), "no folder is no error");
    write(state.path(), "j j", false);
    assert!(!store.dir().exists(), "nothing is kept of a session without a change");
    write(state.path(), "h", true);
    std::thread::sleep(Duration::from_millis(20));
    write(state.path(), "h j h", false);
    std::thread::sleep(Duration::from_millis(20));
    let (open, _) = writer(state.path());
    lines("h j h j h").into_iter().for_each(|l| open.note(l.into()));
    open.flush();
    let endings = |own: Option<&Path>| -> Vec<(usize, Ending)> {
        store.list(&model(), own).found.iter().map(|f| (f.replayed.plan.treated(), f.ending)).collect()
    };
    assert_eq!(endings(None), [(3, Ending::Elsewhere), (2, Ending::CutOff), (1, Ending::Left)]);
    assert_eq!(endings(open.path().as_deref()).len(), 2, "the own one is left out");
    drop(open);
    std::thread::sleep(Duration::from_millis(20));
    // All undone: only the history is worth going on with.
    write(state.path(), "h u", true);
    let found = store.list(&model(), None).found;
    assert_eq!(found.iter().map(Found::has_plan).collect::<Vec<_>>(), [false, true, true, true]);
    let keep = found[3].keep;
    assert!(keep > 1.0, "rank 158 of 160 is larger than dense: {keep}");
}

#[test]
fn one_that_is_taken_up_goes_on_in_place_and_one_that_is_open_elsewhere_in_a_copy() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    write(state.path(), "h j h", false);
    let found = store.list(&model(), None).found.remove(0);
    // Torn by the end of the process.
    let torn = [fs::read(&found.path).unwrap(), b"{\"do\":\"und".to_vec()].concat();
    fs::write(&found.path, torn).unwrap();
    let (first, _) = writer(state.path());
    first.take_up(&found.path, found.replayed.whole, Duration::ZERO);
    first.note(Line::Undo { at: 5 }.into());
    first.flush();
    assert_eq!(first.path().as_deref(), Some(found.path.as_path()));
    let again = store.list(&model(), None).found.remove(0);
    assert_eq!((again.replayed.plan.depth(), again.ending), ((1, 1), Ending::Elsewhere));
    // Another terminal takes the same one up.
    let (second, told) = writer(state.path());
    second.take_up(&again.path, again.replayed.whole, Duration::ZERO);
    second.note(Line::Redo { at: 6 }.into());
    second.flush();
    first.note(Line::Undo { at: 7 }.into());
    drop((first, second));
    assert!(told.lock().unwrap().is_empty(), "{told:?}");
    let depths: Vec<_> = store.logs(&found.replayed.opened.model.fingerprint);
    let depths: std::collections::BTreeSet<_> = depths
        .iter()
        .map(|(_, path)| replay(&model(), &fs::read(path).unwrap(), false).unwrap().plan.depth())
        .collect();
    assert_eq!(depths.into_iter().collect::<Vec<_>>(), [(0, 2), (2, 0)]);
}

#[test]
fn a_replayed_log_stays_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("mine.jsonl");
    let mut desk = Desk::open();
    desk.keys("h j h", 1000);
    fs::write(&log, &desk.text).unwrap();
    let (writer, _) = writer(state.path());
    writer.copy(&log, desk.text.len() as u64);
    writer.flush();
    assert_eq!(writer.path(), None, "nothing is written before there is a change");
    writer.note(Line::Undo { at: 1 }.into());
    writer.flush();
    let copy = fs::read(writer.path().unwrap()).unwrap();
    assert_eq!(replay(&model(), &copy, false).unwrap().plan.depth(), (1, 1));
    assert_eq!(fs::read_to_string(&log).unwrap(), desk.text);
}

#[test]
fn a_damaged_log_is_set_aside_and_told() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    write(state.path(), "h", false);
    write(state.path(), "h j h", false);
    let path = store.list(&model(), None).found.iter().find(|f| f.replayed.plan.treated() == 1).unwrap().path.clone();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"edit\"", "\"eddy\"")).unwrap();
    let listing = store.list(&model(), None);
    assert_eq!(listing.found.len(), 1);
    let note = listing.note.unwrap();
    assert!(note.contains(".jsonl.corrupt") && note.contains("line 2"), "{note}");
    assert!(!path.exists() && Path::new(&format!("{}.corrupt", path.display())).exists());
    assert_eq!(store.list(&model(), None).note, None, "once");
}

#[test]
fn what_cannot_be_written_is_told_once() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let (writer, told) = writer(&file);
    lines("h j h").into_iter().for_each(|l| writer.note(l.into()));
    drop(writer);
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("not being saved") && told[0].contains("SLIMSCOPE_STATE_DIR"), "{told:?}");
}

#[test]
fn logs_of_another_version_are_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    write(state.path(), "h", false);
    let path = store.list(&model(), None).found.remove(0).path;
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("slimscope 0", "slimscope 9").replace("\"edit\"", "\"eddy\"")).unwrap();
    let listing = store.list(&model(), None);
    assert!(listing.found.is_empty() && listing.note.is_none() && path.exists());
}

#[test]
fn a_panic_loses_nothing() {
    let state = tempfile::tempdir().unwrap();
    let (dir, mut desk) = (state.path().to_owned(), Desk::open());
    desk.keys("<tab>", 1000).keys("l l l l", 20);
    let text = desk.text.clone();
    let died = std::panic::catch_unwind(move || {
        let (writer, _) = writer(&dir);
        text.lines().skip(1).for_each(|l| writer.note(line_of(l).into()));
        panic!("the interface died");
    });
    assert!(died.is_err());
    let found = Store::new(state.path()).list(&model(), None).found.remove(0);
    assert_eq!((all(&found.replayed.plan), found.ending), (all(&desk.app.plan), Ending::CutOff));
}

#[test]
fn the_newest_logs_are_kept() {
    let state = tempfile::tempdir().unwrap();
    let store = Store::new(state.path());
    for n in 0..23 {
        write(state.path(), if n == 0 { "h j h" } else { "h" }, true);
        if n == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let found = store.list(&model(), None).found;
    assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 20);
    assert!(found.iter().all(|f| f.replayed.plan.treated() == 1), "the oldest went");
}

#[test]
fn gestures_and_looks_are_written_together() {
    let state = tempfile::tempdir().unwrap();
    let (writer, _) = writer(state.path());
    let mut desk = Desk::open();
    desk.keys("<tab>", 1000).keys("l l l l l l l l", 20).keys("j j j 2", 500);
    for line in desk.text.lines().skip(1) {
        writer.note(line_of(line).into());
    }
    writer.flush();
    let text = fs::read_to_string(writer.path().unwrap()).unwrap();
    let kinds: Vec<&str> = text.lines().map(|l| l.split('"').nth(3).unwrap()).collect();
    assert_eq!(kinds, ["open", "view", "edit", "amend", "view"], "{text}");
    let replayed = replay(&model(), text.as_bytes(), false).unwrap();
    assert_eq!(all(&replayed.plan), all(&desk.app.plan));
    let mut again = App::new(model(), (120, 40));
    again.resume(&replayed);
    assert_eq!(view(&again), view(&desk.app));
}
