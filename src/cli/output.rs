//! What the commands share: opening, looks, writing, progress.

use super::args::{Common, GlyphSet, When};
use super::error::CliError;
use crate::config::{self, sample};
use crate::engine::cache::Cache;
use crate::engine::{Progress, Settings};
use crate::model::{Layer, LayerId, Model};
use crate::screen::Skin;
use crate::source::{self, Weights};
use crate::text::shown;
use crate::widgets::number::{bytes, duration};
use crate::widgets::theme::Surroundings;
use crate::widgets::{Depth, Glyphs, Theme};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Opens a checkpoint, or the bundled sample.
pub fn open(path: Option<&Path>) -> Result<(Model, Weights), CliError> {
    Ok(match path {
        Some(path) => source::open(path)?,
        None => source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG)?,
    })
}

/// Opens as [`open_with`] does, and writes the remarks on how the checkpoint was read to standard error.
pub fn open_noted(path: Option<&Path>, calibration: Option<&Path>) -> Result<(Model, Weights), CliError> {
    let (model, weights) = open_with(path, calibration)?;
    notes(&model);
    Ok((model, weights))
}

/// Writes the remarks on how a checkpoint was read to standard error.
pub fn notes(model: &Model) {
    model.notes.iter().for_each(|note| remark!("note: {note}"));
}

/// Opens a checkpoint, or the bundled sample, and what a calibration pass saw of it.
pub fn open_with(path: Option<&Path>, calibration: Option<&Path>) -> Result<(Model, Weights), CliError> {
    let (mut model, weights) = open(path)?;
    let Some(file) = calibration else { return Ok((model, weights)) };
    let attached = source::calibration::attach(&mut model, &source::calibration::open(file)?)?;
    if let Some(first) = attached.missing.first() {
        let count = attached.missing.len();
        let what = if count == 1 { "1 layer".to_owned() } else { format!("{count} layers, such as") };
        let note = format!("{}: holds nothing of {what} {first}", file.display());
        model.notes.push(note);
    }
    if let Some(note) = few_tokens(&model) {
        let note = format!("{}: {note}", file.display());
        remark!("note: {note}");
        model.notes.push(note);
    }
    Ok((model, weights))
}

/// A remark on layers of which fewer tokens were seen than they have inputs: their Gram matrices are singular.
fn few_tokens(model: &Model) -> Option<String> {
    let few = |l: &&Layer| l.inputs.as_ref().is_some_and(|i| i.tokens < i.in_features() as u64);
    let layers: Vec<&Layer> = model.layers.iter().filter(few).collect();
    let first = layers.first()?;
    let inputs = first.inputs.as_ref()?;
    let (tokens, width) = (inputs.tokens, inputs.in_features());
    let more = if layers.len() > 1 { format!(" and {} more", layers.len() - 1) } else { String::new() };
    Some(format!(
        "{}{more}: {tokens} tokens for {width} inputs say little of how inputs go together; calibrate on more data",
        first.name
    ))
}

/// Layers of a kind whose names match any of the patterns, all where there is none, in module order.
pub fn matching(
    model: &Model,
    option: &str,
    globs: &[String],
    suitable: impl Fn(&Layer) -> bool,
) -> Result<Vec<LayerId>, CliError> {
    let patterns: Vec<glob::Pattern> = globs
        .iter()
        .map(|g| glob::Pattern::new(g).map_err(|e| CliError::Usage(format!("{option} {g}: {e}"))))
        .collect::<Result<_, _>>()?;
    let matches = |l: &&Layer| patterns.is_empty() || patterns.iter().any(|p| p.matches(&l.name));
    let chosen: Vec<LayerId> = model.layers.iter().filter(|l| suitable(l)).filter(matches).map(|l| l.id).collect();
    if chosen.is_empty() && !globs.is_empty() {
        let near = model.layers.iter().find(|l| suitable(l)).map_or(String::new(), |l| format!(", such as {}", l.name));
        return Err(CliError::Input(anyhow::anyhow!(
            "{}: no layer that can be {} matches {}; names are those of `slimscope inspect`{near}",
            model.path.display(),
            if option == "--pin" { "compressed" } else { "measured" },
            globs.join(", ")
        )));
    }
    Ok(chosen)
}

/// Whether a path of `-o` means standard output.
pub fn to_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a file beside and renames it, so that there is never half of one.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let named = |e: std::io::Error| {
        CliError::Input(
            anyhow::Error::new(e)
                .context(format!("{}: cannot be written; choose a folder that exists", path.display())),
        )
    };
    crate::export::save::write_whole(path, bytes).map_err(named)
}

