//! Where slimscope keeps things, and the bundled sample.

use std::path::PathBuf;

/// Where sessions are kept, and messages that the screen has no place for; `None` when there is no home directory.
///
/// The platform's state directory, or `SLIMSCOPE_STATE_DIR`.
pub fn state_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("SLIMSCOPE_STATE_DIR").filter(|d| !d.is_empty()) {
        return Some(PathBuf::from(dir));
    }
    let dirs = directories::ProjectDirs::from("", "", "slimscope")?;
    Some(dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir()).to_owned())
}

/// Where measurements are kept between runs; `None` when there is no home directory.
///
/// The platform's cache directory, or `SLIMSCOPE_CACHE_DIR`.
pub fn cache_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("SLIMSCOPE_CACHE_DIR").filter(|d| !d.is_empty()) {
        return Some(PathBuf::from(dir));
    }
    Some(directories::ProjectDirs::from("", "", "slimscope")?.cache_dir().to_owned())
}

/// The sample that opens without an argument: a byte-level language model trained on the King James Bible.
pub mod sample {
    /// Its name.
    pub const NAME: &str = "bytelm";
    /// Its checkpoint.
    pub static WEIGHTS: &[u8] = include_bytes!("../sample_models/bytelm/model.safetensors");
    /// Its config.json.
    pub const CONFIG: &str = include_str!("../sample_models/bytelm/config.json");
    /// Its held-out text, the safetensors file beside it.
    pub static EVAL: &[u8] = include_bytes!("../sample_models/bytelm/eval.safetensors");
}
