//! What the commands know of earlier sessions.

use super::args::Cli;
use super::error::CliError;
use crate::config;
use crate::model::Model;
use crate::session::{self, Ending, Found, Replayed, Store};
use crate::terminal::Begin;
use std::path::Path;
use std::sync::Arc;

/// Where sessions are kept.
pub fn store() -> Option<Store> {
    config::state_dir().map(|dir| Store::new(&dir))
}

/// Replays a log for a model.
pub fn replay(path: &Path, model: &Model, force: bool) -> Result<Replayed, CliError> {
    let named = |e: &dyn std::fmt::Display| CliError::Input(anyhow::anyhow!("{}: {e}", path.display()));
    let text = crate::source::regular::read(path, 1 << 30).map_err(|e| named(&e))?;
    session::replay(model, &text, force).map_err(|e| named(&e))
}

/// How the dashboard begins.
pub fn begin(cli: &Cli, model: &Model, store: Option<&Store>) -> Result<Begin, CliError> {
    if let Some(path) = &cli.replay {
        return Ok(Begin::Replay(path.clone(), Arc::new(replay(path, model, cli.force)?)));
    }
    if cli.fresh || cli.plan.is_some() {
        return Ok(Begin::Fresh);
    }
    if !cli.resume {
        return Ok(Begin::Ask);
    }
    let mut found = store.map(|s| s.list(model, None)).unwrap_or_default().found;
    found.retain(Found::has_plan);
    let newest = found.iter().find(|f| f.ending != Ending::Elsewhere);
    Ok(match newest {
        Some(found) => Begin::TakeUp(found.path.clone(), Arc::clone(&found.replayed)),
        None if found.is_empty() => {
            Begin::Told("no earlier session of this model has a plan: this is a new one".into())
        }
        None => Begin::Told("the earlier session of this model is open elsewhere: this is a new one".into()),
    })
}
