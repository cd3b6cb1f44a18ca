//! Changing a document, one line at a time.

use std::fmt;
use std::ops::Range;

use memchr::{memchr, memrchr};

use crate::commented;
use crate::document::{Document, line_count};
use crate::name::{NameError, SettingName};
use crate::quote;
use crate::value::Value;

/// What [`Document::set`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// In which way the document was changed.
    pub action: Action,
    /// The line on which the assignment stands now, counted from 1.
    pub line: usize,
}

impl Change {
    /// Whether any byte of the document was changed.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.action != Action::Unchanged
    }
}

/// The ways in which [`Document::set`] reaches its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The setting had that value already, and the document is as it was.
    Unchanged,
    /// The assignment in effect was given another value.
    Edited,
    /// A commented-out assignment was brought to life.
    Uncommented,
    /// A line was added.
    Appended,
}

/// What becomes of an assignment that [`Document::remove`] takes out of effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// It stays as a comment: `#port = 5432`.
    CommentOut,
    /// Its line goes, with the comment behind it.
    Delete,
}

impl Document {
    /// Gives the setting `name` the value `value`, changing one line.
    ///
    /// The assignment in effect is edited in place, keeping its name as spelled, its spacing, its
    /// line end and the comment behind it, which also keeps its column where there is room. If
    /// there is none, the last commented-out assignment of that name is brought to life; and if
    /// there is none of these either, a line is added at the end. A value that was quoted stays
    /// quoted; otherwise quotes are put where they are needed.
    ///
    /// Only this file is considered: a later include or `postgresql.auto.conf` may assign to the
    /// same setting. [`Configuration::explain`](crate::Configuration::explain) tells.
    ///
    /// ```
    /// use pgconf_parse::{Action, Document};
    ///
    /// let mut doc = Document::parse("listen_addresses = 'localhost'  # where\r\n");
    /// assert_eq!(doc.set("listen_addresses", "*")?.action, Action::Edited);
    /// assert_eq!(doc.set("work_mem", "64MB")?.action, Action::Appended);
    /// assert_eq!(
    ///     doc.as_bytes(),
    ///     b"listen_addresses = '*'          # where\r\nwork_mem = 64MB\r\n",
    /// );
    /// # Ok::<(), pgconf_parse::EditError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`EditError`] if `name` cannot be a setting's, if the value holds a NUL, which no file can
    /// express, or if a line would have to be added where the server does not read any more.
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value>,
    ) -> Result<Change, EditError> {
        let (name, value) = checked(name.as_ref(), value.into())?;
        self.apply(&name, &value)
    }

    /// Sets many settings, each as by [`set`](Self::set), in order: all of them, or none if one
    /// cannot be set.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), for the first that fails; the document is then as it was.
    pub fn update<N: AsRef<[u8]>, V: Into<Value>>(
        &mut self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Vec<Change>, EditError> {
        let settings = settings
            .into_iter()
            .map(|(name, value)| checked(name.as_ref(), value.into()))
            .collect::<Result<Vec<_>, _>>()?;
        let before = self.abandoned_at().is_some().then(|| self.clone());
        let changes = settings
            .iter()
            .map(|(name, value)| self.apply(name, value))
            .collect();
        if let (Err(_), Some(before)) = (&changes, before) {
            *self = before;
        }
        changes
    }

    /// Takes every assignment of that name out of effect and tells how many there were. Taking
    /// out only the last would bring an earlier one back to life.
    pub fn remove(&mut self, name: impl AsRef<[u8]>, removal: Removal) -> usize {
        let name = name.as_ref();
        let mut removed = 0;
        while let Some(found) = self.get(name) {
            let (at, number) = (found.name_span().start, found.line());
            let line = self.line_around(at);
            let text = match removal {
                Removal::Delete => Vec::new(),
                Removal::CommentOut => {
                    let (before, after) = (line.start..at, at..line.end);
                    [&self.as_bytes()[before], b"#", &self.as_bytes()[after]].concat()
                }
            };
            self.replace_lines(line, number, &text);
            removed += 1;
        }
        removed
    }

    /// Puts `#` before every assignment of that name and tells how many there were.
    pub fn comment_out(&mut self, name: impl AsRef<[u8]>) -> usize {
        self.remove(name, Removal::CommentOut)
    }

    fn apply(&mut self, name: &SettingName, value: &Value) -> Result<Change, EditError> {
        if let Some(live) = self.get(name) {
            let (at, span, line) = (live.name_span().start, live.value_span(), live.line());
            if live.value().as_ref() == value.as_bytes() {
                return Ok(Change {
                    action: Action::Unchanged,
                    line,
                });
            }
            self.revalue(at, line, None, span, value);
            return Ok(Change {
                action: Action::Edited,
                line,
            });
        }
        if let Some((line_start, found)) = self.last_commented_out(name) {
            let line = line_count(&self.as_bytes()[..line_start]) + 1;
            self.revalue(
                found.name.start,
                line,
                Some(found.marker),
                found.value,
                value,
            );
            return Ok(Change {
                action: Action::Uncommented,
                line,
            });
        }
        if self.abandoned_at().is_some() {
            return Err(EditError {
                name: name.as_bytes().into(),
                kind: EditErrorKind::Abandoned,
            });
        }
        Ok(self.insert(self.as_bytes().len(), name, value))
    }

    /// Writes another value on a line, with its comment kept in place, and takes out `marker`.
    fn revalue(
        &mut self,
        at: usize,
        number: usize,
        marker: Option<Range<usize>>,
        old: Range<usize>,
        value: &Value,
    ) {
        let line = self.line_around(at);
        let source = self.as_bytes();
        let keep_quotes = source[old.start] == b'\'';
        let mut text = match marker {
            Some(marker) => [
                &source[line.start..marker.start],
                &source[marker.end..old.start],
            ]
            .concat(),
            None => source[line.start..old.start].to_vec(),
        };
        text.extend(written(value, keep_quotes));
        let rest = &source[old.end..line.end];
        let gap = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if rest.get(gap) == Some(&b'#') {
            let column = column(&source[line.start..old.end + gap]);
            pad(&mut text, &rest[..gap], column);
            text.extend(&rest[gap..]);
        } else {
            text.extend(rest);
        }
        self.replace_lines(line, number, &text);
    }

    /// Adds a line at `at`, which is the start of a line or the end of the document.
    pub(crate) fn insert(&mut self, at: usize, name: &SettingName, value: &Value) -> Change {
        let source = self.as_bytes();
        let before = &source[..at];
        let end_of_line = self.end_of_line_before(at);
        let mut text = Vec::new();
        let mut line = line_count(before) + 1;
        let mut start = at;
        if before.last().is_some_and(|&last| last != b'\n') {
            // The last line gets the end that it lacks.
            start = self.line_around(at).start;
            text.extend(&before[start..]);
            line -= 1;
            if !(end_of_line == b"\r\n" && before.ends_with(b"\r")) {
                text.extend(end_of_line);
            } else {
                text.push(b'\n');
            }
        }
        text.extend(name.as_bytes());
        text.extend(b" = ");
        text.extend(written(value, false));
        text.extend(end_of_line);
        self.replace_lines(start..at, line, &text);
        Change {
            action: Action::Appended,
            line: if start < at { line + 1 } else { line },
        }
    }

    fn end_of_line_before(&self, at: usize) -> &'static [u8] {
        let source = self.as_bytes();
        let newline = memrchr(b'\n', &source[..at]).or_else(|| memchr(b'\n', source));
        match newline {
            Some(n) if n > 0 && source[n - 1] == b'\r' => b"\r\n",
            _ => b"\n",
        }
    }

    fn last_commented_out(&self, name: &SettingName) -> Option<(usize, commented::Commented)> {
        let source = &self.as_bytes()[..self.abandoned_at().unwrap_or(self.as_bytes().len())];
        let mut end = source.len();
        while end > 0 {
            let start = memrchr(b'\n', &source[..end - 1]).map_or(0, |n| n + 1);
            if let Some(found) = commented::find(source, start) {
                if crate::name::same_name(&source[found.name.clone()], name.as_bytes()) {
                    return Some((start, found));
                }
            }
            end = start;
        }
        None
    }

    /// The line in which `at` stands, with its end.
    pub(crate) fn line_around(&self, at: usize) -> Range<usize> {
        let source = self.as_bytes();
        let start = memrchr(b'\n', &source[..at]).map_or(0, |n| n + 1);
        let end = memchr(b'\n', &source[at..]).map_or(source.len(), |n| at + n + 1);
        start..end
    }
}

