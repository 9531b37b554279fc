//! The words on the command line, and one file for each command.

/// Writes a remark to standard error, hidden characters escaped.
macro_rules! remark {
    ($($words:tt)*) => { $crate::cli::output::remark(&format!($($words)*)) };
}

mod apply;
mod args;
mod calibrate;
mod dashboard;
mod error;
mod evaluate;
mod export;
mod frame;
mod gather;
mod inspect;
mod measure;
mod measured;
mod output;
mod plan;
pub mod quality;
mod sessions;

pub use args::Cli;
pub use error::CliError;

use args::Command;
use clap::Parser;
use std::process::ExitCode;

/// Runs the program; the exit status is 0 done, 1 input found wanting, 2 command line wrong or not supported.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            error.tell();
            error.code()
        }
    }
}

/// Shows help, or what is wrong with the command line; arguments that hold hidden characters are escaped.
fn misread(error: &clap::Error) -> ExitCode {
    let hides = |a: std::ffi::OsString| a.to_string_lossy().contains(crate::text::is_hidden);
    if std::env::args_os().any(hides) {
        error.render().to_string().trim_end().lines().for_each(output::remark);
    } else {
        // Whoever would read it may be gone.
        let _ = error.print();
    }
    ExitCode::from(error.exit_code() as u8)
}

fn run(cli: &Cli) -> Result<ExitCode, CliError> {
    match &cli.command {
        None => dashboard::run(cli),
        Some(command) => {
            output::die_on_interrupt();
            match command {
                Command::Inspect(args) => inspect::run(args),
                Command::Measure(args) => measure::run(&cli.common, args),
                Command::Frame(args) => frame::run(&cli.common, args),
                Command::Plan(args) => plan::run(&cli.common, args),
                Command::Apply(args) => apply::run(&cli.common, args),
                Command::Export(args) => export::run(&cli.common, args),
                Command::Calibrate(args) => calibrate::run(&cli.common, args),
                Command::Evaluate(args) => evaluate::run(&cli.common, args),
                Command::Bound(_) => Err(CliError::not_built("bound")),
                Command::Report(_) => Err(CliError::not_built("report")),
                Command::Compare(_) => Err(CliError::not_built("compare")),
            }
            .map(|()| ExitCode::SUCCESS)
        }
    }
}
