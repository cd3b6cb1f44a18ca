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
    /// The kind of change.
    pub action: Action,
    /// The line number of the assignment after the change, counted from 1.
    pub line: usize,
}

impl Change {
    /// Returns whether any byte of the document was changed.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let mut doc = Document::parse("port = 5432\n");
    /// assert!(!doc.set("port", 5432)?.is_change());
    /// assert!(doc.set("port", 5433)?.is_change());
    /// # Ok::<(), pgconf_parse::EditError>(())
    /// ```
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.action != Action::Unchanged
    }
}

/// The kind of change that [`Document::set`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// The setting already had that value, and the document is unchanged.
    Unchanged,
    /// The value of the assignment in effect was replaced.
    Edited,
    /// A commented-out assignment was uncommented.
    Uncommented,
    /// A line was added.
    Appended,
}

/// The way in which [`Document::remove`] disables an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Removal {
    /// The assignment is kept as a comment: `#port = 5432`.
    CommentOut,
    /// The line is deleted, including the comment after the value.
    Delete,
}

impl Document {
    /// Sets the setting `name` to `value` by changing one line.
    ///
    /// The first of these that applies is done:
    ///
    /// 1. The assignment in effect is edited in place. Its name as spelled, its spacing, its line
    ///    end and the comment after it are kept. The comment also keeps its column if there is
    ///    room.
    /// 2. A commented-out assignment of that name is uncommented: the one that
    ///    [`comment_out`](Self::comment_out) commented out, or else the last.
    /// 3. A line is added at the end.
    ///
    /// A quoted value stays quoted. Other values are quoted if the grammar requires it.
    ///
    /// Only this file is considered. An included file or `postgresql.auto.conf` may override the
    /// setting, which [`Configuration::explain`](crate::Configuration::explain) shows.
    ///
    /// A newline in the value is written as `\n`. Avoid such values in `postgresql.auto.conf`: the
    /// server reads them, but its next `ALTER SYSTEM` writes a literal newline between the quotes,
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
    /// Fails with [`EditError`] if:
    ///
    /// * `name` is not a valid setting name,
    /// * the value contains a NUL byte, which the file format cannot express,
    /// * the value was converted from a floating-point NaN, or
    /// * a line would have to be added below the line at which the server stops reading.
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value>,
    ) -> Result<Change, EditError> {
        self.edit(|session| session.set(name, value))
    }

    /// Sets several settings in order, each as [`set`](Self::set) does. Sets either all of them or
    /// none.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let mut doc = Document::parse("#port = 5432\nwork_mem = 4MB\n");
    /// doc.update([("port", "5433"), ("work_mem", "64MB")])?;
    /// assert_eq!(doc.to_string(), "port = 5433\nwork_mem = 64MB\n");
    ///
    /// let refused = doc.update([("port", "5434"), ("no name", "1")]);
    /// assert_eq!(refused.unwrap_err().to_string(), "failed to set `no name`");
    /// assert_eq!(doc.to_string(), "port = 5433\nwork_mem = 64MB\n");
    /// # Ok::<(), pgconf_parse::EditError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`set`](Self::set) does for the first setting that cannot be set. The document is
    /// then unchanged.
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

    /// Makes any number of edits at once: all of them, or none if the closure returns an error.
    ///
    /// The result is byte for byte the same as that of single edits. The names of the document are
    /// indexed once and its text is rewritten once, so the time is linear in the size of the
    /// document and the number of edits.
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
    /// Fails with the error of the closure. The document is then unchanged.
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

    /// Disables every assignment of that name and returns their number. If only the last one were
    /// disabled, an earlier one would take effect.
    ///
    /// [`set`](Self::set) restores a commented-out assignment that was in effect, in its place and
    /// byte for byte. If `set` could mistake another comment for it, or if it has no equals sign
    /// and could be prose, it is commented out with more than one `#`.
    ///
    /// ```
    /// use pgconf_parse::{Document, Removal};
    ///
    /// let mut doc = Document::parse("port = 1\nport = 2 # main\nfsync = off\n");
    /// assert_eq!(doc.remove("port", Removal::CommentOut), 2);
    /// assert_eq!(doc.remove("fsync", Removal::Delete), 1);
    /// assert_eq!(doc.to_string(), "#port = 1\n#port = 2 # main\n");
    /// doc.set("port", 2)?;
    /// assert_eq!(doc.to_string(), "#port = 1\nport = 2 # main\n");
    /// # Ok::<(), pgconf_parse::EditError>(())
    /// ```
    pub fn remove(&mut self, name: impl AsRef<[u8]>, removal: Removal) -> usize {
        let mut session = EditSession::new(self);
        let count = session.remove(name, removal);
        let (changes, texts) = session.finish();
        self.rewrite(&changes, &texts);
        count
    }

    /// Comments out every assignment of that name and returns their number. A shorthand for
    /// [`remove`](Self::remove) with [`Removal::CommentOut`].
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let mut doc = Document::parse("ssl = on\t# TLS\n");
    /// assert_eq!(doc.comment_out("ssl"), 1);
    /// assert_eq!(doc.to_string(), "#ssl = on\t# TLS\n");
    /// assert_eq!(doc.comment_out("ssl"), 0);
    /// ```
    pub fn comment_out(&mut self, name: impl AsRef<[u8]>) -> usize {
        self.remove(name, Removal::CommentOut)
    }

    /// Adds a line for the setting at the given place. Existing assignments and commented-out ones
    /// are not changed. Most callers want [`set`](Self::set).
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
    /// Fails as [`set`](Self::set) does. Also fails if the document has no such place, or if an
    /// assignment of that name below the place would override the new one.
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

    /// Adds a line at `at`, which must be the start of a line or the end of the document.
    fn insert(&mut self, at: usize, name: &[u8], value: &Value) -> Change {
        let before = &self.as_bytes()[..at];
        let end = self.end_of_line_before(at);
        let number = line_count(before) + 1;
        let mut text = Vec::new();
        // Terminate the last line. A `\r` at its end is the first half of a `\r\n`.
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

    /// Returns the line that contains `at`, including its end.
    pub(crate) fn line_around(&self, at: usize) -> Range<usize> {
        let source = self.as_bytes();
        let start = memrchr(b'\n', &source[..at]).map_or(0, |n| n + 1);
        let end = memchr(b'\n', &source[at..]).map_or(source.len(), |n| at + n + 1);
        start..end
    }
}
