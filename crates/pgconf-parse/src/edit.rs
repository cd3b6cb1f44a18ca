//! Changing a document, one line at a time.

use std::ops::Range;

use memchr::{memchr, memrchr};

use crate::commented;
use crate::document::{Document, line_count};
use crate::edit_error::{EditError, EditErrorKind};
use crate::name::SettingName;
use crate::place::Place;
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
        let names: Vec<usize> = self
            .get_all(&name)
            .map(|found| found.name_span().start)
            .collect();
        if names.is_empty() {
            return 0;
        }
        let source = self.as_bytes();
        let mut text = Vec::with_capacity(source.len() + names.len());
        let mut kept = 0;
        for &at in &names {
            match removal {
                Removal::CommentOut => {
                    text.extend(&source[kept..at]);
                    text.push(b'#');
                    kept = at;
                }
                Removal::Delete => {
                    let line = self.line_around(at);
                    text.extend(&source[kept..line.start]);
                    kept = line.end;
                }
            }
        }
        text.extend(&source[kept..]);
        *self = Self::parse(text);
        names.len()
    }

    /// Puts `#` before every assignment of that name and tells how many there were.
    pub fn comment_out(&mut self, name: impl AsRef<[u8]>) -> usize {
        self.remove(name, Removal::CommentOut)
    }

    /// Adds a line for the setting at a place of one's choice, and leaves assignments and
    /// commented-out ones as they are; [`set`](Self::set) is what is wanted more often.
    ///
    /// ```
    /// use pgconf_parse::{Document, Place};
    ///
    /// let mut doc = Document::parse("port = 5432\n\n# - SSL -\nssl = off\n");
    /// doc.append("max_connections", 20, Place::After("port"))?;
    /// doc.append("ssl_cert_file", "a.crt", Place::Section("SSL"))?;
    /// assert_eq!(
    ///     doc.to_string(),
    ///     "port = 5432\nmax_connections = 20\n\n# - SSL -\nssl = off\nssl_cert_file = 'a.crt'\n",
    /// );
    /// # Ok::<(), pgconf_parse::EditError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set); also if there is no such place, or if an assignment of that name
    /// stands behind it, over which the new one would not win.
    pub fn append(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value>,
        place: Place<'_>,
    ) -> Result<Change, EditError> {
        let (name, value) = checked(name.as_ref(), value.into())?;
        let fail = |kind| EditError::new(name.as_bytes(), kind);
        let at = self
            .find(place)
            .ok_or_else(|| fail(EditErrorKind::NoSuchPlace))?;
        if self.abandoned_at().is_some_and(|end| at >= end) {
            return Err(fail(EditErrorKind::Abandoned));
        }
        match self.get(&name) {
            Some(live) if live.span().start >= at => {
                Err(fail(EditErrorKind::Shadowed { line: live.line() }))
            }
            _ => Ok(self.insert(at, &name, &value)),
        }
    }

    fn apply(&mut self, name: &SettingName, value: &Value) -> Result<Change, EditError> {
        if let Some(live) = self.get(name) {
            let line = live.line();
            if live.value().as_ref() == value.as_bytes() {
                return Ok(Change {
                    action: Action::Unchanged,
                    line,
                });
            }
            let (name, old) = (live.name_span(), live.value_span());
            self.revalue(line, &name, &old, &(name.start..name.start), value);
            return Ok(Change {
                action: Action::Edited,
                line,
            });
        }
        if let Some((line_start, found)) = self.last_commented_out(name.as_bytes()) {
            let line = line_count(&self.as_bytes()[..line_start]) + 1;
            self.revalue(line, &found.name, &found.value, &found.marker, value);
            return Ok(Change {
                action: Action::Uncommented,
                line,
            });
        }
        if self.abandoned_at().is_some() {
            return Err(EditError::new(name.as_bytes(), EditErrorKind::Abandoned));
        }
        Ok(self.insert(self.as_bytes().len(), name, value))
    }

    /// Writes another value on the line of that number, takes `marker` out, and keeps the comment
    /// behind the value in its column.
    fn revalue(
        &mut self,
        number: usize,
        name: &Range<usize>,
        old: &Range<usize>,
        marker: &Range<usize>,
        value: &Value,
    ) {
        let line = self.line_around(name.start);
        let source = self.as_bytes();
        let raw = &source[old.clone()];
        let new = if quote::unquote(raw).as_ref() == value.as_bytes() {
            raw.to_vec()
        } else {
            written(value, raw.starts_with(b"'"))
        };
        let mut text = [
            &source[line.start..marker.start],
            &source[marker.end..old.start],
        ]
        .concat();
        // The value may follow the name at once, as in `a'b'` and `a+1`; a word may not.
        if name.end == old.start && !new.starts_with(b"'") {
            text.push(b' ');
        }
        text.extend(new);
        let rest = &source[old.end..line.end];
        let gap = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if rest.get(gap) == Some(&b'#') {
            pad(
                &mut text,
                &rest[..gap],
                column(&source[line.start..old.end + gap]),
            );
            text.extend(&rest[gap..]);
        } else {
            text.extend(rest);
        }
        self.replace_lines(line, number, &text);
    }

    /// Adds a line at `at`, which is the start of a line or the end of the document.
    fn insert(&mut self, at: usize, name: &SettingName, value: &Value) -> Change {
        let before = &self.as_bytes()[..at];
        let end_of_line = self.end_of_line_before(at);
        let added = [name.as_bytes(), b" = ", &written(value, false), end_of_line].concat();
        let lines = line_count(before);
        if before.is_empty() || before.ends_with(b"\n") {
            self.replace_lines(at..at, lines + 1, &added);
        } else {
            // The last line gets the end that it lacks, of which it may have a part.
            let last = self.line_around(at).start;
            let rest_of_end = match before.last() {
                Some(b'\r') => b"\n",
                _ => end_of_line,
            };
            let text = [&before[last..], rest_of_end, &added].concat();
            self.replace_lines(last..at, lines, &text);
        }
        Change {
            action: Action::Appended,
            line: lines + 1,
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

    /// The last commented-out assignment of that name, with the start of its line.
    pub(crate) fn last_commented_out(&self, name: &[u8]) -> Option<(usize, commented::Commented)> {
        let source = &self.as_bytes()[..self.abandoned_at().unwrap_or(self.as_bytes().len())];
        let mut end = source.len();
        while end > 0 {
            let start = memrchr(b'\n', &source[..end - 1]).map_or(0, |n| n + 1);
            if let Some(found) = commented::find(source, start, end) {
                if crate::name::same_name(&source[found.name.clone()], name) {
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
    Err(EditError::new(name, kind))
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
    if blanks.is_empty() {
        return;
    }
    let tabs = blanks.contains(&b'\t');
    let next_stop = |column: usize| (column / TAB + 1) * TAB;
    let mut at = column(text);
    if at >= target {
        text.push(if tabs { b'\t' } else { b' ' });
        return;
    }
    while tabs && next_stop(at) <= target {
        text.push(b'\t');
        at = next_stop(at);
    }
    text.resize(text.len() + target - at, b' ');
}
