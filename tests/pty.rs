//! The program in a real pseudo-terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]
#![cfg(unix)]

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Pty {
    master: Option<Box<dyn MasterPty + Send>>,
    child: Box<dyn Child + Send + Sync>,
    writer: Option<Box<dyn Write + Send>>,
    screen: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    gone: Arc<AtomicBool>,
    /// Sessions of its own, unless the command names a folder.
    state: tempfile::TempDir,
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

impl Pty {
    fn open(model: &str, cols: u16, rows: u16) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_slimscope"));
        if !model.is_empty() {
            command.arg(format!("{}/sample_models/{model}", env!("CARGO_MANIFEST_DIR")));
        }
        Self::run(command, cols, rows)
    }

    fn run(mut command: CommandBuilder, cols: u16, rows: u16) -> Self {
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env("SLIMSCOPE_CACHE_DIR", "/dev/null/no-cache");
        let state = tempfile::tempdir().unwrap();
        if command.get_env("SLIMSCOPE_STATE_DIR").is_none() {
            command.env("SLIMSCOPE_STATE_DIR", state.path());
        }
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(cols), 0)));
        let written = Arc::new(Mutex::new(Vec::new()));
        let gone = Arc::new(AtomicBool::new(false));
        let (sink, log, leave) = (Arc::clone(&screen), Arc::clone(&written), Arc::clone(&gone));
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n) = reader.read(&mut buffer) {
                if n == 0 || leave.load(Ordering::SeqCst) {
                    break;
                }
                sink.lock().unwrap().process(&buffer[..n]);
                log.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Self { master: Some(pair.master), child, writer: Some(writer), screen, written, gone, state }
    }

    /// A sample with a state directory that outlives it.
    fn with_state(model: &str, state: &Path, options: &[&str]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_slimscope"));
        command.arg(format!("{}/sample_models/{model}", env!("CARGO_MANIFEST_DIR")));
        command.args(options);
        command.env("SLIMSCOPE_STATE_DIR", state);
        Self::run(command, 100, 32)
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn wait(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let text = self.contents();
            if holds(&text) {
                return text;
            }
            assert!(Instant::now() < end, "never saw {what} in:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn shows(&self, needle: &str) -> String {
        self.wait(needle, |t| t.contains(needle))
    }

    fn keys(&mut self, text: &str) {
        let writer = self.writer.as_mut().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.process_id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    fn ends_within(&mut self, limit: Duration) -> u32 {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(Instant::now() < end, "it still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The terminal is as it was: main screen, cursor shown, no mouse, no bracketed paste.
    fn restored(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let parser = self.screen.lock().unwrap();
            let s = parser.screen();
            let fine = !s.alternate_screen()
                && !s.hide_cursor()
                && !s.bracketed_paste()
                && s.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
            if fine {
                return;
            }
            drop(parser);
            assert!(Instant::now() < end, "the terminal was not restored");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_sample_opens_scrubs_resizes_quits_and_gives_the_terminal_back() {
    let mut pty = Pty::open("", 120, 40);
    pty.shows("bytelm");
    assert!(pty.screen.lock().unwrap().screen().alternate_screen());
    assert!(pty.screen.lock().unwrap().screen().hide_cursor());
    pty.shows("q_proj");
    pty.keys("jj\t");
    pty.keys("\x1b[1;2C\x1b[1;2C\x1b[C");
    let text = pty.shows("remove 21%");
    assert!(text.contains("p 21%"), "{text}");
    pty.wait("the exact run", |t| t.contains("pruned") && !t.contains("…"));
    pty.keys("u");
    pty.wait("one step back over the burst of keys", |t| {
        t.contains("off  remove 0%") && t.contains("undone: prune 21%")
    });
    pty.keys("M");
    pty.shows("mouse on");
    // A press in the middle of the rank's slider, a drag to a quarter, release.
    pty.keys("\x1b[<0;38;31M");
    pty.shows("r 80 of 160");
    pty.keys("\x1b[<32;24;31M\x1b[<0;24;31m");
    pty.shows("r 40 of 160");
    pty.keys("u");
    pty.wait("the drag is one step", |t| t.contains("dense  full rank 160"));
    pty.keys("3");
    pty.shows("[3 Lipschitz]");
    let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
    pty.master.as_ref().unwrap().resize(size).unwrap();
    pty.screen.lock().unwrap().screen_mut().set_size(cells(24), cells(80));
    pty.wait("the small layout", |t| t.lines().count() <= 24 && t.contains("tab knob") && t.contains("[3 Lipschitz]"));
    pty.keys("q");
    assert_eq!(pty.ends_within(Duration::from_secs(5)), 0);
    pty.restored();
}

#[test]
fn termination_and_hang_up_end_it_at_once_with_the_terminal_restored() {
    for (signal, status) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let mut pty = Pty::open("fashion_mlp", 80, 24);
        pty.shows("fashion_mlp");
        pty.keys("M");
        pty.wait("mouse", |t| t.contains("mouse on"));
        pty.signal(signal);
        assert_eq!(pty.ends_within(Duration::from_secs(2)), status, "{signal}");
        pty.restored();
    }
}

#[test]
fn a_terminal_that_vanishes_leaves_no_process_behind() {
    let mut pty = Pty::open("fashion_mlp", 80, 24);
    pty.shows("fashion_mlp");
    // The other end goes away without a word; the reader holds it as well and leaves at the next frame.
    pty.gone.store(true, Ordering::SeqCst);
    pty.keys("j");
    std::thread::sleep(Duration::from_millis(200));
    pty.writer = None;
    pty.master = None;
    pty.ends_within(Duration::from_secs(5));
}

#[test]
fn it_suspends_and_comes_back() {
    let mut pty = Pty::open("digits_mlp", 80, 24);
    pty.shows("digits_mlp");
    pty.keys("\t\x1b[C\x1b[C\x1b[C");
    pty.shows("remove 3%");
    pty.signal("TSTP");
    pty.restored();
    // Stopped, as the shell would find it.
    let pid = pty.child.process_id().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(5);
    while !state().contains(") T ") {
        assert!(Instant::now() < end, "not stopped: {}", state());
        std::thread::sleep(Duration::from_millis(10));
    }
    // What was done is saved before it stops.
    let text = std::fs::read_to_string(saved(pty.state.path(), "\"edit\"")).unwrap();
    assert!(text.contains("\"remove\":0.03"), "{text}");
    pty.signal("CONT");
    let end = Instant::now() + Duration::from_secs(5);
    while !pty.screen.lock().unwrap().screen().alternate_screen() {
        assert!(Instant::now() < end, "the screen was not taken again");
        std::thread::sleep(Duration::from_millis(10));
    }
    pty.shows("digits_mlp");
    pty.keys("q");
    assert_eq!(pty.ends_within(Duration::from_secs(5)), 0);
    pty.restored();
}

fn logs(state: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(state.join("sessions")).into_iter().flatten();
    folder.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect()
}

/// Waits until the only log holds some text: a test may be faster than the disk.
fn saved(state: &Path, text: &str) -> PathBuf {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let [log] = logs(state).as_slice()
            && std::fs::read_to_string(log).is_ok_and(|t| t.contains(text))
        {
            return log.clone();
        }
        assert!(Instant::now() < end, "{text} was never saved");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn whatever_ends_it_the_plan_is_offered_and_taken_up_with_its_history() {
    for end in ["KILL", "HUP", "TERM", "vanish", "quit"] {
        let state = tempfile::tempdir().unwrap();
        let mut pty = Pty::with_state("digits_mlp", state.path(), &[]);
        pty.shows("stable rank");
        pty.keys("=30\r");
        pty.shows("r 30 of 64");
        pty.keys("2\t=40\r");
        pty.shows("remove 40%");
        pty.keys("u");
        pty.shows("undone: prune 40%");
        saved(state.path(), "\"undo\"");
        match end {
            "vanish" => {
                pty.gone.store(true, Ordering::SeqCst);
                pty.keys("k");
                std::thread::sleep(Duration::from_millis(200));
                (pty.writer, pty.master) = (None, None);
            }
            "quit" => pty.keys("q"),
            signal => pty.signal(signal),
        }
        pty.ends_within(Duration::from_secs(5));

        let mut again = Pty::with_state("digits_mlp", state.path(), &[]);
        let text = again.shows("Go on where you were?");
        assert!(text.contains(if end == "quit" { " left " } else { " cut off " }), "{end}:\n{text}");
        assert!(text.contains("keep 100.0%") && text.contains("[1 Spectrum]"), "the model is behind:\n{text}");
        again.keys("\r");
        let text = again.shows("undo 1, redo 1");
        assert!(text.contains("r 30 of 64") && text.contains("[2 Sparsity]"), "{end}:\n{text}");
        again.keys("\x12");
        again.shows("remove 40%");
        again.keys("uu");
        again.shows("undone: rank 30");
        again.keys("q");
        assert_eq!(again.ends_within(Duration::from_secs(5)), 0);
        let log = saved(state.path(), "\"quit\"");
        assert_eq!(logs(state.path()), [log], "one log, which went on");
    }
}

#[test]
fn the_offer_is_not_in_the_way_and_can_be_asked_for_again() {
    let state = tempfile::tempdir().unwrap();
    let mut pty = Pty::with_state("digits_mlp", state.path(), &[]);
    pty.shows("stable rank");
    pty.keys("=30\r");
    pty.shows("r 30 of 64");
    saved(state.path(), "\"edit\"");
    // While it is open, another terminal marks it so, and --resume leaves it alone.
    let mut other = Pty::with_state("digits_mlp", state.path(), &["--resume"]);
    other.shows("open elsewhere");
    other.keys("\x0f");
    let text = other.shows("Go on where you were?");
    assert!(text.contains("open elsewhere"), "{text}");
    other.keys("\x1b");
    other.shows("ctrl-o lists");
    other.keys("q");
    other.ends_within(Duration::from_secs(5));
    pty.keys("q");
    pty.ends_within(Duration::from_secs(5));

    let mut fresh = Pty::with_state("digits_mlp", state.path(), &["--fresh"]);
    fresh.shows("stable rank");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!fresh.contents().contains("Go on where"), "{}", fresh.contents());
    fresh.keys("q");
    fresh.ends_within(Duration::from_secs(5));

    let mut offered = Pty::with_state("digits_mlp", state.path(), &[]);
    offered.shows("Go on where you were?");
    offered.keys("3");
    offered.wait("the key does what it always does", |t| t.contains("[3 Lipschitz]") && !t.contains("Go on where"));
    offered.keys("\x0f");
    offered.shows("Go on where you were?");
    offered.keys("\r");
    offered.shows("r 30 of 64");
    offered.keys("q");
    offered.ends_within(Duration::from_secs(5));

    let mut resumed = Pty::with_state("digits_mlp", state.path(), &["--resume"]);
    resumed.shows("r 30 of 64");
    resumed.keys("q");
    resumed.ends_within(Duration::from_secs(5));
    assert_eq!(logs(state.path()).len(), 1);
}

#[test]
fn what_cannot_be_saved_is_said_and_the_dashboard_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let mut pty = Pty::with_state("digits_mlp", &file, &[]);
    pty.shows("stable rank");
    pty.keys("=30\r");
    pty.shows("not being saved");
    pty.keys("u");
    pty.shows("undone: rank 30");
    pty.keys("q");
    assert_eq!(pty.ends_within(Duration::from_secs(5)), 0);
}

#[test]
fn a_damaged_session_is_set_aside_and_the_dashboard_opens() {
    let state = tempfile::tempdir().unwrap();
    let mut pty = Pty::with_state("digits_mlp", state.path(), &[]);
    pty.shows("stable rank");
    pty.keys("=30\r");
    let log = saved(state.path(), "\"edit\"");
    pty.signal("KILL");
    pty.ends_within(Duration::from_secs(5));
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replace("\"edit\"", "\"eat\"")).unwrap();
    let mut again = Pty::with_state("digits_mlp", state.path(), &[]);
    again.shows("a damaged session was set aside");
    again.keys("q");
    assert_eq!(again.ends_within(Duration::from_secs(5)), 0);
    assert!(logs(state.path()).is_empty() && Path::new(&format!("{}.corrupt", log.display())).exists());
}

#[test]
fn a_window_that_is_too_small_says_so_and_recovers() {
    let mut pty = Pty::open("digits_mlp", 40, 10);
    pty.shows("too small");
    let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
    pty.master.as_ref().unwrap().resize(size).unwrap();
    pty.screen.lock().unwrap().screen_mut().set_size(cells(30), cells(100));
    pty.shows("digits_mlp");
    pty.keys("\x03");
    assert_eq!(pty.ends_within(Duration::from_secs(5)), 0);
    pty.restored();
}

#[test]
fn a_scrub_costs_few_bytes_and_a_frame_is_one_update() {
    let mut pty = Pty::open("digits_mlp", 120, 40);
    pty.shows("stable rank");
    std::thread::sleep(Duration::from_millis(600));
    let before = pty.written.lock().unwrap().len();
    pty.keys("h");
    pty.shows("r 63 of 64");
    std::thread::sleep(Duration::from_millis(400));
    let sent = pty.written.lock().unwrap()[before..].to_vec();
    assert!(sent.len() < 8192, "{} bytes for one step", sent.len());
    let text = String::from_utf8_lossy(&sent);
    let begins = text.matches("\x1b[?2026h").count();
    assert!(begins >= 1 && begins == text.matches("\x1b[?2026l").count(), "whole frames: {begins}");
}

/// Run by the test below in a pseudo-terminal of its own: a session in which a worker panics, then the interface.
#[test]
fn child_that_panics() {
    if std::env::var_os("SLIMSCOPE_TEST_CHILD").is_none() {
        return;
    }
    use slimscope::terminal::{panic, session::Session};
    panic::install();
    let mut session = Session::open().unwrap();
    let worker = std::thread::Builder::new().name("analysis-0".into());
    let worker = worker.spawn(|| drop(std::panic::catch_unwind(|| panic!("a worker died")))).unwrap();
    worker.join().unwrap();
    let paint =
        |buf: &mut ratatui::buffer::Buffer| buf.set_string(0, 0, "still ours", ratatui::style::Style::default());
    session.draw((60, 20), paint).unwrap();
    std::io::stdin().read_exact(&mut [0]).unwrap();
    panic!("the interface died");
}

#[test]
fn a_panic_of_the_interface_restores_and_explains_and_a_workers_goes_to_the_log() {
    let state = tempfile::tempdir().unwrap();
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["child_that_panics", "--exact", "--nocapture"]);
    command.env("SLIMSCOPE_TEST_CHILD", "1");
    // A backtrace would push the message off the screen.
    command.env("RUST_BACKTRACE", "0");
    command.env("SLIMSCOPE_STATE_DIR", state.path());
    let mut pty = Pty::run(command, 60, 20);
    let text = pty.shows("still ours");
    assert!(pty.screen.lock().unwrap().screen().alternate_screen(), "a worker's panic leaves the screen alone");
    assert!(!text.contains("a worker died"));
    let log = std::fs::read_to_string(state.path().join("slimscope.log")).unwrap();
    assert!(log.contains("a worker died") && log.contains("analysis-0"), "{log}");
    pty.keys("x");
    pty.shows("the interface died");
    pty.restored();
    assert_ne!(pty.ends_within(Duration::from_secs(5)), 0);
}

/// A checkpoint of so many matrices of 4×4, as experts of a few blocks.
fn many_layers(folder: &Path, layers: usize) {
    let (mut header, each) = (serde_json::Map::new(), 64);
    for i in 0..layers {
        let name = format!("model.layers.{}.mlp.experts.{}.up_proj.weight", i / 400, i % 400);
        let range = [i * each, (i + 1) * each];
        header.insert(name, serde_json::json!({"dtype": "F32", "shape": [4, 4], "data_offsets": range}));
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    for i in 0..layers * 16 {
        // Any numbers, all different from zero.
        bytes.extend((((i * 7919) % 251) as f32 - 125.5).to_le_bytes());
    }
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

#[test]
fn keys_are_answered_while_twenty_thousand_layers_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    many_layers(folder.path(), 20_000);
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_slimscope"));
    command.arg(folder.path());
    let mut pty = Pty::run(command, 120, 40);
    pty.shows("20000 of 20000");
    // Measuring all of them takes far longer than this; every key has its answer meanwhile.
    for _ in 0..5 {
        pty.keys("j");
    }
    pty.keys("4");
    pty.shows("[4 Map]");
    pty.keys("1/99.up\r");
    pty.shows("200 of 20000");
    pty.keys("\x1b");
    pty.shows("20000 of 20000");
    // All layers by half, as one edit, and back.
    pty.keys("ggg\t=50\r");
    pty.shows("keep 50.0%");
    pty.keys("u");
    pty.shows("keep 100.0%");
    pty.keys("q");
    assert_eq!(pty.ends_within(Duration::from_secs(5)), 0);
    pty.restored();
}
/// Run by the test below in a pseudo-terminal of its own: a session whose file is cut short under it.
#[test]
fn child_that_loses_its_file() {
    let Some(path) = std::env::var_os("SLIMSCOPE_TEST_LOST") else { return };
    let mut session = slimscope::terminal::session::Session::open().unwrap();
    let mapped = slimscope::source::mapped::Mapped::open(Path::new(&path)).unwrap();
    let bytes = mapped.bytes().unwrap();
    let paint = |buf: &mut ratatui::buffer::Buffer| buf.set_string(0, 0, "drawn", ratatui::style::Style::default());
    session.draw((60, 20), paint).unwrap();
    session.mouse(true).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    // Two threads meet it at once; neither gets a number.
    std::thread::scope(|scope| {
        let sum = || assert_eq!(bytes.iter().map(|b| u64::from(*b)).sum::<u64>(), u64::MAX);
        scope.spawn(sum);
        scope.spawn(sum);
    });
}

#[test]
fn a_file_cut_short_while_it_is_read_restores_the_terminal_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    std::fs::write(&path, vec![1; 1 << 20]).unwrap();
    let child = std::env::current_exe().unwrap();
    let mut command = CommandBuilder::new("sh");
    let script = format!("{} child_that_loses_its_file --exact --nocapture; echo status $?; stty -a", child.display());
    command.args(["-c", &script]);
    command.env("SLIMSCOPE_TEST_LOST", &path);
    let mut pty = Pty::run(command, 100, 30);
    let text = pty.shows("status 1\n");
    assert!(text.contains("cut.safetensors: was cut short"), "{text}");
    pty.restored();
    let text = pty.wait("the settings of the terminal", |s| s.contains("icanon"));
    assert!(!text.contains("-icanon") && !text.contains("-echo "), "still raw: {text}");
    pty.ends_within(Duration::from_secs(5));
}

#[test]
fn keys_come_from_the_terminal_where_standard_input_is_a_pipe() {
    let mut command = CommandBuilder::new("sh");
    let model = format!("{}/sample_models/digits_mlp", env!("CARGO_MANIFEST_DIR"));
    command.args(["-c", &format!("echo {model} | xargs {}", env!("CARGO_BIN_EXE_slimscope"))]);
    let mut pty = Pty::run(command, 100, 32);
    pty.shows("keep 100.0%");
    pty.keys("q");
    assert_eq!(pty.ends_within(Duration::from_secs(10)), 0);
    pty.restored();
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_is_refused_in_plain_words() {
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", &format!("TERM=dumb {}; echo status $?", env!("CARGO_BIN_EXE_slimscope"))]);
    let mut pty = Pty::run(command, 100, 32);
    let text = pty.shows("status 2");
    assert!(text.contains("TERM is `dumb`"), "{text}");
    let written = String::from_utf8_lossy(&pty.written.lock().unwrap()).into_owned();
    assert!(!written.contains('\x1b'), "{written:?}");
    pty.ends_within(Duration::from_secs(5));
}

#[test]
fn without_a_locale_only_ascii_is_drawn() {
    let mut command = CommandBuilder::new("sh");
    let program = env!("CARGO_BIN_EXE_slimscope");
    command.args(["-c", &format!("unset LANG LC_ALL LC_CTYPE; {program}")]);
    let mut pty = Pty::run(command, 100, 32);
    pty.shows("keep 100.0%");
    assert!(pty.contents().is_ascii(), "{}", pty.contents());
    pty.keys("q");
    assert_eq!(pty.ends_within(Duration::from_secs(10)), 0);
}
