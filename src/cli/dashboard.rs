//! The dashboard.

use super::args::{Cli, When};
use super::error::CliError;
use super::{output, plan, quality, sessions};
use crate::terminal::{self, Outcome, Setup};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

/// Opens the dashboard.
pub fn run(cli: &Cli) -> Result<ExitCode, CliError> {
    // Before the terminal is taken: a file that cannot be opened is told where it can be read.
    let (model, weights) = output::open_with(cli.model.as_deref(), cli.calibration.as_deref())?;
    let plan = cli.plan.as_deref().map(|path| plan::read(path, &model, cli.force)).transpose()?;
    let store = sessions::store();
    let begin = sessions::begin(cli, &model, store.as_ref())?;
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let remedy = "`slimscope measure` and `slimscope frame` work without one";
        return Err(CliError::Usage(format!("the dashboard needs a terminal: {remedy}")));
    }
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
