//! Changing a document, one line at a time.

use std::ops::Range;

use memchr::{memchr, memrchr};

use crate::document::error::{EditError, EditErrorKind};
use crate::document::line::{self, Spans};
use crate::document::place::Place;
use crate::document::rewrite::{Changed, Kind};
use crate::document::session::{EditSession, check};
use crate::document::text::{Document, line_count};
use crate::value::written::Value;

/// The result of [`Document::set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Change {
    /// How the document was changed.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// How [`Document::remove`] takes an assignment out of effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Removal {
    /// The assignment stays as a comment: `#port = 5432`.
    CommentOut,
    /// Its line is deleted, with the comment after the value.
    Delete,
}

impl Document {
    /// Gives the setting `name` the value `value`, changing one line.
    ///
    /// The assignment in effect is edited in place, keeping its name as spelled, its spacing, its
    /// line end and the comment after it, which also keeps its column where there is room. If
    /// there is none, a commented-out assignment of that name is brought to life: the one that
    /// [`comment_out`](Self::comment_out) commented out, or else the last. If there is none either,
    /// a line is added at the end. A value that was quoted stays
    /// quoted; otherwise quotes are put where they are needed.
    ///
    /// Only this file is considered: a later include or `postgresql.auto.conf` may assign to the
    /// same setting, which [`Configuration::explain`](crate::Configuration::explain) shows.
    ///
    /// A newline in the value is written as `\n`. Avoid such values in `postgresql.auto.conf`: the
    /// server reads them, but its next `ALTER SYSTEM` writes the newline itself between the quotes,
    /// which is a syntax error (`write_auto_conf_file` in guc.c).
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
    /// Fails with [`EditError`] if `name` is not the name of a setting, if the value contains a NUL
    /// byte, which no file can express, if it was made of a NaN, or if a line would have to be
    /// added below the point where the server stops reading.
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value>,
    ) -> Result<Change, EditError> {
        self.edit(|session| session.set(name, value))
    }

    /// Sets many settings, each as by [`set`](Self::set), in order: all of them, or none if one
    /// cannot be set.
    ///
    /// # Errors
    ///
    /// Fails as [`set`](Self::set) does for the first setting that cannot be set. The document then
    /// stays as it was.
    pub fn update<N: AsRef<[u8]>, V: Into<Value>>(
        &mut self,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Vec<Change>, EditError> {
        self.edit(|session| {
            let settings = settings.into_iter();
            settings
                .map(|(name, value)| session.set(name, value))
                .collect()
        })
    }

    /// Makes any number of edits: all of them, or none if the closure returns an error.
    ///
    /// The result is the same as that of the same edits made one by one, to the byte. But the names
    /// of the document are indexed once, and its text is rewritten once, so that the time is linear
    /// in the size of the document and the number of edits.
    ///
    /// ```
    /// use pgconf_parse::{Document, Removal};
    ///
    /// let mut doc = Document::parse("port = 5432\nfsync = off\n");
    /// doc.edit(|session| {
    ///     session.remove("fsync", Removal::Delete);
    ///     session.set("port", 5433)?;
    ///     session.set("work_mem", "64MB")
    /// })?;
    /// assert_eq!(doc.to_string(), "port = 5433\nwork_mem = 64MB\n");
    /// # Ok::<(), pgconf_parse::EditError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with what the closure returns. The document then stays as it was.
    pub fn edit<T, E>(
        &mut self,
        change: impl FnOnce(&mut EditSession<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut session = EditSession::new(self);
        let done = change(&mut session)?;
        let (changes, texts) = session.finish();
        self.rewrite(&changes, &texts);
        Ok(done)
    }

    /// Takes every assignment of that name out of effect and returns how many there were. Taking
    /// out only the last would bring an earlier one back to life.
    ///
    /// [`set`](Self::set) brings the one that was in effect back to life, in its place and as it
    /// was. Where another commented-out assignment would be taken for it, or where it has no equals
    /// sign and a comment could be prose, it gets more than one `#`.
    pub fn remove(&mut self, name: impl AsRef<[u8]>, removal: Removal) -> usize {
        let mut session = EditSession::new(self);
        let count = session.remove(name, removal);
        let (changes, texts) = session.finish();
        self.rewrite(&changes, &texts);
        count
    }

    /// Puts `#` before every assignment of that name and returns how many there were.
    pub fn comment_out(&mut self, name: impl AsRef<[u8]>) -> usize {
        self.remove(name, Removal::CommentOut)
    }

    /// Adds a line for the setting at the given place, and leaves existing assignments and
    /// commented-out ones as they are. Most callers want [`set`](Self::set).
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
    /// Fails as [`set`](Self::set) does, if the document has no such place, or if an assignment of
    /// that name below it would override the new one.
    pub fn append(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value>,
        place: Place<'_>,
    ) -> Result<Change, EditError> {
        let (name, value) = (name.as_ref(), value.into());
        check(name, &value)?;
        let fail = |kind| EditError::new(name, kind);
        let at = self
            .find(place)
            .ok_or_else(|| fail(EditErrorKind::NoSuchPlace))?;
        if self.abandoned_at().is_some_and(|end| at >= end) {
            return Err(fail(EditErrorKind::Abandoned));
        }
        match self.get(name) {
            Some(live) if live.span().start >= at => {
                Err(fail(EditErrorKind::Shadowed { line: live.line() }))
            }
            _ => Ok(self.insert(at, name, &value)),
        }
    }

    /// Adds a line at `at`, which is the start of a line or the end of the document.
    fn insert(&mut self, at: usize, name: &[u8], value: &Value) -> Change {
        let before = &self.as_bytes()[..at];
        let end = self.end_of_line_before(at);
        let number = line_count(before) + 1;
        let mut text = Vec::new();
        // The last line gets the end that it lacks, of which it may have a part.
        match before.last() {
            None | Some(b'\n') => {}
            Some(b'\r') => text.push(b'\n'),
            Some(_) => text.extend(end),
        }
        let changed = |text, spans, kind| Changed {
            base: at..at,
            number,
            text,
            spans,
            kind,
        };
        let end_of_last = changed(0..text.len(), Spans::default(), Kind::EndOfLine);
        let start = text.len();
        let spans = line::added(name, value, end, &mut text);
        let added = changed(start..text.len(), spans, Kind::Live);
        self.rewrite(&[end_of_last, added], &text);
        Change {
            action: Action::Appended,
            line: number,
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

    /// The line in which `at` stands, with its end.
    pub(crate) fn line_around(&self, at: usize) -> Range<usize> {
        let source = self.as_bytes();
        let start = memrchr(b'\n', &source[..at]).map_or(0, |n| n + 1);
        let end = memchr(b'\n', &source[at..]).map_or(source.len(), |n| at + n + 1);
        start..end
    }
}
