//! Syntax errors.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memchr;

use crate::bytes::Bytes;
use crate::syntax::scan::Expected;

/// The number of syntax errors after which the server abandons a file.
///
/// Source: `ParseConfigFp` in guc-file.l.
pub const MAX_ERRORS: usize = 100;

/// A line that the server rejects with "syntax error".
///
/// `Display` shows the line with a caret under the error:
///
/// ```
/// use pgconf_parse::Document;
///
/// let doc = Document::parse("port = 5432\nlisten_addresses = 127.0.0.1\n");
/// let error = doc.errors().next().unwrap();
/// assert_eq!(
///     error.to_string(),
///     "line 2, column 25: expected end of line or a comment, found `.0`\n\
///      \u{20}   listen_addresses = 127.0.0.1\n\
///      \u{20}                           ^^",
/// );
/// assert_eq!(error.hint().unwrap(), "enclose this value in single quotes");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    line: usize,
    line_start: usize,
    expected: Expected,
    found: Range<usize>,
    /// The whole line, without its end.
    text: Bytes,
}

impl SyntaxError {
    pub(crate) fn new(
        source: &[u8],
        line: usize,
        line_start: usize,
        expected: Expected,
        found: Range<usize>,
    ) -> Self {
        let rest = &source[line_start..];
        let text = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
        Self {
            line,
            line_start,
            expected,
            found,
            text: text.into(),
        }
    }

    /// Moves the error with its line after an edit of lines above.
    pub(crate) fn shift(&mut self, lines: isize, bytes: isize) {
        self.line = self.line.wrapping_add_signed(lines);
        for offset in [
            &mut self.line_start,
            &mut self.found.start,
            &mut self.found.end,
        ] {
            *offset = offset.wrapping_add_signed(bytes);
        }
    }

    /// The line number, counted from 1.
    ///
    /// DIFFERENCE: for an error at the end of a last line without a newline, the server reports the
    /// line before (0 in a file of one line). This function returns the number of the line itself.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, counted in bytes from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.found.start - self.line_start + 1
    }

    /// The range of the unexpected token in the bytes of the file. Empty if the line ends too
    /// early.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.found.clone()
    }

    /// The offset of the first byte of the line.
    pub(crate) fn line_start(&self) -> usize {
        self.line_start
    }

    /// Returns whether the line, without its newline, ends at the offset `end`.
    pub(crate) fn ends_at(&self, end: usize) -> bool {
        self.line_start + self.text.len() == end
    }

    /// The kind of token that the server would have accepted.
    #[must_use]
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// The unexpected token. `None` if the line ends too early.
    #[must_use]
    pub fn found(&self) -> Option<&[u8]> {
        let found =
            &self.text[self.found.start - self.line_start..self.found.end - self.line_start];
        (!found.is_empty()).then_some(found)
    }

    /// The token in the server's message `near token "..."`, which ends at its first NUL. `None` if
    /// the message is "near end of line".
    #[must_use]
    pub fn near(&self) -> Option<&[u8]> {
        self.found()
            .map(|token| &token[..memchr(0, token).unwrap_or(token.len())])
    }

    /// The whole line, without its newline.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Advice on how to correct the line, if there is any.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("port =\n");
    /// let error = doc.errors().next().unwrap();
    /// assert_eq!((error.found(), error.text()), (None, b"port =".as_slice()));
    /// assert_eq!(error.hint().unwrap(), "an empty value is written as ''");
    /// ```
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match (self.expected, self.found()) {
            (Expected::Value, None) => "an empty value is written as ''",
            (_, Some(b"'")) => "close the quoted value on the line on which it begins",
            (Expected::Value | Expected::EndOfLine, Some(_)) => {
                "enclose this value in single quotes"
            }
            (Expected::Name | Expected::EndOfLine, _) => return None,
        };
        Some(hint.into())
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The number of bytes of a long line that are shown before the error and from it on.
        const BEFORE: usize = 60;
        const BEHIND: usize = 40;

        let (line, at) = (self.line, self.column() - 1);
        write!(
            f,
            "line {line}, column {}: expected {}, found ",
            at + 1,
            self.expected
        )?;
        let token = self.found().unwrap_or_default();
        let shown_token = &token[..token.len().min(BEHIND)];
        match self.found() {
            Some(_) => write!(f, "`{}{}`", Shown(shown_token), dots(token.len() > BEHIND))?,
            None => f.write_str("end of line")?,
        }
        let (start, end) = (at.saturating_sub(BEFORE), self.text.len().min(at + BEHIND));
        let before = format!("{}{}", dots(start > 0), Shown(&self.text[start..at]));
        let behind = format!(
            "{}{}",
            Shown(&self.text[at..end]),
            dots(end < self.text.len())
        );
        let margin: String = before.chars().map(blank).collect();
        let width = Shown(shown_token).to_string().chars().count().max(1);
        write!(
            f,
            "\n    {before}{behind}\n    {margin}{}",
            "^".repeat(width)
        )
    }
}

fn dots(cut_off: bool) -> &'static str {
    if cut_off { "..." } else { "" }
}

impl std::error::Error for SyntaxError {}

fn blank(shown: char) -> char {
    if shown == '\t' { '\t' } else { ' ' }
}

/// Bytes for a terminal. Control characters, except tabs, and invalid UTF-8 are escaped.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.strip_suffix(b"\r").unwrap_or(self.0);
        for chunk in text.utf8_chunks() {
            for shown in chunk.valid().chars() {
                match shown {
                    '\t' => f.write_str("\t")?,
                    _ if shown.is_control() => write!(f, "{}", shown.escape_default())?,
                    _ => write!(f, "{shown}")?,
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the name of a setting",
            Self::Value => "a value",
            Self::EndOfLine => "end of line or a comment",
        })
    }
}

/// All syntax errors of one file; see [`Document::check`].
///
/// [`Document::check`]: crate::Document::check
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    errors: Vec<SyntaxError>,
}

impl CheckError {
    pub(crate) fn new(errors: &[SyntaxError]) -> Self {
        Self {
            errors: errors.to_vec(),
        }
    }

    /// The errors, at least one and at most [`MAX_ERRORS`], in the order of their lines.
    #[must_use]
    pub fn errors(&self) -> &[SyntaxError] {
        &self.errors
    }

    /// Returns whether the server abandons the file after the last error and ignores the rest.
    ///
    /// ```
    /// use pgconf_parse::{Document, MAX_ERRORS};
    ///
    /// let error = Document::parse("?\n".repeat(MAX_ERRORS + 1)).check().unwrap_err();
    /// assert_eq!(error.errors().len(), MAX_ERRORS);
    /// assert!(error.gave_up());
    /// ```
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.gave_up() {
            f.write_str("\ntoo many syntax errors, the rest of the file is not read")?;
        }
        Ok(())
    }
}

impl std::error::Error for CheckError {}
