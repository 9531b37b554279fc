//! Whole screens as snapshots: every lens at three sizes, with colour and without. `cargo insta review` shows changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use slimscope::app::{App, Msg};
use slimscope::config::sample;
use slimscope::drive::{Drive, keys};
use slimscope::engine::Settings;
use slimscope::model::{Inputs, Matrix};
use slimscope::screen::{self, Skin};
use slimscope::session::{Ending, Found, Line, Listing, Opened, replay};
use slimscope::source;
use slimscope::widgets::{Depth, Glyphs, Theme, transcript};
use std::path::Path;
use std::sync::Arc;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// The dashboard of a sample after some keys, settled.
fn dashboard(model: &str, size: (u16, u16), text: &str) -> Drive {
    let (model, weights) = if model == sample::NAME {
        source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap()
    } else {
        source::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(model)).unwrap()
    };
    let mut drive = Drive::start(model, weights, Settings::default(), size).unwrap();
    drive.press(&keys(text).unwrap());
    drive.settle();
    drive
}

/// The sample with inputs of its layers, all but those of its head: one factor common to all, and a little of their own.
fn seen() -> Drive {
    let (mut model, weights) = source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap();
    for layer in model.layers.iter_mut().filter(|l| l.eligible() && l.label != "lm_head") {
        let n = layer.cols();
        let load = |j: usize| ((j * 37) % 101) as f32 / 101.0 - 0.3;
        let own = |j: usize| 1.0 / (1.0 + (j % 17) as f32);
        let gram = (0..n * n).map(|k| load(k / n) * load(k % n) + if k / n == k % n { own(k / n) } else { 0.0 });
        layer.inputs = Some(Arc::new(Inputs::of_gram(4096, &Matrix::new(n, n, gram.collect()).unwrap())));
    }
    Drive::start(model, weights, Settings::default(), SIZES[0]).unwrap()
}

#[test]
fn by_activations() {
    let scripts = [
        ("spectrum", "w 1 j H H H H H"),
        ("sparsity", "u 2 <tab> L L L L L g l"),
        ("unseen", "g g g <end> L L L"),
        ("frontier", "u u u <home> 5"),
        ("lipschitz", "3"),
    ];
    let mut drive = seen();
    for (name, script) in scripts {
        drive.press(&keys(script).unwrap());
        drive.settle();
        drive.app.frontier.solved_in = None;
        for size in SIZES {
            drive.send(Msg::Resize(size.0, size.1));
            drive.settle();
            let text = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille));
            check(&drive.app, &text, drive.app.lens.title());
            if size.0 < 200 {
                insta::assert_snapshot!(format!("by_activations_{name}_{}x{}", size.0, size.1), text);
            }
        }
        for (w, h) in (60..210).step_by(13).zip((20..70).step_by(4)) {
            drive.send(Msg::Resize(w, h));
            let text = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille));
            assert!(text.lines().all(|l| slimscope::widgets::width(l) <= w as usize), "{w}×{h}:\n{text}");
        }
    }
}

fn painted(app: &App, depth: Depth, glyphs: Glyphs) -> Buffer {
    let mut buf = Buffer::empty(Rect::new(0, 0, app.size.0, app.size.1));
    screen::draw(app, Skin { theme: Theme { depth }, glyphs }, &mut buf);
    buf
}

/// What a frame holds whatever the lens and the size.
fn check(app: &App, text: &str, lens: &str) {
    let layer = app.model.layer(app.selected).unwrap();
    for needed in [app.model.name.as_str(), lens, layer.label.as_str(), "keep ", "rank", "prune"] {
        assert!(text.contains(needed), "no {needed:?} at {:?}:\n{text}", app.size);
    }
    let keep = format!("keep {:.1}%", app.outcome.totals.keep() * 100.0);
    assert!(text.contains(&keep), "no {keep:?}:\n{text}");
}

