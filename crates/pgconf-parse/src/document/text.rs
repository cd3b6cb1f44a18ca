//! The text of a file with an index of its assignments.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use memchr::memchr;

use crate::document::commented;
use crate::syntax::assignment::{Assignment, Scanner, Statement};
use crate::syntax::error::{CheckError, SyntaxError};
use crate::syntax::name::{SettingName, same_name};
use crate::syntax::scan::Line;

/// The text of a configuration file, with an index of its assignments.
///
/// Any bytes are accepted and returned unchanged. Only edits change them, and only the lines of the
/// setting concerned. A document is read as the server reads the file: lines that the server
/// rejects are skipped and reported as [`errors`](Self::errors). After
/// [`MAX_ERRORS`](crate::MAX_ERRORS) of them the rest of the file is ignored.
///
/// ```
/// use pgconf_parse::Document;
///
/// let mut doc = Document::parse("port = 5432\t\t# (change requires restart)\n#fsync = on\n");
/// assert_eq!(doc.get("PORT").unwrap().value_lossy(), "5432");
/// doc.set("port", 5433)?;
/// doc.set("fsync", false)?;
/// assert_eq!(doc.to_string(), "port = 5433\t\t# (change requires restart)\nfsync = off\n");
/// # Ok::<(), pgconf_parse::EditError>(())
/// ```
#[derive(Clone, Default)]
pub struct Document {
    pub(super) source: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) errors: Vec<SyntaxError>,
    /// The offset at which the server stops reading, if that is before the end.
    pub(super) abandoned: Option<usize>,
}

/// An assignment as offsets into the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) line: usize,
    pub(crate) line_start: usize,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

impl Document {
    /// Parses a configuration file. Parsing never fails; [`check`](Self::check) reports the lines
    /// that the server would reject.
    pub fn parse(source: impl Into<Vec<u8>>) -> Self {
        let mut document = Self {
            source: source.into(),
            ..Self::default()
        };
        document.reindex();
        document
    }

    pub(super) fn reindex(&mut self) {
        let mut scanner = Scanner::new(&self.source);
        (self.entries, self.errors) = index(&mut scanner);
        let end = scanner.position();
        self.abandoned = scanner.gave_up().then_some(end);
    }

