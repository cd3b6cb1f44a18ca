//! Assignments, and iteration over the assignments of a file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memchr_iter;

use crate::syntax::error::{MAX_ERRORS, SyntaxError};
use crate::syntax::name::Directive;
use crate::syntax::quote;
use crate::syntax::scan::{self, Line};

/// An assignment `name = value`, borrowed from the bytes of the file.
///
/// ```
/// use pgconf_parse::assignments;
///
/// let conf = b"# local\nWork_Mem '64MB' # each\n";
/// let found = assignments(conf).next().unwrap();
/// assert_eq!(found.name(), b"Work_Mem");
/// assert_eq!(found.value().as_ref(), b"64MB");
/// assert_eq!(found.raw_value(), b"'64MB'");
/// assert_eq!((found.line(), found.column()), (2, 1));
/// ```
#[derive(Clone, Copy)]
pub struct Assignment<'a> {
    source: &'a [u8],
    line: usize,
    line_start: usize,
    name: (usize, usize),
    value: (usize, usize),
    commented_out: bool,
    major: u16,
}

/// The newest major version, whose rules are the default.
pub(crate) const NEWEST: u16 = 18;

impl<'a> Assignment<'a> {
    pub(crate) fn new(
        source: &'a [u8],
        line: usize,
        line_start: usize,
        name: &Range<usize>,
        value: &Range<usize>,
    ) -> Self {
        Self {
            source,
            line,
            line_start,
            name: (name.start, name.end),
            value: (value.start, value.end),
            commented_out: false,
            major: NEWEST,
        }
    }

    pub(crate) fn commented_out(self) -> Self {
        Self {
            commented_out: true,
            ..self
        }
    }

    /// Sets the major version, 10 or later, whose rules the typed readings follow. The assignments
    /// of a [`Configuration`](crate::Configuration) have the version of its
    /// [`Resolver`](crate::Resolver::major).
    ///
    /// ```
    /// use pgconf_parse::{BaseUnit, Document};
    ///
    /// let doc = Document::parse("checkpoint_timeout = 90700ms\n");
    /// let found = doc.get("checkpoint_timeout").unwrap();
    /// assert_eq!(found.to_int(BaseUnit::Second)?, 91);
    /// assert_eq!(found.for_major(11).to_int(BaseUnit::Second)?, 90);
    /// # Ok::<(), pgconf_parse::ValueError>(())
    /// ```
    #[must_use]
    pub fn for_major(self, major: u16) -> Self {
        Self { major, ..self }
    }

    pub(crate) fn major(&self) -> u16 {
        self.major
    }

    /// The name as spelled in the file. [`is`](Self::is) compares it as the server does.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        &self.source[self.name.0..self.name.1]
    }

    /// The name as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn name_lossy(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.name())
    }

    /// Returns whether this is an assignment to the setting `name`, without regard to ASCII case.
    #[must_use]
    pub fn is(&self, name: impl AsRef<[u8]>) -> bool {
        crate::syntax::name::same_name(self.name(), name.as_ref())
    }

    /// Returns the value as the server reads it: without quotes, and with escapes resolved.
    /// Allocates only if the value contains an escape or a doubled quote.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse(r"log_line_prefix = 'it''s\t%m '");
    /// let found = doc.get("log_line_prefix").unwrap();
    /// assert_eq!(found.value_lossy(), "it's\t%m ");
    /// assert_eq!(found.raw_value(), br"'it''s\t%m '");
    /// ```
    ///
    /// Source: `DeescapeQuotedString` in guc-file.l.
    #[must_use]
    pub fn value(&self) -> Cow<'a, [u8]> {
        quote::unquote(self.raw_value())
    }

    /// The value as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn value_lossy(&self) -> Cow<'a, str> {
        match self.value() {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
        }
    }

    /// The value as written in the file, with quotes and escapes.
    #[must_use]
    pub fn raw_value(&self) -> &'a [u8] {
        &self.source[self.value.0..self.value.1]
    }

    /// The line number, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column of the first byte of the name, counted in bytes from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.name.0 - self.line_start + 1
    }

    /// The range of the assignment in the bytes of the file, from the first byte of the name to the
    /// last of the value.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("\nport = '5432' # TCP\n");
    /// let found = doc.get("port").unwrap();
    /// assert_eq!(&doc.as_bytes()[found.span()], b"port = '5432'");
    /// assert_eq!(&doc.as_bytes()[found.name_span()], b"port");
    /// assert_eq!(&doc.as_bytes()[found.value_span()], b"'5432'");
    /// ```
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.name.0..self.value.1
    }

    /// The range of the name in the bytes of the file.
    #[must_use]
    pub fn name_span(&self) -> Range<usize> {
        self.name.0..self.name.1
    }

    /// The range of the value in the bytes of the file, including quotes.
    #[must_use]
    pub fn value_span(&self) -> Range<usize> {
        self.value.0..self.value.1
    }

    /// Returns whether the assignment is commented out (`#port = 5432`), so that the server ignores
    /// it.
    #[must_use]
    pub fn is_commented_out(&self) -> bool {
        self.commented_out
    }

    /// Returns the directive if this is one. By the grammar `include 'x'` is an assignment too.
    ///
    /// ```
    /// use pgconf_parse::{Directive, Document};
    ///
    /// let doc = Document::parse("include_dir 'conf.d'\nport = 5432\n");
    /// let directives: Vec<_> = doc.assignments().map(|found| found.directive()).collect();
    /// assert_eq!(directives, [Some(Directive::IncludeDir), None]);
    /// ```
    #[must_use]
    pub fn directive(&self) -> Option<Directive> {
        Directive::of(self.name())
    }
}

