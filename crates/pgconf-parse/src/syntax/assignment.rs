//! One assignment, and the iteration over those of a file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memchr_iter;

use crate::syntax::error::{MAX_ERRORS, SyntaxError};
use crate::syntax::name::Directive;
use crate::syntax::quote;
use crate::syntax::scan::{self, Line};

/// `name = value` as it stands in a file, borrowed from its bytes.
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

/// The newest server, whose rules hold if nothing else is said.
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

    /// The same with typed readings by the rules of another major version, 10 or later. The
    /// assignments of a [`Configuration`](crate::Configuration) have that of its
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

    /// The name as spelled in the file; [`is`](Self::is) compares it as the server does.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        &self.source[self.name.0..self.name.1]
    }

    /// The name as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn name_lossy(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.name())
    }

    /// Whether this assigns to the setting `name`, without regard to ASCII case.
    #[must_use]
    pub fn is(&self, name: impl AsRef<[u8]>) -> bool {
        crate::syntax::name::same_name(self.name(), name.as_ref())
    }

    /// The value as the server reads it: without quotes, escapes resolved. Allocates only where
    /// an escape or a doubled quote has to be resolved.
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

    /// The value as it stands in the file, with its quotes and escapes.
    #[must_use]
    pub fn raw_value(&self) -> &'a [u8] {
        &self.source[self.value.0..self.value.1]
    }

    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in which the name begins, counted in bytes from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.name.0 - self.line_start + 1
    }

    /// Where name and value stand in the bytes of the file, from the first byte of the name to the
    /// last of the value.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.name.0..self.value.1
    }

    /// Where the name stands.
    #[must_use]
    pub fn name_span(&self) -> Range<usize> {
        self.name.0..self.name.1
    }

    /// Where the value stands, quotes included.
    #[must_use]
    pub fn value_span(&self) -> Range<usize> {
        self.value.0..self.value.1
    }

    /// Whether it stands in a comment (`#port = 5432`), where the server does not see it.
    #[must_use]
    pub fn is_commented_out(&self) -> bool {
        self.commented_out
    }

    /// The directive that this is, if it is one: `include 'x'` reads like a setting.
    #[must_use]
    pub fn directive(&self) -> Option<Directive> {
        Directive::of(self.name())
    }
}

/// As it stands in the file, without the rest of the file.
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

/// The assignments of a file, in order, directives included, without building a [`Document`] and
/// without allocation. Lines that the server rejects are passed over; [`statements`] reports them.
///
/// Ends where the server would abandon the file, after [`MAX_ERRORS`] errors.
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

/// Assignments and syntax errors of a file in the order in which the server meets them.
///
/// Ends where the server would abandon the file, after [`MAX_ERRORS`] errors.
pub fn statements(source: &[u8]) -> impl Iterator<Item = Statement<'_>> {
    Scanner::new(source)
}

/// A line on which the server finds something.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Statement<'a> {
    /// `name = value`
    Assignment(Assignment<'a>),
    /// A line that the server rejects; it goes on with the next.
    Error(SyntaxError),
}

/// Runs over the lines of a file, counting them and their errors as the server does.
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

    /// Begins at the line that starts at `at`, `lines` being the number of lines before it.
    pub(crate) fn resume(source: &'a [u8], at: usize, lines: usize) -> Self {
        Self {
            source,
            at,
            line: lines,
            errors: 0,
        }
    }

    /// The next line that is not empty: where it starts and what the grammar made of it.
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

    /// Most lines of a real file are comments, or empty.
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

    /// The number of the line that was read last.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn source(&self) -> &'a [u8] {
        self.source
    }

    /// Where reading goes on.
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