    /// Returns the bytes of the file.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let bytes = b"\xef\xbb\xbfport = 1\r\ncluster_name = 'M\xfcnchen'";
    /// assert_eq!(Document::parse(bytes).as_bytes(), bytes);
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.source
    }

    /// Returns a copy of the bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.source.clone()
    }

    /// Converts the document into the bytes of the file.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.source
    }

    /// Checks that the server would accept every line.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let error = Document::parse("port 5432\nport = \n").check().unwrap_err();
    /// assert_eq!(error.errors().len(), 1);
    /// assert_eq!(
    ///     error.to_string(),
    ///     "line 2, column 8: expected a value, found end of line\n    port = \n           ^",
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`CheckError`] if the server would reject a line. It contains the errors that the
    /// server would log, in order, up to the one after which the server abandons the file.
    pub fn check(&self) -> Result<(), CheckError> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(CheckError::new(&self.errors))
        }
    }

    /// Iterates over the lines that the server rejects.
    pub fn errors(&self) -> impl Iterator<Item = &SyntaxError> {
        self.errors.iter()
    }

    /// Returns the offset of the first byte that the server does not read because of too many
    /// errors. Returns `None` if the server reads the whole file.
    ///
    /// ```
    /// use pgconf_parse::{Document, MAX_ERRORS};
    ///
    /// let rejected = "?\n".repeat(MAX_ERRORS);
    /// let doc = Document::parse(format!("{rejected}port = 5432\n"));
    /// assert_eq!(doc.abandoned_at(), Some(rejected.len()));
    /// assert!(doc.get("port").is_none());
    /// ```
    #[must_use]
    pub fn abandoned_at(&self) -> Option<usize> {
        self.abandoned
    }

    /// Returns the assignment of that name that is in effect in this file, which is the last one.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("Port = 1\nport = 2\n#port = 3\n");
    /// assert_eq!(doc.get("PORT").unwrap().line(), 2);
    /// let lines: Vec<usize> = doc.get_all("port").map(|found| found.line()).collect();
    /// assert_eq!(lines, [1, 2]);
    /// assert!(doc.get("fsync").is_none());
    /// ```
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Assignment<'_>> {
        self.entries
            .iter()
            .rfind(|entry| self.is_named(entry, name.as_ref()))
            .map(|e| self.view(e))
    }

    /// Iterates over the assignments of that name, in order. The last one is in effect.
    pub fn get_all<'a>(
        &'a self,
        name: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> impl DoubleEndedIterator<Item = Assignment<'a>> {
        let name = name.as_ref();
        self.entries
            .iter()
            .filter(move |entry| self.is_named(entry, name))
            .map(|e| self.view(e))
    }

    /// Iterates over all assignments in order, including directives such as `include`.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("port = 1\ninclude 'more.conf'\nport = 2\n");
    /// let settings = doc.assignments().filter(|found| found.directive().is_none());
    /// assert_eq!(settings.count(), 2);
    /// ```
    pub fn assignments(
        &self,
    ) -> impl DoubleEndedIterator<Item = Assignment<'_>> + ExactSizeIterator {
        self.entries.iter().map(|entry| self.view(entry))
    }

    /// Returns the assignment in effect for each setting, which is the last one of that name.
    /// Directives are omitted.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("port = 1\nfsync = off\nPort = 2\ninclude 'more.conf'\n");
    /// let settings = doc.settings();
    /// assert_eq!(settings.len(), 2);
    /// assert_eq!(settings[&"port".parse()?].value_lossy(), "2");
    /// # Ok::<(), pgconf_parse::NameError>(())
    /// ```
    #[must_use]
    pub fn settings(&self) -> BTreeMap<SettingName, Assignment<'_>> {
        self.assignments()
            .filter_map(|found| Some((SettingName::new(found.name()).ok()?, found)))
            .collect()
    }

    /// Iterates over assignments and errors in the order of their lines.
    pub fn statements(&self) -> impl Iterator<Item = Statement<'_>> {
        self.numbered_statements().map(|(_, statement)| statement)
    }

    /// Iterates as [`statements`](Self::statements) does, with the number of each assignment that
    /// [`assignment`](Self::assignment) takes.
    pub(crate) fn numbered_statements(&self) -> impl Iterator<Item = (usize, Statement<'_>)> {
        let mut entries = self.entries.iter().enumerate().peekable();
        let mut errors = self.errors.iter().peekable();
        std::iter::from_fn(move || {
            let error_first = match (entries.peek(), errors.peek()) {
                (Some((_, entry)), Some(error)) => error.line() < entry.line,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if error_first {
                errors
                    .next()
                    .cloned()
                    .map(|error| (0, Statement::Error(error)))
            } else {
                entries
                    .next()
                    .map(|(n, entry)| (n, Statement::Assignment(self.view(entry))))
            }
        })
    }

    /// Iterates over commented-out assignments, such as `#port = 5432` in the file that `initdb`
    /// writes.
    ///
    /// The comment must contain nothing else but another comment after the value. After a single
    /// `#` the equals sign is required, because the comment could be prose.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("# port of the server\n#port = 5432 # change requires restart\n");
    /// let found = doc.commented_out().next().unwrap();
    /// assert_eq!((found.line(), found.name()), (2, b"port".as_slice()));
    /// assert!(found.is_commented_out());
    /// ```
    pub fn commented_out(&self) -> impl Iterator<Item = Assignment<'_>> {
        let source = &self.source[..self.abandoned.unwrap_or(self.source.len())];
        let (mut at, mut line) = (0, 0);
        std::iter::from_fn(move || {
            while at < source.len() {
                let start = at;
                at = memchr(b'\n', &source[start..]).map_or(source.len(), |n| start + n + 1);
                line += 1;
                if let Some(found) = commented::find(source, start, at) {
                    return Some(
                        Assignment::new(source, line, start, &found.name, &found.value)
                            .commented_out(),
                    );
                }
            }
            None
        })
    }

    /// Returns the offset of the last commented-out assignment of that name.
    pub(crate) fn last_commented_out(&self, name: &[u8]) -> Option<usize> {
        let found = self.commented_out().filter(|found| found.is(name));
        found.last().map(|found| found.span().start)
    }

    pub(crate) fn assignment(&self, index: usize) -> Assignment<'_> {
        self.view(&self.entries[index])
    }

    pub(crate) fn is_named(&self, entry: &Entry, name: &[u8]) -> bool {
        same_name(&self.source[entry.name.clone()], name)
    }

    fn view(&self, entry: &Entry) -> Assignment<'_> {
        Assignment::new(
            &self.source,
            entry.line,
            entry.line_start,
            &entry.name,
            &entry.value,
        )
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

fn index(scanner: &mut Scanner<'_>) -> (Vec<Entry>, Vec<SyntaxError>) {
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    while let Some((line_start, line)) = scanner.next_line() {
        match line {
            Line::Assignment { name, value, .. } => {
                entries.push(Entry {
                    line: scanner.line(),
                    line_start,
                    name,
                    value,
                });
            }
            Line::Error { expected, found } => {
                let source = scanner.source();
                errors.push(SyntaxError::new(
                    source,
                    scanner.line(),
                    line_start,
                    expected,
                    found,
                ));
            }
            Line::Empty => {}
        }
    }
    (entries, errors)
}

/// Counts lines. A last line without a newline counts too.
pub(crate) fn line_count(text: &[u8]) -> usize {
    let newlines = memchr::memchr_iter(b'\n', text).count();
    newlines + usize::from(text.last().is_some_and(|&last| last != b'\n'))
}

impl fmt::Display for Document {
    /// Writes the text of the file, with replacement characters where it is not UTF-8.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.source))
    }
}

/// Shows the text and the syntax errors, without the index.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("text", &String::from_utf8_lossy(&self.source))
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

/// Never fails; see [`Document::parse`].
impl FromStr for Document {
    type Err = Infallible;

    fn from_str(source: &str) -> Result<Self, Infallible> {
        Ok(Self::parse(source))
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Document {}
