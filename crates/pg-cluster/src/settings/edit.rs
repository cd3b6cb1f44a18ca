//! One atomic change to the file, under the lock.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use pg_proc::FileErrorKind;
use pgconf_parse::{Assignment, Document, EditError, EditSession, SettingName};

use super::{SettingOrigin, SettingsError, SettingsErrorKind, check, read_effective};
use crate::Cluster;
use crate::files::{MAX_TEXT, lossy};

/// The check of a change before it replaces the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Validation {
    /// No check. A change never breaks the syntax of the file.
    #[default]
    None,
    /// The server's own program reads the whole configuration with the change (`postgres -C`, some
    /// 15 ms). The change fails for unknown names, values of the wrong type or out of range, and
    /// errors in included files.
    Server,
}

/// The outcome of a change to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// True if the file has changed.
    pub changed: bool,
    /// The settings of this change that a later file overrides.
    pub shadowed: Vec<Shadowed>,
}

/// A setting whose change has no effect, because a later file overrides it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shadowed {
    /// The setting.
    pub name: String,
    /// The assignment that the server uses instead.
    pub by: SettingOrigin,
}

pub(super) fn edit(
    cluster: &Cluster,
    path: &Utf8Path,
    validation: Validation,
    mut names: BTreeSet<SettingName>,
    change: impl FnOnce(&mut EditSession<'_>) -> Result<(), EditError>,
) -> Result<Written, SettingsError> {
    let failed = |kind| SettingsError::new(path.to_owned(), kind);
    let file_failed = |kind| failed(SettingsErrorKind::File(kind));
    let held = cluster.lock_file(path).map_err(file_failed)?;
    let old = Document::parse(held.read(MAX_TEXT).map_err(file_failed)?);
    let mut new = old.clone();
    new.edit(change)
        .map_err(|error| failed(SettingsErrorKind::Edit(error)))?;
    let changed = new != old;
    if changed {
        let replacement = held
            .stage(new.as_bytes())
            .map_err(|error| file_failed(FileErrorKind::Write(error)))?;
        if validation == Validation::Server {
            let problems = check::read_by_server(cluster, &lossy(replacement.path()), path)?;
            if !problems.is_empty() {
                return Err(failed(SettingsErrorKind::Rejected(problems)));
            }
        }
        replacement
            .commit()
            .map_err(|error| file_failed(FileErrorKind::Write(error)))?;
    }
    names.extend(touched(&old, &new));
    Ok(Written {
        changed,
        shadowed: shadowed(cluster, path, names, &new),
    })
}

/// The settings whose values differ between the two documents.
fn touched(old: &Document, new: &Document) -> BTreeSet<SettingName> {
    let (old, new) = (old.settings(), new.settings());
    let value = |all: &BTreeMap<SettingName, Assignment<'_>>, name| {
        all.get(name).map(|found| found.value().into_owned())
    };
    let names = old.keys().chain(new.keys());
    names
        .filter(|name| value(&old, *name) != value(&new, *name))
        .cloned()
        .collect()
}

/// Compares the edited file with the whole configuration. If that cannot be read, nothing is
/// reported.
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
            let written = new.get(&name).map(|found| found.value());
            (written != Some(winner.value())).then(|| Shadowed {
                name: name.to_string(),
                by: SettingOrigin::new(&winner),
            })
        })
        .collect()
}
