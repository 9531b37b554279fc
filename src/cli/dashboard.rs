//! The dashboard.

use super::args::{Cli, When};
use super::error::CliError;
use super::{output, plan, quality, sessions};
use crate::terminal::{self, Outcome, Setup};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

/// Whether there is a terminal to draw on and to read keys from: standard input, or what controls the process where
/// that is a pipe, as under `xargs`.
fn terminal() -> Result<(), CliError> {
    const REMEDY: &str = "`slimscope measure` and `slimscope frame` work without one";
    let needs = |what: &str| Err(CliError::Usage(format!("{what}: {REMEDY}")));
    if !std::io::stdout().is_terminal() {
        return needs("the dashboard needs a terminal, and standard output is none");
    }
    let keys = || std::fs::File::open("/dev/tty").is_ok_and(|tty| tty.is_terminal());
    if !std::io::stdin().is_terminal() && !keys() {
        return needs("the dashboard needs a terminal: standard input is none, and /dev/tty cannot be opened");
    }
    if std::env::var_os("TERM").is_some_and(|t| t == "dumb") {
        return needs("the dashboard needs a terminal that can move its cursor, and TERM is `dumb`");
    }
    Ok(())
}

/// Opens the dashboard.
pub fn run(cli: &Cli) -> Result<ExitCode, CliError> {
    // Before the terminal is taken: a file that cannot be opened is told where it can be read.
    let (model, weights) = output::open_with(cli.model.as_deref(), cli.calibration.as_deref())?;
    let plan = cli.plan.as_deref().map(|path| plan::read(path, &model, cli.force)).transpose()?;
    let store = sessions::store();
    let begin = sessions::begin(cli, &model, store.as_ref())?;
    terminal()?;
    let mut settings = output::settings(&cli.common);
    let model = Arc::new(model);
    let quality = quality::find(&model, &weights, cli.data.as_deref(), &settings)?;
    let offer = quality::split(quality, &mut settings);
    if cli.common.color == When::Always {
        crossterm::style::force_color_output(true);
    }
    let skin = output::skin(&cli.common, false);
    match terminal::run(Setup { model, weights, plan, store, begin, settings, offer, skin }) {
        Ok(Outcome::Left) => Ok(ExitCode::SUCCESS),
        Ok(Outcome::Ended(status)) => Ok(ExitCode::from(status)),
        Err(error) => Err(CliError::Input(error.into())),
    }
}