fn checked(name: &[u8], value: Value) -> Result<(SettingName, Value), EditError> {
    let kind = match SettingName::new(name) {
        Err(error) => EditErrorKind::Name(error),
        Ok(_) if memchr(0, value.as_bytes()).is_some() => EditErrorKind::Nul,
        Ok(name) => return Ok((name, value)),
    };
    Err(EditError {
        name: name.into(),
        kind,
    })
}

fn written(value: &Value, quoted: bool) -> Vec<u8> {
    if !quoted && quote::may_stand_bare(value.as_bytes()) {
        value.as_bytes().to_vec()
    } else {
        quote::quote(value.as_bytes())
    }
}

/// How far apart tab stops are.
const TAB: usize = 8;

/// The column that the cursor has reached at the end of the text, counted from 0.
fn column(text: &[u8]) -> usize {
    text.iter().fold(0, |column, byte| match byte {
        b'\t' => (column / TAB + 1) * TAB,
        0x80..=0xbf => column,
        _ => column + 1,
    })
}

/// Blanks up to the column, in the manner of the blanks that stood there; at least one, unless
/// there was none.
fn pad(text: &mut Vec<u8>, blanks: &[u8], target: usize) {
    let mut at = column(text);
    let tabs = blanks.contains(&b'\t');
    while tabs && (at / TAB + 1) * TAB <= target {
        text.push(b'\t');
        at = (at / TAB + 1) * TAB;
    }
    if at < target {
        text.resize(text.len() + target - at, b' ');
    } else if !blanks.is_empty() && !text.ends_with(b"\t") {
        text.push(if tabs { b'\t' } else { b' ' });
    }
}

/// A setting that could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditError {
    name: Box<[u8]>,
    kind: EditErrorKind,
}

impl EditError {
    /// The name of the setting, as it was given.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Why it could not be set.
    #[must_use]
    pub fn kind(&self) -> &EditErrorKind {
        &self.kind
    }
}

/// Why a setting could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// There can be no setting of that name.
    Name(NameError),
    /// The value holds a NUL byte.
    Nul,
    /// The server abandons the file after too many errors and would not read an added line.
    Abandoned,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            EditErrorKind::Name(_) => f.write_str("setting cannot be set"),
            EditErrorKind::Nul => {
                write!(
                    f,
                    "setting `{}` cannot be set: NUL in its value",
                    self.name.escape_ascii()
                )
            }
            EditErrorKind::Abandoned => write!(
                f,
                "setting `{}` cannot be added: the file has so many errors that its end is not read",
                self.name.escape_ascii()
            ),
        }
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            EditErrorKind::Name(error) => Some(error),
            EditErrorKind::Nul | EditErrorKind::Abandoned => None,
        }
    }
}
