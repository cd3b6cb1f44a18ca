//! Lines that the server rejects.

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
/// Displayed with the line and a caret under the place:
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
/// assert_eq!(error.hint().unwrap(), "write a value of this shape within single quotes");
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

    /// Moves it to where its line stands after an edit of lines above.
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

    /// The line, counted from 1.
    ///
    /// DIFFERENCE: for an error at the end of a last line that lacks its newline the server
    /// reports the line before (0 in a file of one line); this is the true line.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, counted in bytes from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.found.start - self.line_start + 1
    }

    /// Where the offending token stands in the bytes of the file; empty where the line ends
    /// too early.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.found.clone()
    }

    /// Where the line begins in the bytes of the file.
    pub(crate) fn line_start(&self) -> usize {
        self.line_start
    }

    /// Whether its line ends there, newline left out.
    pub(crate) fn ends_at(&self, end: usize) -> bool {
        self.line_start + self.text.len() == end
    }

    /// What the server would have accepted there.
    #[must_use]
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// The token that should not be there; `None` where the line ends too early.
    #[must_use]
    pub fn found(&self) -> Option<&[u8]> {
        let found =
            &self.text[self.found.start - self.line_start..self.found.end - self.line_start];
        (!found.is_empty()).then_some(found)
    }

    /// The token as the server's message names it in `near token "..."`: up to its first NUL.
    /// `None` where the message says "near end of line".
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

    /// What to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match (self.expected, self.found()) {
            (Expected::Value, None) => "an empty value is written as ''",
            (_, Some(b"'")) => "a quoted value ends on the line it begins on, with a quote",
            (Expected::Value | Expected::EndOfLine, Some(_)) => {
                "write a value of this shape within single quotes"
            }
            (Expected::Name | Expected::EndOfLine, _) => return None,
        };
        Some(hint.into())
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How much is shown of a long line, before its error and from there on.
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

/// Bytes for a terminal: text as it is, everything that would move the cursor escaped.
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

/// Everything in one file that the server would reject; see [`Document::check`].
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

    /// Returns whether the server abandons the file there and reads none of the lines that follow.
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
