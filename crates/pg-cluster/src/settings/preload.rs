//! Checks whether the libraries that a server loads at its start can be loaded.
//!
//! `postgres -C port` does not load them. From PostgreSQL 15 on the server does so for a setting
//! that it computes from them (`shared_memory_size`). For older versions only the existence of the
//! file is checked.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::Program;
use pg_proc::ConfigurationProblem;
use pgconf_parse::split_directories;

use super::SettingsErrorKind;
use super::check::TIMEOUT;
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
        false => missing(cluster, &listed),
    };
    let named = |mut problem: ConfigurationProblem| {
        problem.message = format!("{SETTING}: {}", problem.message);
        problem
    };
    Ok(said.into_iter().map(named).collect())
}

fn value(cluster: &Cluster, config_file: &Utf8Path) -> Result<String, SettingsErrorKind> {
    let output = cluster
        .command(Program::Postgres)
        .map_err(|error| SettingsErrorKind::Installation(Box::new(error)))?
        .args(["-D", cluster.data_directory().as_str(), "-C", SETTING])
        .args(["-c", &format!("config_file={config_file}")])
        .run(TIMEOUT)
        .map_err(SettingsErrorKind::Program)?;
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
    let asked = cluster
        .command(Program::Postgres)
        .map_err(|error| SettingsErrorKind::Installation(Box::new(error)))?
        .args(["-D", scratch.0.as_str(), "-C", "shared_memory_size"])
        .args(["-c", "lc_messages=C", "-c", "log_destination=stderr"])
        .args(["-c", &format!("config_file={config_file}")])
        .args(["-c", &format!("data_directory={}", scratch.0)])
        .run(TIMEOUT);
    match asked {
        Ok(_) => Ok(Vec::new()),
        Err(error) => Ok(error
            .reason()
            // Any other message is about the directory.
            .filter(|reason| reason.contains("could not access file") || reason.contains("library"))
            .cloned()
            .map(ConfigurationProblem::from)
            .into_iter()
            .collect()),
    }
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

/// The libraries without a file in the directory that the server searches
/// (`expand_dynamic_library_name` in src/backend/utils/fmgr/dfmgr.c). None if that directory is not
/// known.
fn missing(cluster: &Cluster, listed: &str) -> Vec<ConfigurationProblem> {
    let Some(directory) = library_directory(cluster) else {
        return Vec::new();
    };
    let exists = |name: &str| {
        let path = name.replace("$libdir", directory.as_str());
        let path = directory.join(path);
        path.exists()
            || Utf8PathBuf::from(format!("{path}{}", std::env::consts::DLL_SUFFIX)).exists()
    };
    let names = split_directories(listed).unwrap_or_default();
    names
        .iter()
        .map(|name| name.to_string_lossy())
        .filter(|name| !exists(name))
        .map(|name| format!("the library \"{name}\" does not exist in {directory}"))
        .map(ConfigurationProblem::new)
        .collect()
}

/// `pkglibdir`, or else a directory beside that of the programs, as usual layouts have it. It
/// contains PL/pgSQL, which every server has.
fn library_directory(cluster: &Cluster) -> Option<Utf8PathBuf> {
    let installation = cluster.installation();
    let bin = cluster.daemon_path()?.canonicalize_utf8().ok()?;
    let root = bin.parent()?.parent()?;
    let beside = ["lib/postgresql", "lib", "lib64/pgsql", "lib64"].map(|name| root.join(name));
    let known = installation.pkglibdir().map(Utf8Path::to_owned);
    known.into_iter().chain(beside).find(|directory| {
        let library = format!("plpgsql{}", std::env::consts::DLL_SUFFIX);
        directory.join(library).exists()
    })
}
