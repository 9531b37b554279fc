//! One frame, as the dashboard would show it after some keys: the same state, the same drawing.

use super::args::{Common, Frame, FrameFormat};
use super::error::CliError;
use super::output;
use crate::app::{App, Effect, Key, Msg};
use crate::engine::{Engine, Report, Settings};
use crate::screen;
use crate::widgets::transcript;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::Write;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Keys are pressed so far apart, so that each is an edit of its own.
const APART: Duration = Duration::from_secs(1);

/// Prints the frame.
pub fn run(common: &Common, args: &Frame) -> Result<(), CliError> {
    let size = size(&args.size)?;
    let keys: Vec<Key> = args
        .keys
        .split_whitespace()
        .map(|k| Key::parse(k).ok_or_else(|| CliError::Usage(format!("--keys: {k} is no key: one character, or <enter> <esc> <tab> <s-tab> <space> <up> <down> <left> <right> <pgup> <pgdn> <home> <end> <c-x>"))))
        .collect::<Result<_, _>>()?;
    let (model, weights) = output::open(args.model.as_deref())?;
    let mut app = App::new(Arc::new(model), size);
    let (tell, inbox) = mpsc::channel();
    let mut settings = Settings::default();
    if let Some(threads) = common.threads {
        settings.threads = threads.max(1);
    }
    let engine = Engine::start(Arc::clone(&app.model), weights, settings, move |r| drop(tell.send(r)))?;
    let mut driver = Driver { engine, asked: 0, now: Duration::ZERO };
    driver.update(&mut app, Msg::Tick);
    for key in keys {
        driver.now += APART;
        if driver.update(&mut app, Msg::Key(key)) {
            break;
        }
    }
    driver.settle(&mut app, &inbox);
    let mut buf = Buffer::empty(Rect::new(0, 0, size.0, size.1));
    screen::draw(&app, output::skin(common, args.format == FrameFormat::Text), &mut buf);
    let text = match args.format {
        FrameFormat::Text => transcript::text(&buf),
        FrameFormat::Ansi => transcript::ansi(&buf),
        FrameFormat::Svg => transcript::svg(&buf),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

struct Driver {
    engine: Engine,
    /// Requests made so far.
    asked: u64,
    now: Duration,
}

impl Driver {
    /// Changes the state and asks the engine what the change asks for; whether the user left.
    fn update(&mut self, app: &mut App, msg: Msg) -> bool {
        let effects = app.update(self.now, msg);
        for request in effects.iter().filter_map(Effect::request) {
            self.asked = self.engine.ask(request);
        }
        effects.contains(&Effect::Quit)
    }

    /// Hands on reports until nothing is left to do; an answer may lead to a new question.
    fn settle(&mut self, app: &mut App, inbox: &mpsc::Receiver<Report>) {
        while let Ok(report) = inbox.recv() {
            let idle = if let Report::Idle { requests } = report { requests } else { 0 };
            self.update(app, Msg::Report(report));
            if idle >= self.asked {
                return;
            }
        }
    }
}

fn size(text: &str) -> Result<(u16, u16), CliError> {
    let wrong = || CliError::Usage(format!("--size: {text} is no size: columns x rows, such as 120x40"));
    let (w, h) = text.split_once(['x', '×']).ok_or_else(wrong)?;
    let parse = |t: &str| t.trim().parse::<u16>().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(wrong);
    Ok((parse(w)?, parse(h)?))
}
