//! Parses the command line, runs a command, exits with its status.

use std::process::ExitCode;

fn main() -> ExitCode {
    slimscope::cli::main()
}
