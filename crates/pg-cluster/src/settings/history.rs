//! The origin of the value of a setting.

use std::fmt;

use camino::Utf8PathBuf;
use pgconf_parse::{LocatedAssignment, SettingExplanation};

/// One assignment to a setting, with its file and line.
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

/// For example `/etc/postgresql/postgresql.conf:12`.
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
    problem: Option<String>,
    text: String,
}

impl SettingHistory {
    pub(super) fn new(name: &str, explanation: &SettingExplanation<'_>) -> Self {
        let assignments = explanation.assignments();
        Self {
            name: name.to_owned(),
            assignments: assignments.iter().map(SettingOrigin::new).collect(),
            problem: explanation.problem().map(ToString::to_string),
            text: explanation.to_string(),
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

    /// The first problem for which the server rejects all files, so that no assignment counts.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The assignment that counts, unless there is a [`problem`](Self::problem); none if no file
    /// sets the setting.
    pub fn winner(&self) -> Option<&SettingOrigin> {
        self.assignments.last()
    }
}

/// The text of [`SettingExplanation`]: a line for each assignment, and the problem.
impl fmt::Display for SettingHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