fn lens(name: &str, model: &str, script: &str) {
    let mut drive = dashboard(model, SIZES[0], script);
    // Times differ from run to run.
    drive.app.frontier.solved_in = None;
    for size in SIZES {
        drive.send(Msg::Resize(size.0, size.1));
        drive.settle();
        for (depth, word) in [(Depth::Ansi256, "colour"), (Depth::None, "plain")] {
            let buf = painted(&drive.app, depth, Glyphs::Braille);
            let text = transcript::text(&buf);
            check(&drive.app, &text, drive.app.lens.title());
            let shown =
                if depth == Depth::None { text } else { format!("{text}== styles\n{}", transcript::styles(&buf)) };
            insta::assert_snapshot!(format!("{name}_{}x{}_{word}", size.0, size.1), shown);
        }
    }
}

#[test]
fn spectrum() {
    lens("spectrum", sample::NAME, "j j H H H H H");
}

#[test]
fn sparsity() {
    lens("sparsity", sample::NAME, "2 j j j j <tab> L L L L L");
}

#[test]
fn lipschitz_of_a_chain() {
    lens("lipschitz", "fashion_mlp", "3 <tab> L L L L L j <s-tab> H H H");
}

#[test]
fn map() {
    lens("map", sample::NAME, "g g g <tab> L L L g J J l l l l l l 4");
}

#[test]
fn frontier() {
    lens("frontier", sample::NAME, "j 5 <enter> S t * <enter> S l l l l l");
}

#[test]
fn differences() {
    lens("differences", sample::NAME, "j 5 <enter> S A p <enter> D");
}

#[test]
fn leaving() {
    lens("leaving", sample::NAME, "5 t * <enter> x j j <enter>");
    let text = |script: &str| {
        transcript::text(&painted(&dashboard(sample::NAME, (120, 40), script).app, Depth::None, Glyphs::Braille))
    };
    let ranks = text("h h x j");
    assert!(ranks.contains("lems"), "what cannot hold ranks names what can:\n{ranks}");
    assert!(text("n n <tab> L L L x t t t").contains("for vllm"));
}

#[test]
fn convolutions() {
    let drive = dashboard("fashion_cnn", (120, 40), "j 3 <tab> L L L");
    insta::assert_snapshot!(transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille)));
}

#[test]
fn the_smallest_window_holds_everything() {
    for (script, lens) in
        [("1", "Spectrum"), ("2", "Sparsity"), ("3", "Lipschitz"), ("4", "Map"), ("5", "Frontier"), ("6", "Quality")]
    {
        let drive = dashboard("digits_mlp", (60, 20), script);
        let text = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille));
        check(&drive.app, &text, lens);
        if lens == "Spectrum" {
            insta::assert_snapshot!(text);
        }
    }
}

#[test]
fn earlier_sessions_are_offered_chosen_and_taken_up() {
    let found = |keys: &str, minutes: u64, ending: Ending| {
        let drive = dashboard(sample::NAME, SIZES[0], keys);
        let opened = Opened::now(&drive.app.model, &slimscope::app::Plan::new(drive.app.model.layers.len()));
        let lines = std::iter::once(Line::Open(Box::new(opened))).chain(drive.log.iter().cloned());
        let text: String = lines.map(|l| l.text()).collect();
        let replayed = replay(&drive.app.model, text.as_bytes(), false).unwrap();
        let (age, keep) = (std::time::Duration::from_secs(60 * minutes), drive.app.outcome.totals.keep());
        Found { path: format!("{minutes}.jsonl").into(), age, ending, keep, replayed: replayed.into() }
    };
    let found = vec![
        found("j = 4 0 <enter>", 2, Ending::Elsewhere),
        found("g g g <tab> = 5 0 <enter> g = 2 0 <enter> u J 2", 95, Ending::CutOff),
        found("j j j j <tab> L L L", 60 * 24 * 3, Ending::Left),
    ];
    for size in [(80, 24), (120, 40), (60, 20)] {
        let mut drive = dashboard(sample::NAME, size, "");
        let listing = Listing { found: found.clone(), note: None };
        drive.send(Msg::Sessions { listing, asked: false });
        let text = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille));
        check(&drive.app, &text, "Spectrum");
        insta::assert_snapshot!(format!("sessions_{}x{}", size.0, size.1), text);
        drive.press(&keys("<down> <up> <up> <down> <enter>").unwrap());
        assert_eq!(drive.app.plan.depth(), (1, 1));
        assert_eq!((drive.app.plan.treated(), drive.app.lens.title()), (29, "Sparsity"));
        drive.press(&keys("u").unwrap());
        assert!(drive.app.plan.is_dense());
        assert!(matches!(drive.log.last(), Some(Line::Undo { .. })), "{:?}", drive.log.last());
    }
}

