//! One change to the file: under the lock, judged if wanted, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Deadline, DirectoryLock};
use pgconf_parse::{Document, EditError, SettingName};

use super::replace::Replacement;
use super::{
    SettingOrigin, SettingsError, SettingsErrorKind, check, read_document, read_effective,
};
use crate::Cluster;

/// Who judges a change before it replaces the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validation {
    /// Nobody. The file remains well-formed if it was: what is written follows the grammar.
    #[default]
    None,
    /// The server's own binary reads the whole configuration with the change in it (`postgres -C`,
    /// some 15 ms): unknown names, values of the wrong type or out of range, and errors in included
    /// files make the change fail.
    Server,
}

/// What a change to the file did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Whether the file is another one now. False if it said all this before.
    pub changed: bool,
    /// Settings that were to be changed, or were changed by an edit session, and have another value
    /// all the same, because a later file says so.
    pub shadowed: Vec<Shadowed>,
}

/// A setting whose change has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shadowed {
    /// The setting.
    pub name: String,
    /// The assignment that the server uses instead.
    pub by: SettingOrigin,
}

/// How long other editors of the same file may keep us waiting.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn edit(
    cluster: &Cluster,
    path: &Utf8Path,
    validation: Validation,
    mut names: BTreeSet<SettingName>,
    change: impl FnOnce(&mut Document) -> Result<(), EditError>,
) -> Result<Written, SettingsError> {
    let failed = |kind| SettingsError::new(path.to_owned(), kind);
    let target = resolve_link(cluster, path).map_err(failed)?;
    let directory = target.parent().unwrap_or(Utf8Path::new("/"));
    let _lock = DirectoryLock::acquire(directory, Deadline::after(LOCK_PATIENCE))
        .map_err(|error| failed(SettingsErrorKind::Lock(error)))?;

    let old = read_document(&target).map_err(failed)?;
    let mut new = old.clone();
    change(&mut new).map_err(|error| failed(SettingsErrorKind::Edit(error)))?;
    let changed = new != old;
    if changed {
        let replacement = Replacement::stage(&target, new.as_bytes())
            .map_err(|error| failed(SettingsErrorKind::Write(error)))?;
        if validation == Validation::Server {
            let problems = check::read_by_server(cluster, replacement.staged(), path)?;
            if !problems.is_empty() {
                return Err(failed(SettingsErrorKind::Rejected(problems)));
            }
        }
        replacement
            .commit()
            .map_err(|error| failed(SettingsErrorKind::Write(error)))?;
    }
    names.extend(touched(&old, &new));
    Ok(Written {
        changed,
        shadowed: shadowed(cluster, path, names, &new),
    })
}

/// The file to be changed: a symbolic link stays.
///
/// Whoever owns the directory can put a link into it, and a server's command line can name any
/// file. Neither must have root change what belongs to somebody else. It is the kernel's rule for
/// directories such as `/tmp` (`fs.protected_symlinks` in proc_sys_fs(5)).
fn resolve_link(cluster: &Cluster, path: &Utf8Path) -> Result<Utf8PathBuf, SettingsErrorKind> {
    let look = || {
        let target = path.canonicalize_utf8()?;
        let (owner, makers) = (fs::metadata(&target)?.uid(), makers(cluster, path)?);
        Ok((target, owner, makers))
    };
    let (target, owner, makers) = look().map_err(SettingsErrorKind::Read)?;
    let is_ours = |uid| Account::current().is_ok_and(|account| account.uid() == uid);
    match makers
        .iter()
        .all(|&uid| uid == 0 || uid == owner || is_ours(uid))
    {
        true => Ok(target),
        false => Err(SettingsErrorKind::ForeignLink(target)),
    }
}

/// Those who have said that this path means the file that it leads to, other than the caller.
fn makers(cluster: &Cluster, path: &Utf8Path) -> io::Result<Vec<u32>> {
    let mut makers = Vec::new();
    let by_server =
        cluster.given_config_file().is_none() && path.parent() != Some(cluster.data_directory());
    if by_server {
        makers.push(fs::metadata(cluster.data_directory())?.uid());
    }
    let mut link = path.to_owned();
    // The kernel follows no more (`MAXSYMLINKS`).
    for _ in 0..40 {
        let found = fs::symlink_metadata(&link)?;
        if !found.is_symlink() {
            break;
        }
        makers.push(found.uid());
        let leads_to = link.read_link_utf8()?;
        link = link.parent().unwrap_or(Utf8Path::new("/")).join(leads_to);
    }
    Ok(makers)
}

/// The settings that have another value in the new document than in the old one.
fn touched(old: &Document, new: &Document) -> BTreeSet<SettingName> {
    let (old, new) = (values(old), values(new));
    let differ = |name: &&SettingName| old.get(*name) != new.get(*name);
    old.keys()
        .chain(new.keys())
        .filter(differ)
        .cloned()
        .collect()
}

fn values(document: &Document) -> BTreeMap<SettingName, Vec<u8>> {
    let assignments = document.assignments().filter_map(|found| {
        let name = SettingName::new(found.name()).ok()?;
        Some((name, found.value().into_owned()))
    });
    assignments.collect()
}

/// Compares what the edited file says now with what the server will read. A configuration that
/// cannot be read as a whole shadows nothing that could be named.
fn shadowed(
    cluster: &Cluster,
    path: &Utf8Path,
    names: BTreeSet<SettingName>,
    new: &Document,
) -> Vec<Shadowed> {
    let Ok(effective) = read_effective(cluster, path) else {
        return Vec::new();
    };
    names
        .into_iter()
        .filter_map(|name| {
            let winner = effective.get(&name)?;
            (value(new, &name).as_deref() != Some(winner.value().as_ref())).then(|| Shadowed {
                name: name.to_string(),
                by: SettingOrigin::new(&winner),
            })
        })
        .collect()
}

fn value(document: &Document, name: &SettingName) -> Option<Vec<u8>> {
    document.get(name).map(|found| found.value().into_owned())
}