/// The settings of the engine that the options ask for.
pub fn settings(common: &Common) -> Settings {
    let default = Settings::default();
    let cache = config::cache_dir().filter(|_| !common.no_cache).map(|dir| Arc::new(Cache::new(&dir)));
    let threads = common.threads.unwrap_or(default.threads).max(1);
    let (memory, ceiling) = common.memory.map_or((default.memory, default.ceiling), |limit| (limit, limit));
    Settings { threads, memory, ceiling, cache, ..default }
}

/// Whether the next ctrl-c ends the program there and then.
static DIES: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(true)));

/// ctrl-c ends a command with status 130.
pub fn die_on_interrupt() {
    #[cfg(unix)]
    {
        let dies = Arc::clone(&DIES);
        let _ = signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 130, dies);
    }
}

/// From here on the first ctrl-c asks the command to stop, and only a second one ends it at once; the function that is
/// given back says whether it was asked.
pub fn stop_on_interrupt() -> impl Fn() -> bool + Sync {
    // What was registered first is done first: the first time it does not die yet.
    #[cfg(unix)]
    let asks = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&DIES)).is_ok();
    #[cfg(not(unix))]
    let asks = false;
    DIES.store(!asks, Ordering::Relaxed);
    move || asks && DIES.load(Ordering::Relaxed)
}

/// Colours and characters for the dashboard and its frames. `depth` is what `--color always` means here.
pub fn skin(common: &Common, plain: bool) -> Skin {
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let surroundings = Surroundings {
        no_color: set("NO_COLOR"),
        term: var("TERM"),
        colorterm: var("COLORTERM"),
        ssh: set("SSH_CONNECTION") || set("SSH_TTY"),
    };
    let depth = match common.color {
        When::Never => Depth::None,
        When::Auto if plain => Depth::None,
        When::Auto => Depth::detect(&surroundings),
        When::Always => match Depth::detect(&Surroundings { no_color: false, ..surroundings }) {
            Depth::None => Depth::Ansi256,
            depth => depth,
        },
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().map(var).find(|v| !v.is_empty()).unwrap_or_default();
    let glyphs = match common.glyphs {
        Some(GlyphSet::Braille) => Glyphs::Braille,
        Some(GlyphSet::Blocks) => Glyphs::Blocks,
        Some(GlyphSet::Ascii) => Glyphs::Ascii,
        // A file is read elsewhere: nothing is known of where.
        None if plain => Glyphs::Braille,
        None => Glyphs::detect(&locale, &var("TERM")),
    };
    Skin { theme: Theme { depth }, glyphs }
}

/// Writes a line to standard output, hidden characters escaped.
pub fn line(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", shown(text)).map_err(unwritten)
}

/// Why standard output could not be written.
pub fn unwritten(error: std::io::Error) -> CliError {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return CliError::Closed;
    }
    CliError::Input(anyhow::Error::new(error).context("standard output cannot be written; make room where it goes"))
}

/// Writes the pieces of one long line to standard output as they come, hidden characters escaped.
pub fn pieces(pieces: impl Iterator<Item = String>) -> Result<(), CliError> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for piece in pieces {
        out.write_all(shown(&piece).as_bytes()).map_err(unwritten)?;
    }
    writeln!(out).and_then(|()| out.flush()).map_err(unwritten)
}

/// Writes a line to standard error, hidden characters escaped; nobody has to be there to read it.
pub fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", shown(text));
}

/// Progress on standard error, when that is a terminal; one line, overwritten.
#[derive(Default)]
pub struct Meter {
    shown: bool,
}

impl Meter {
    /// Shows how far the work is.
    pub fn show(&mut self, p: &Progress) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let left = p.left.map_or(String::new(), |d| format!("  {} left", duration(d)));
        let bar = crate::widgets::meter::meter(p.share, 26);
        let what = match p.total {
            0 => format!("{} {}/s", p.title, bytes(p.bytes_per_second as u64)),
            total => format!("{}/{total} layers", p.done),
        };
        eprint!("\r\x1b[K{what} {bar} {:.0}%{left}", p.share * 100.0);
        self.shown = true;
    }
    /// Shows how much of one long work is done, after so long.
    pub fn share(&mut self, title: &str, share: f64, spent: Duration) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let left = (share > 0.0).then(|| spent.mul_f64((1.0 - share).max(0.0) / share));
        let left = left.map_or(String::new(), |d| format!("  {} left", duration(d)));
        let bar = crate::widgets::meter::meter(share, 26);
        eprint!("\r\x1b[K{title} {bar} {:.0}%{left}", share * 100.0);
        self.shown = true;
    }
    /// Clears the line before something is written.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}
