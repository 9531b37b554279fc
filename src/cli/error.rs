//! Errors of the command line: one line that names the file and the remedy, then what caused it.

use super::output::remark;
use crate::engine::EngineError;
use crate::source::OpenError;
use std::error::Error;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The input was understood and found wanting: status 1.
    #[error(transparent)]
    Input(#[from] anyhow::Error),
    /// The command line is wrong, or something is not supported: status 2.
    #[error("{0}")]
    Usage(String),
    /// ctrl-c, and what is left: status 130.
    #[error("{0}")]
    Interrupted(String),
    /// Whoever read our output has gone: nothing to say, nobody to say it to.
    #[error("the output was closed")]
    Closed,
}

impl CliError {
    /// A command that is not built yet.
    pub fn not_built(command: &str) -> Self {
        Self::Usage(format!("`slimscope {command}` is not built yet: `slimscope --help` lists what is"))
    }

    /// The exit status.
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Input(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Interrupted(_) => ExitCode::from(130),
            Self::Closed => ExitCode::SUCCESS,
        }
    }

    /// Writes it to standard error.
    pub fn tell(&self) {
        if matches!(self, Self::Closed) {
            return;
        }
        remark(&format!("slimscope: {self}"));
        let mut cause = match self {
            Self::Input(e) => e.source(),
            _ => self.source(),
        };
        while let Some(error) = cause {
            remark(&format!("caused by: {error}"));
            cause = error.source();
        }
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Broken { .. } => Self::Input(error.into()),
            OpenError::Unsupported { .. } => Self::Usage(error.to_string()),
        }
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Input(error.into()) }
    }
}