#[test]
fn other_windows_and_other_glyphs() {
    let mut drive = dashboard("digits_mlp", (100, 32), "c v o H");
    let ascii = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Ascii));
    assert!(ascii.is_ascii(), "{ascii}");
    insta::assert_snapshot!("ascii_100x32", ascii);
    let blocks = transcript::text(&painted(&drive.app, Depth::Ansi16, Glyphs::Blocks));
    assert!(!blocks.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    drive.press(&keys("?").unwrap());
    insta::assert_snapshot!("help_100x32", transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille)));
    drive.press(&keys("<esc> 2 i").unwrap());
    insta::assert_snapshot!("explain_100x32", transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille)));
    drive.press(&keys("<esc> / f c 2").unwrap());
    insta::assert_snapshot!("filter_100x32", transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille)));
    for size in [(0, 0), (1, 1), (59, 40), (60, 19), (20, 5), (10, 5)] {
        drive.send(Msg::Resize(size.0, size.1));
        let text = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille));
        assert!(size.0 < 10 || text.contains("60×20"), "{size:?}: {text}");
    }
}

#[test]
fn nothing_is_painted_outside_the_frame_at_any_size() {
    let mut drive = dashboard(sample::NAME, (120, 40), "j j <tab> L L");
    for lens in [
        "1",
        "2",
        "3",
        "4",
        "5",
        "5 S D",
        "5 D",
        "x",
        "<esc> x j j j <enter>",
        "<esc> <esc> 6",
        "1 e",
        "4 <esc> ?",
        "<esc> i",
    ] {
        drive.press(&keys(lens).unwrap());
        for w in (60..210).step_by(7) {
            for h in (20..70).step_by(5) {
                drive.send(Msg::Resize(w, h));
                let text = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille));
                assert_eq!(text.lines().count(), h as usize);
                assert!(text.lines().all(|l| slimscope::widgets::width(l) <= w as usize), "{w}×{h}:\n{text}");
            }
        }
    }
}

#[test]
fn the_pointer_touches_what_is_drawn() {
    let mut drive = dashboard(sample::NAME, (120, 40), "");
    let theme = Theme { depth: Depth::None };
    let text = transcript::text(&painted(&drive.app, Depth::None, Glyphs::Braille));
    let rows: Vec<Vec<char>> = text.lines().map(|l| l.chars().collect()).collect();
    // Every name in the list selects its layer.
    for (y, row) in rows.iter().enumerate() {
        let line: String = row.iter().take(20).collect();
        let listed = y < 28;
        let names = ["q_proj", "k_proj", "down_proj", "lm_head"];
        if let Some(label) = names.iter().find(|l| listed && line.contains(**l)) {
            let target = screen::hit(&drive.app, theme, 5, y as u16);
            drive.send(Msg::Press(target));
            drive.send(Msg::Release);
            assert_eq!(drive.app.model.layer(drive.app.selected).unwrap().label, *label, "row {y}");
        }
    }
    // Every tab shows its lens.
    let tabs: String = rows[1].iter().collect();
    for id in slimscope::app::LensId::ALL {
        let byte = tabs.find(id.title()).unwrap();
        let x = tabs[..byte].chars().count() as u16;
        drive.send(Msg::Press(screen::hit(&drive.app, theme, x, 1)));
        drive.send(Msg::Release);
        assert_eq!(drive.app.lens, id);
    }
}
