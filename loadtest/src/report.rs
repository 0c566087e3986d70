//! Reports as JSON files.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes a report, and the folders above it if they are missing.
pub(crate) fn write_json(path: &Path, report: &impl Serialize) -> Result<()> {
    let write = || -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut json = serde_json::to_string_pretty(report)?;
        json.push('\n');
        Ok(std::fs::write(path, json)?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
