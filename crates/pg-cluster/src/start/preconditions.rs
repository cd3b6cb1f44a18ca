//! The checks before a server is started.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8PathBuf;
use pg_proc::{Account, SocketPath};
use pgconf_parse::SettingName;

use super::{StartErrorKind, StartOptions};
use crate::listening::{self, Listening};
use crate::{Cluster, parts};

/// Checks whether the server can be started, and returns the addresses on which it will listen.
pub(super) fn check(
    cluster: &Cluster,
    options: &StartOptions,
) -> Result<Listening, StartErrorKind> {
    for (name, _) in &options.settings {
        if SettingName::new(name).is_err() {
            return Err(StartErrorKind::SettingName(name.clone()));
        }
    }
    let missing = parts::of_half_a_cluster(cluster);
    if cluster.major_version().is_ok() {
        version(cluster)?;
    }
    if !missing.is_empty() {
        return Err(StartErrorKind::Incomplete(missing));
    }
    if !cluster.is_initialized() {
        return Err(StartErrorKind::NotInitialized);
    }
    if let Some(account) = cluster.account() {
        account.require_usable().map_err(StartErrorKind::Account)?;
    }
    permissions(cluster)?;
    sockets(cluster, options)
}

fn version(cluster: &Cluster) -> Result<(), StartErrorKind> {
    let Ok(data) = cluster.major_version() else {
        return Err(StartErrorKind::NotInitialized);
    };
    let server = cluster.installation().version();
    if data == server.major_version() {
        return Ok(());
    }
    Err(StartErrorKind::MajorVersion {
        data,
        server: server.clone(),
    })
}

/// The rules of `checkDataDir` in src/backend/utils/init/miscinit.c: the account of the server owns
/// the directory, its group may at most read it, and other accounts have no access.
fn permissions(cluster: &Cluster) -> Result<(), StartErrorKind> {
    let path = cluster.data_directory();
    let found = fs::metadata(path).map_err(|cause| StartErrorKind::Unusable {
        path: path.to_owned(),
        cause,
    })?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    let expected = match cluster.account() {
        Some(account) => account.uid(),
        None => Account::current_uid(),
    };
    let group_access = cluster.installation().major_version().first() >= 11;
    let forbidden = if group_access { 0o027 } else { 0o077 };
    if expected != owner || mode & forbidden != 0 {
        return Err(StartErrorKind::Permissions {
            path: path.to_owned(),
            owner,
            mode,
        });
    }
    Ok(())
}

fn sockets(cluster: &Cluster, options: &StartOptions) -> Result<Listening, StartErrorKind> {
    let listening = listening::before_start(cluster, options);
    for directory in &listening.socket_directories {
        // An abstract socket has no file.
        if directory.as_str().starts_with('@') {
            continue;
        }
        SocketPath::new(directory, listening.port).map_err(StartErrorKind::SocketPath)?;
        let unusable = |cause| StartErrorKind::SocketDirectory {
            path: Utf8PathBuf::from(directory),
            cause,
        };
        let found = fs::metadata(directory).map_err(unusable)?;
        if !found.is_dir() {
            return Err(unusable(std::io::ErrorKind::NotADirectory.into()));
        }
    }
    Ok(listening)
}
