//! A line of an access file that decides on something.

use std::fmt;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use pgconf_parse::hba::{Method, Rule};

use crate::files::lossy;

/// A line of `pg_hba.conf` or `pg_ident.conf`, or of a file that one of them includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLine {
    file: Utf8PathBuf,
    line: usize,
    text: String,
}

impl AccessLine {
    pub(super) fn new(file: &Path, line: usize, text: &[u8]) -> Self {
        Self {
            file: lossy(file),
            line,
            text: String::from_utf8_lossy(text).into_owned(),
        }
    }

    /// The file.
    pub fn file(&self) -> &Utf8Path {
        &self.file
    }

    /// The number of the line, counted from 1, as the server counts.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The text of the line. Bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// `file:line: text`
impl fmt::Display for AccessLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// A rule of `pg_hba.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    line: AccessLine,
    method: Method,
    map: Option<String>,
}

impl AccessRule {
    pub(super) fn new(rule: &Rule<'_>) -> Self {
        Self {
            line: AccessLine::new(rule.file(), rule.line(), rule.text()),
            method: rule.method(),
            map: rule
                .map()
                .map(|map| String::from_utf8_lossy(map).into_owned()),
        }
    }

    /// The line of the rule.
    pub fn line(&self) -> &AccessLine {
        &self.line
    }

    /// The authentication method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The user name map that the method uses, for [`Ident::explain`](crate::Ident::explain).
    pub fn map(&self) -> Option<&str> {
        self.map.as_deref()
    }
}

/// The same as the [line](AccessLine).
impl fmt::Display for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)
    }
}
