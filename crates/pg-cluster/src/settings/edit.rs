//! One atomic change to the file, under the lock.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use pgconf_parse::{Document, EditError, EditSession, SettingName};

use super::{SettingOrigin, SettingsError, SettingsErrorKind, check, read_effective};
use crate::Cluster;
use crate::locked_file::{LockedFile, Refused, lossy};

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
    /// Whether the file has changed.
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

impl From<Refused> for SettingsErrorKind {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Read(error) => Self::Read(error),
            Refused::ForeignLink(target) => Self::ForeignLink(target),
            Refused::Lock(error) => Self::Lock(error),
            Refused::NotAFile(error) => Self::Write(error),
        }
    }
}

pub(super) fn edit(
    cluster: &Cluster,
    path: &Utf8Path,
    validation: Validation,
    mut names: BTreeSet<SettingName>,
    change: impl FnOnce(&mut EditSession<'_>) -> Result<(), EditError>,
) -> Result<Written, SettingsError> {
    let failed = |kind| SettingsError::new(path.to_owned(), kind);
    let held = LockedFile::acquire(cluster, path).map_err(|refused| failed(refused.into()))?;
    let text = held
        .read()
        .map_err(|error| failed(SettingsErrorKind::Read(error)))?;
    let old = Document::parse(text);
    let mut new = old.clone();
    new.edit(change)
        .map_err(|error| failed(SettingsErrorKind::Edit(error)))?;
    let changed = new != old;
    if changed {
        let replacement = held
            .stage(new.as_bytes())
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

/// The settings whose values differ between the two documents.
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
