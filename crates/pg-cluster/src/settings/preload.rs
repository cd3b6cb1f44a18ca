//! Checks whether the libraries that a server loads at its start can be loaded.
//!
//! `postgres -C port` does not load them. From PostgreSQL 15 on the server loads them for a setting
//! that it computes from them (`shared_memory_size`). For older versions only the existence of the
//! file is checked.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::Installation;
use pg_proc::{ConfigurationProblem, ServerMessage};
use pgconf_parse::split_directories;

use super::SettingsErrorKind;
use super::check::ask;
use crate::Cluster;

const SETTING: &str = "shared_preload_libraries";

/// The problems with the libraries of the configuration that starts with this file.
pub(super) fn unloadable(
    cluster: &Cluster,
    config_file: &Utf8Path,
) -> Result<Vec<ConfigurationProblem>, SettingsErrorKind> {
    let listed = value(cluster, config_file)?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let said = match cluster.installation().version().major() >= 15 {
        true => load(cluster, config_file)?,
        false => missing(cluster.installation(), &listed),
    };
    let named = |mut problem: ConfigurationProblem| {
        problem.message = format!("{SETTING}: {}", problem.message);
        problem
    };
    Ok(said.into_iter().map(named).collect())
}

fn value(cluster: &Cluster, config_file: &Utf8Path) -> Result<String, SettingsErrorKind> {
    let config_file = format!("config_file={config_file}");
    let output = ask(cluster, cluster.data_directory(), SETTING, &[&config_file])?;
    let output = output.map_err(SettingsErrorKind::Program)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Has the server load them, in another directory, because a server may be running in the data
/// directory.
fn load(
    cluster: &Cluster,
    config_file: &Utf8Path,
) -> Result<Vec<ConfigurationProblem>, SettingsErrorKind> {
    let Ok(scratch) = Scratch::of(cluster) else {
        return Ok(Vec::new());
    };
    let settings = [
        "log_destination=stderr".to_owned(),
        format!("config_file={config_file}"),
        format!("data_directory={}", scratch.0),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let asked = ask(cluster, &scratch.0, "shared_memory_size", &settings)?;
    let error = asked.err();
    // Any other message is about the directory.
    let is_about_library = |reason: &&ServerMessage| {
        reason.contains("could not access file") || reason.contains("library")
    };
    let reason = error.as_ref().and_then(|error| error.reason());
    let problems = reason.filter(is_about_library).cloned();
    Ok(problems
        .map(ConfigurationProblem::from)
        .into_iter()
        .collect())
}

/// The libraries that the server would not find; none if it is not known where it looks.
fn missing(installation: &Installation, listed: &str) -> Vec<ConfigurationProblem> {
    let Some(directory) = installation.library_directory() else {
        return Vec::new();
    };
    let names = split_directories(listed).unwrap_or_default();
    names
        .iter()
        .map(|name| name.to_string_lossy())
        .filter(|name| !installation.has_library(name))
        .map(|name| format!("the library \"{name}\" does not exist in {directory}"))
        .map(ConfigurationProblem::new)
        .collect()
}

/// A directory with links to `PG_VERSION` and `global` of a cluster. The server accepts it as a
/// data directory as long as it starts no process. It reads `pg_control` there, and writes only
/// `postmaster.pid`.
struct Scratch(Utf8PathBuf);

impl Scratch {
    fn of(cluster: &Cluster) -> io::Result<Self> {
        let number = RandomState::new().build_hasher().finish();
        let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir());
        let temporary = temporary.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let path = temporary.join(format!("pg-cluster-check-{number:016x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        let scratch = Self(path);
        let data = cluster.data_directory();
        for name in ["PG_VERSION", "global"] {
            symlink(data.join(name), scratch.0.join(name))?;
        }
        if let Some(account) = cluster.account() {
            chown(&scratch.0, Some(account.uid()), Some(account.gid()))?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
