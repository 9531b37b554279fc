//! One frame, as the dashboard would show it after some keys: the same state, the same drawing.

use super::args::{Common, Frame, FrameFormat};
use super::error::CliError;
use super::{output, plan, quality, sessions};
use crate::drive::{self, Drive};
use crate::screen;
use crate::session::{Line, Opened};
use crate::widgets::{Glyphs, transcript};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Prints the frame.
pub fn run(common: &Common, args: &Frame) -> Result<(), CliError> {
    let size = size(&args.size)?;
    let keys = drive::script(&args.keys).map_err(|k| {
        let names = "<enter> <esc> <tab> <s-tab> <space> <up> <down> <left> <right> <pgup> <pgdn> <home> <end> <c-x>, or <rest> to wait for what is being measured";
        CliError::Usage(format!("--keys: {k} is no key: one character, or {names}"))
    })?;
    let (model, weights) = output::open_noted(args.model.as_deref(), args.calibration.as_deref())?;
    let plan = args.plan.as_deref().map(|path| plan::read(path, &model, args.force)).transpose()?;
    let mut settings = output::settings(common);
    let model = Arc::new(model);
    let quality = quality::find(&model, &weights, args.data.as_deref(), &settings)?;
    let offer = quality::split(quality, &mut settings);
    let mut drive = Drive::measuring(model, weights, settings, offer, size)?;
    plan.into_iter().for_each(|plan| drive.open(plan));
    let opened = Opened::now(&drive.app.model, &drive.app.plan);
    let mut begin = None;
    if let Some(path) = &args.replay {
        let replayed = sessions::replay(path, &drive.app.model, args.force)?;
        drive.resume(&replayed);
        begin = Some((path.as_path(), replayed.whole));
    }
    drive.play(&keys);
    if let Some(path) = &args.log {
        write_log(path, opened, begin, &drive.log)?;
    }
    drive.settle();
    let mut buf = Buffer::empty(Rect::new(0, 0, size.0, size.1));
    let mut skin = output::skin(common, args.format == FrameFormat::Text);
    if args.format == FrameFormat::Svg && common.glyphs.is_none() {
        // A picture brings its own characters.
        skin.glyphs = Glyphs::Braille;
    }
    screen::draw(&drive.app, skin, &mut buf);
    let text = match args.format {
        FrameFormat::Text => transcript::text(&buf),
        FrameFormat::Ansi => transcript::ansi(&buf),
        FrameFormat::Svg => transcript::svg(&buf),
    };
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(output::unwritten)
}

/// The log of what the keys did, behind the log that it goes on from.
fn write_log(path: &Path, opened: Opened, begin: Option<(&Path, u64)>, lines: &[Line]) -> Result<(), CliError> {
    let (mut text, mut opened) = (Vec::new(), opened);
    if let Some((before, whole)) = begin {
        text = std::fs::read(before)?;
        text.truncate(whole as usize);
        opened = opened.again();
    }
    text.extend_from_slice(Line::Open(Box::new(opened)).text().as_bytes());
    lines.iter().for_each(|line| text.extend_from_slice(line.text().as_bytes()));
    output::write_whole(path, &text)
}

fn size(text: &str) -> Result<(u16, u16), CliError> {
    let wrong = || CliError::Usage(format!("--size: {text} is no size: columns x rows, such as 120x40"));
    let (w, h) = text.split_once(['x', '×']).ok_or_else(wrong)?;
    let parse = |t: &str| t.trim().parse::<u16>().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(wrong);
    Ok((parse(w)?, parse(h)?))
}
