//! Parses the command line, runs a command, exits with its status.

use std::process::ExitCode;

/// Large buffers come and go between small facts that stay: the system's allocator would keep the holes between them,
/// one buffer's worth for every layer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    slimscope::cli::main()
}
