//! The workspace that this xtask belongs to.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use camino::Utf8PathBuf;

/// Returns the directory of the workspace. It is read from cargo's variable at run time, because
/// two checkouts that share a target directory may share the executable.
pub(crate) fn root() -> Utf8PathBuf {
    let own = std::env::var("CARGO_MANIFEST_DIR");
    let own = Utf8PathBuf::from(own.unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned()));
    own.parent().map(ToOwned::to_owned).unwrap_or(own)
}

/// Returns a command for the cargo that runs xtask, in the directory of the workspace and without
/// the variables that describe xtask.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Returns [`cargo`] without the variables by which PostgreSQL's programs find the caller's server,
/// so that no test depends on it.
pub(crate) fn cargo_without_server() -> Command {
    let mut command = cargo();
    hide_server(&mut command);
    command
}

pub(crate) fn hide_server(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

/// Runs a program that must succeed, and returns its output.
pub(crate) fn output_of(command: &mut Command) -> Result<Vec<u8>> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("failed to run {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

pub(crate) fn has_nextest() -> bool {
    output_of(cargo().args(["nextest", "--version"])).is_ok()
}
