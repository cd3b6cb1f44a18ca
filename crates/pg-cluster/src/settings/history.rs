//! Where the value of a setting comes from.

use std::fmt;

use camino::Utf8PathBuf;
use pgconf_parse::LocatedAssignment;

/// One assignment to a setting, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingOrigin {
    /// The file, as the server would name it.
    pub file: Utf8PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The value, as the server reads it.
    pub value: String,
}

impl SettingOrigin {
    pub(super) fn new(found: &LocatedAssignment<'_>) -> Self {
        Self {
            file: found.file().to_string_lossy().into_owned().into(),
            line: found.line(),
            value: found.value_lossy().into_owned(),
        }
    }
}

/// Such as `/etc/postgresql/postgresql.conf:12`.
impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// All assignments to a setting over all files, in the order in which the server reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingHistory {
    name: String,
    assignments: Vec<SettingOrigin>,
}

impl SettingHistory {
    pub(super) fn new(name: &str, assignments: &[LocatedAssignment<'_>]) -> Self {
        let assignments = assignments.iter().map(SettingOrigin::new).collect();
        Self {
            name: name.to_owned(),
            assignments,
        }
    }

    /// The setting.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every assignment; the last one counts.
    pub fn assignments(&self) -> &[SettingOrigin] {
        &self.assignments
    }

    /// The assignment that counts; none if no file sets the setting.
    pub fn winner(&self) -> Option<&SettingOrigin> {
        self.assignments.last()
    }
}

/// One line for each assignment, the one that counts marked with `*`.
impl fmt::Display for SettingHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.assignments.is_empty() {
            return writeln!(f, "  {} is not set in any file", self.name);
        }
        let last = self.assignments.len() - 1;
        self.assignments
            .iter()
            .enumerate()
            .try_for_each(|(n, origin)| {
                writeln!(
                    f,
                    "{} {origin}: {} = {}",
                    if n == last { '*' } else { ' ' },
                    self.name,
                    origin.value
                )
            })
    }
}