/// Shows the assignment, without the rest of the file.
impl fmt::Debug for Assignment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment")
            .field("line", &self.line)
            .field("name", &self.name_lossy())
            .field("raw_value", &String::from_utf8_lossy(self.raw_value()))
            .field("commented_out", &self.commented_out)
            .finish_non_exhaustive()
    }
}

/// Iterates over the assignments of a file in order, including directives, without building a
/// [`Document`] and without allocation.
///
/// Lines that the server rejects are skipped; [`statements`] reports them. The iteration ends where
/// the server would abandon the file, after [`MAX_ERRORS`] errors.
///
/// ```
/// use pgconf_parse::assignments;
///
/// let conf = b"port = 5432\nfsync = on # safe\nFsync = no\n";
/// let last = assignments(conf).filter(|found| found.is("fsync")).last().unwrap();
/// assert_eq!((last.line(), last.to_bool()), (3, Ok(false)));
/// ```
///
/// [`Document`]: crate::Document
pub fn assignments(source: &[u8]) -> impl Iterator<Item = Assignment<'_>> {
    let mut scanner = Scanner::new(source);
    std::iter::from_fn(move || {
        loop {
            if let (start, Line::Assignment { name, value, .. }) = scanner.next_line()? {
                return Some(Assignment::new(source, scanner.line, start, &name, &value));
            }
        }
    })
}

/// Iterates over the assignments and syntax errors of a file in order.
///
/// The iteration ends where the server would abandon the file, after [`MAX_ERRORS`] errors.
///
/// ```
/// use pgconf_parse::{Statement, statements};
///
/// for statement in statements(b"port = 5432\nwork mem = 1\n") {
///     match statement {
///         Statement::Assignment(found) => assert_eq!(found.name(), b"port"),
///         Statement::Error(error) => assert_eq!((error.line(), error.column()), (2, 10)),
///         _ => unreachable!(),
///     }
/// }
/// ```
pub fn statements(source: &[u8]) -> impl Iterator<Item = Statement<'_>> {
    Scanner::new(source)
}

/// A line that is not empty.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Statement<'a> {
    /// `name = value`
    Assignment(Assignment<'a>),
    /// A line that the server rejects. The server continues with the next line.
    Error(SyntaxError),
}

/// Scans the lines of a file, and counts lines and errors as the server does.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    source: &'a [u8],
    at: usize,
    line: usize,
    errors: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(source: &'a [u8]) -> Self {
        Self::resume(source, 0, 0)
    }

    /// Starts at the line at offset `at`, which has `lines` lines before it.
    pub(crate) fn resume(source: &'a [u8], at: usize, lines: usize) -> Self {
        Self {
            source,
            at,
            line: lines,
            errors: 0,
        }
    }

    /// Returns the next line that is not empty, with its offset.
    #[inline]
    pub(crate) fn next_line(&mut self) -> Option<(usize, Line)> {
        while self.errors < MAX_ERRORS {
            self.pass_comments();
            if self.at == self.source.len() {
                break;
            }
            let start = self.at;
            let (line, end) = scan::line(self.source, start);
            self.at = end;
            self.line += 1;
            if !matches!(line, Line::Empty) {
                self.errors += usize::from(matches!(line, Line::Error { .. }));
                return Some((start, line));
            }
        }
        None
    }

    /// Skips comments and empty lines quickly: most lines of a real file are such.
    #[inline]
    fn pass_comments(&mut self) {
        let rest = &self.source[self.at..];
        if !matches!(rest.first(), Some(b'#' | b'\n')) {
            return;
        }
        for newline in memchr_iter(b'\n', rest) {
            self.line += 1;
            if !matches!(rest.get(newline + 1), Some(b'#' | b'\n')) {
                self.at += newline + 1;
                return;
            }
        }
        // A comment without newline ends the file.
        self.line += 1;
        self.at = self.source.len();
    }

    /// The number of the last line read.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn source(&self) -> &'a [u8] {
        self.source
    }

    /// The offset of the next line.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn gave_up(&self) -> bool {
        self.errors >= MAX_ERRORS
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Statement<'a>;

    #[inline]
    fn next(&mut self) -> Option<Statement<'a>> {
        loop {
            let (start, line) = self.next_line()?;
            let (source, number) = (self.source, self.line);
            match line {
                Line::Assignment { name, value, .. } => {
                    let found = Assignment::new(source, number, start, &name, &value);
                    return Some(Statement::Assignment(found));
                }
                Line::Error { expected, found } => {
                    let error = SyntaxError::new(source, number, start, expected, found);
                    return Some(Statement::Error(error));
                }
                Line::Empty => {}
            }
        }
    }
}
