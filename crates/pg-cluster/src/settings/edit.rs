//! One change to the file: under the lock, judged if wanted, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Deadline, Directory, DirectoryLock, Entry, ForeignLink, Replacement};
use pgconf_parse::{Document, EditError, SettingName};

use super::{SettingOrigin, SettingsError, SettingsErrorKind, check, read_effective};
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
/// Ends the name of the new content while it stands beside the old one.
const SUFFIX: &str = ".pg-cluster-new";
/// How long the file may be: what a [`Resolver`](pgconf_parse::Resolver) reads at most.
const MAX_TEXT: u64 = 16 << 20;

pub(super) fn edit(
    cluster: &Cluster,
    path: &Utf8Path,
    validation: Validation,
    mut names: BTreeSet<SettingName>,
    change: impl FnOnce(&mut Document) -> Result<(), EditError>,
) -> Result<Written, SettingsError> {
    let failed = |kind| SettingsError::new(path.to_owned(), kind);
    let read = |error| failed(of_reading(error));
    // From here on everything is done in this directory, with this file: in one of another account
    // whatever has that path may change between two looks.
    let entry = Entry::find(path).map_err(read)?;
    let directory = entry.parent().map_err(read)?;
    let place = directory_of(&entry);
    let _lock = DirectoryLock::acquire_held(&directory, place, Deadline::after(LOCK_PATIENCE))
        .map_err(|error| failed(SettingsErrorKind::Lock(error)))?;

    let file = entry.open_file().map_err(|error| match error.kind() {
        // Such as the null device, to which a link may lead in order to switch the file off.
        io::ErrorKind::InvalidInput => failed(SettingsErrorKind::Write(error)),
        _ => read(error),
    })?;
    require_leave_of_server(cluster, path, &entry, &file).map_err(failed)?;
    let text = pg_proc::read_all(&file, MAX_TEXT).map_err(read)?;
    let old = Document::parse(text);
    let mut new = old.clone();
    change(&mut new).map_err(|error| failed(SettingsErrorKind::Edit(error)))?;
    let changed = new != old;
    if changed {
        let replacement = Replacement::stage(&entry, &file, SUFFIX, new.as_bytes())
            .map_err(|error| failed(SettingsErrorKind::Write(error)))?;
        if validation == Validation::Server {
            let problems = check::read_by_server(cluster, &lossy(replacement.path()), path)?;
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

/// A server's command line can name any file. It must not have root change what belongs to another
/// user, no more than a link in its data directory.
fn require_leave_of_server(
    cluster: &Cluster,
    path: &Utf8Path,
    entry: &Entry,
    file: &File,
) -> Result<(), SettingsErrorKind> {
    if cluster.given_config_file().is_some() || path.parent() == Some(cluster.data_directory()) {
        return Ok(());
    }
    let look = || {
        let server = Directory::open(cluster.data_directory())?.owner()?;
        Ok((server, file.metadata()?.uid()))
    };
    let (server, owner) = look().map_err(SettingsErrorKind::Read)?;
    let is_ours = Account::current_uid() == server;
    match server == 0 || server == owner || is_ours {
        true => Ok(()),
        false => Err(SettingsErrorKind::ForeignLink(lossy(entry.path()))),
    }
}

fn of_reading(error: io::Error) -> SettingsErrorKind {
    match ForeignLink::of(&error) {
        Some(link) => SettingsErrorKind::ForeignLink(link.leads_to().to_owned()),
        None => SettingsErrorKind::Read(error),
    }
}

fn directory_of(entry: &Entry) -> Utf8PathBuf {
    lossy(entry.path().parent().unwrap_or(Path::new("/")))
}

fn lossy(path: &Path) -> Utf8PathBuf {
    path.to_string_lossy().into_owned().into()
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
