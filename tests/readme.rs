//! What the README shows is what the program does. `UPDATE_README=1 cargo test --test readme` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use slimscope::app::keymap::BINDINGS;
use slimscope::cli::quality;
use slimscope::config::sample;
use slimscope::drive::{Drive, script};
use slimscope::engine::Settings;
use slimscope::screen::{self, Skin};
use slimscope::source;
use slimscope::widgets::{Depth, Glyphs, Theme, transcript};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn at(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn updating() -> bool {
    std::env::var_os("UPDATE_README").is_some()
}

fn frame(size: (u16, u16), text: &str, depth: Depth) -> Buffer {
    let (model, weights) = source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap();
    let (model, mut settings) = (Arc::new(model), Settings::default());
    let offer = quality::find(&model, &weights, None, &settings).unwrap();
    let offer = quality::split(offer, &mut settings);
    let mut drive = Drive::measuring(model, weights, settings, offer, size).unwrap();
    drive.play(&script(text).unwrap());
    drive.settle();
    // Times differ from run to run.
    drive.app.frontier.solved_in = None;
    let mut buf = Buffer::empty(Rect::new(0, 0, size.0, size.1));
    screen::draw(&drive.app, Skin { theme: Theme { depth }, glyphs: Glyphs::Braille }, &mut buf);
    buf
}

/// The table of keys as the README holds it.
fn key_table() -> String {
    let mut out = String::from("| keys | do |\n|---|---|\n");
    let mut group = "";
    for b in BINDINGS {
        if b.group != group {
            group = b.group;
            out.push_str(&format!("| **{group}** | |\n"));
        }
        let keys: Vec<String> = b.keys.iter().map(|k| format!("`{}`", k.label())).collect();
        out.push_str(&format!("| {} | {} |\n", keys.join(" "), b.action.words()));
    }
    out
}

#[test]
fn the_readme_shows_a_real_frame_and_the_real_keys() {
    let text = fs::read_to_string(at("README.md")).unwrap();
    let mut want = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        want.push_str(line);
        want.push('\n');
        if line.starts_with("<!-- frame:") {
            let script = line.split('"').nth(1).unwrap();
            want.push_str("```text\n");
            lines.next();
            want.push_str(&transcript::text(&frame((100, 32), script, Depth::None)));
            while lines.peek().is_some_and(|l| *l != "```") {
                lines.next();
            }
        } else if line == "<!-- keys -->" {
            want.push('\n');
            want.push_str(&key_table());
            while lines.peek().is_some_and(|l| l.is_empty() || l.starts_with('|')) {
                lines.next();
            }
            want.push('\n');
        }
    }
    if updating() {
        fs::write(at("README.md"), &want).unwrap();
    } else {
        assert!(text == want, "README.md is out of date: UPDATE_README=1 cargo test --test readme");
    }
}

#[test]
fn the_pictures_are_of_this_program() {
    for (name, script) in [
        ("spectrum", "j j j j j j = 6 4 <enter>"),
        ("map", "g g g <tab> = 5 0 <enter> <s-tab> g J J j j = 2 5 % <enter> 4"),
        ("sparsity", "2 j j j j <tab> = 6 0 <enter>"),
        ("lipschitz", "3 j j <tab> = 7 0 <enter>"),
        ("frontier", "5 A A A A A <enter> S t <enter> l l l l l l l l l l"),
    ] {
        let svg = transcript::svg(&frame((120, 40), script, Depth::True));
        let path = at("assets/screens").join(format!("{name}.svg"));
        if updating() {
            fs::write(&path, &svg).unwrap();
        } else {
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(found == svg, "{} is out of date: UPDATE_README=1 cargo test --test readme", path.display());
        }
    }
}
