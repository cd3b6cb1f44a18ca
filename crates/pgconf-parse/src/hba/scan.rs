//! The grammar of `pg_hba.conf` and `pg_ident.conf`: PostgreSQL's `src/backend/libpq/hba.c`.
//!
//! A file is a sequence of logical lines, which `tokenize_auth_file` collects. A line is a sequence
//! of tokens, which `next_token` splits off:
//!
//! ```text
//! line    = { blank | "," } [ token { "," | blank } ... ] [ "#" comment ]
//! token   = { plain | quoted }
//! quoted  = '"' { any byte but '"' | '""' } [ '"' ]
//! blank   = space | tab | carriage return
//! ```

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2};
use winnow::Parser;
use winnow::combinator::{alt, opt, repeat};
use winnow::error::EmptyError;
use winnow::stream::LocatingSlice;
use winnow::stream::Location as _;
use winnow::token::{literal, take_till, take_while};

/// The longest line, with its newline, that a server before PostgreSQL 14 reads: one byte less
/// than `MAX_LINE`.
pub(crate) fn longest_line(major: u16) -> Option<usize> {
    match major {
        ..=10 => Some(8191),
        11..=13 => Some(20479),
        _ => None,
    }
}

/// The longest token that a server before PostgreSQL 16 reads: one byte less than `MAX_TOKEN`.
pub(crate) fn longest_token(major: u16) -> Option<usize> {
    match major {
        ..=10 => Some(255),
        11..=15 => Some(10239),
        _ => None,
    }
}

type Input<'i> = LocatingSlice<&'i [u8]>;

/// A token as written in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Its bytes with the quotes, as offsets into the logical line.
    pub(crate) span: Range<usize>,
    /// The token begins with a quote. Then keywords, `+` and `@` have no special meaning.
    pub(crate) quoted: bool,
    /// The token contains a quote, so its text differs from the text in the line.
    pub(crate) has_quotes: bool,
    /// A comma follows immediately, so the field continues.
    pub(crate) comma: bool,
}

impl Token {
    /// The token without its quotes.
    pub(crate) fn text<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let written = &line[self.span.clone()];
        if self.has_quotes {
            unquoted(written).into()
        } else {
            written.into()
        }
    }
}

/// Returns the next token of the line: `next_token`. `None` at the end or before a comment.
#[inline]
pub(crate) fn next_token(line: &[u8], at: &mut usize) -> Option<Token> {
    let rest = after_separators(&line[*at..]);
    let start = line.len() - rest.len();
    // Nearly every token has no quotes and is one run of bytes.
    let rest = after_plain(rest);
    let mut end = line.len() - rest.len();
    let mut next = rest.first();
    let has_quotes = next == Some(&b'"');
    let quoted = has_quotes && end == start;
    if has_quotes {
        end = start + length_of_quoted(&line[start..]);
        next = line.get(end);
    }
    *at = end;
    (start < end).then_some(Token {
        span: start..end,
        quoted,
        has_quotes,
        comma: next == Some(&b','),
    })
}

#[cold]
fn length_of_quoted(text: &[u8]) -> usize {
    let mut input = LocatingSlice::new(text);
    let has_ended = token.parse_next(&mut input);
    debug_assert!(has_ended.is_ok(), "any bytes are a token");
    input.current_token_start()
}

/// `token = { plain | quoted }`
fn token(input: &mut Input<'_>) -> Result<(), EmptyError> {
    repeat(0.., alt((plain, quoted))).parse_next(input)
}

/// Bytes that neither separate tokens nor begin a quotation or a comment.
fn plain(input: &mut Input<'_>) -> Result<(), EmptyError> {
    take_while(1.., |byte: u8| IS_PLAIN[usize::from(byte)])
        .void()
        .parse_next(input)
}

/// `quoted = '"' { any byte but '"' | '""' } [ '"' ]`
///
/// The end of the line ends a quotation as well: the server does not detect a missing quote.
fn quoted(input: &mut Input<'_>) -> Result<(), EmptyError> {
    let text = take_till(1.., b'"').void();
    let quote = literal(b"\"\"".as_slice()).void();
    let inside = repeat::<_, _, (), _, _>(0.., alt((text, quote)));
    (b'"', inside, opt(b'"')).void().parse_next(input)
}

/// Removes quotes. A doubled quote within a quotation becomes a single one.
fn unquoted(written: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(written.len());
    let mut within = false;
    let mut rest = written;
    while let Some(quote) = memchr(b'"', rest) {
        text.extend(&rest[..quote]);
        rest = &rest[quote + 1..];
        if within && rest.first() == Some(&b'"') {
            text.push(b'"');
            rest = &rest[1..];
        } else {
            within = !within;
        }
    }
    text.extend(rest);
    text
}

/// Returns whether servers before PostgreSQL 16 find the token too long. Their loop checks the
/// space that is left before it checks whether the next byte is a quote or a comma.
pub(crate) fn is_too_long(token: &Token, line: &[u8], longest: usize) -> bool {
    let mut stored = 0;
    let mut within = false;
    let mut after_quote = false;
    for &byte in line[token.span.clone()]
        .iter()
        .chain(token.comma.then_some(&b','))
    {
        if stored >= longest {
            return true;
        }
        if byte != b'"' || after_quote {
            stored += 1;
        }
        after_quote = within && byte == b'"' && !after_quote;
        within ^= byte == b'"';
    }
    false
}

#[inline]
fn after_separators(mut text: &[u8]) -> &[u8] {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    loop {
        // There are often many spaces between columns.
        while let Some((eight, rest)) = text.split_first_chunk() {
            let others = u64::from_le_bytes(*eight) ^ SPACES;
            if others != 0 {
                text = &text[others.trailing_zeros() as usize / 8..];
                break;
            }
            text = rest;
        }
        match text {
            [first, rest @ ..] if is_separator(*first) => text = rest,
            _ => return text,
        }
    }
}

#[inline]
fn after_plain(mut text: &[u8]) -> &[u8] {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // All bytes that end a run are less than a hyphen, and few others are.
    while let Some((eight, rest)) = text.split_first_chunk() {
        let eight = u64::from_le_bytes(*eight);
        let less = eight.wrapping_sub(ONES * u64::from(b'-')) & !eight & (ONES << 7);
        if less == 0 {
            text = rest;
            continue;
        }
        text = &text[less.trailing_zeros() as usize / 8..];
        match text {
            [first, rest @ ..] if IS_PLAIN[usize::from(*first)] => text = rest,
            _ => return text,
        }
    }
    while let [first, rest @ ..] = text {
        if !IS_PLAIN[usize::from(*first)] {
            break;
        }
        text = rest;
    }
    text
}

static IS_PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut separators = b" \t\r,\"#".as_slice();
    while let [first, rest @ ..] = separators {
        table[*first as usize] = false;
        separators = rest;
    }
    table
};

/// Source: `pg_isblank`, and the comma.
pub(crate) fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b',')
}

/// A logical line: a line with its continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The text without its newline, with continuation lines joined.
    pub(crate) text: Cow<'a, [u8]>,
    /// The places of the parts of the text.
    pub(crate) parts: Parts,
    /// Counted from 1.
    pub(crate) number: usize,
    /// Its bytes in the file, with the newline.
    pub(crate) span: Range<usize>,
    /// The line is longer than a server before PostgreSQL 14 can read.
    pub(crate) is_too_long: bool,
    /// The line ends with a newline and not with the end of the file.
    pub(crate) is_complete: bool,
}

/// The beginnings of the parts of a joined line, in its text and in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(Vec<(usize, usize)>);

impl Line<'_> {
    /// The place in the file of a byte of the text.
    pub(crate) fn offset(&self, at: usize) -> usize {
        let parts = &self.parts.0;
        if parts.is_empty() {
            return self.span.start + at;
        }
        match parts.partition_point(|&(start, _)| start <= at) {
            0 => self.span.start + at,
            n => parts[n - 1].1 + (at - parts[n - 1].0),
        }
    }

    /// The place in the file at which the text ends.
    pub(crate) fn end(&self) -> usize {
        let length = self.text.len();
        let parts = &self.parts.0;
        match parts.partition_point(|&(start, _)| start < length) {
            0 => self.span.start + length,
            n => parts[n - 1].1 + (length - parts[n - 1].0),
        }
    }

    /// Returns whether the line has only blanks, commas and a comment.
    pub(crate) fn is_boring(&self) -> bool {
        let first = self.text.iter().find(|&&byte| !is_separator(byte));
        !self.is_too_long && matches!(first, None | Some(b'#'))
    }
}

/// The logical lines of a file.
pub(crate) struct Lines<'a> {
    source: &'a [u8],
    at: usize,
    number: usize,
    /// None if lines can be continued and have any length.
    longest: Option<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(source: &'a [u8], major: u16) -> Self {
        Self {
            source,
            at: 0,
            number: 1,
            longest: longest_line(major),
        }
    }

    /// Continues at a line with this place and number.
    pub(crate) fn resume(source: &'a [u8], at: usize, number: usize, major: u16) -> Self {
        Self {
            at,
            number,
            ..Self::new(source, major)
        }
    }

    /// Source: `fgets` in `tokenize_file` before PostgreSQL 14. The rest of a line that is too long
    /// is read as another line.
    fn short(&mut self, longest: usize) -> Line<'a> {
        let start = self.at;
        let rest = &self.source[start..];
        let most = rest.len().min(longest);
        let newline = memchr(b'\n', &rest[..most]);
        let length = newline.map_or(most, |n| n + 1);
        let read = &rest[..length];
        let read = &read[..memchr(0, read).unwrap_or(length)];
        self.at = start + length;
        self.number += 1;
        Line {
            text: without_end(read).into(),
            parts: Parts::default(),
            number: self.number - 1,
            span: start..self.at,
            is_too_long: read.len() == longest,
            is_complete: newline.is_some(),
        }
    }

    /// Source: `tokenize_auth_file`, `pg_get_line_append` and `pg_strip_crlf`.
    ///
    /// DIFFERENCE: after a NUL byte the rest of the line is dropped with its newline, and the next
    /// line is appended. The server drops only the bytes that its buffer holds at that moment.
    fn continued(&mut self) -> Line<'a> {
        let start = self.at;
        let number = self.number;
        let rest = &self.source[start..];
        let end = memchr2(b'\n', 0, rest).unwrap_or(rest.len());
        let text = without_end(&rest[..end]);
        if rest.get(end) != Some(&0) && text.last() != Some(&b'\\') {
            let is_complete = end < rest.len();
            self.at = start + end + usize::from(is_complete);
            self.number += 1;
            return Line {
                text: text.into(),
                parts: Parts::default(),
                number,
                span: start..self.at,
                is_too_long: false,
                is_complete,
            };
        }
        self.joined(start, number)
    }

    /// Reads a line that is continued or has a NUL byte.
    #[cold]
    fn joined(&mut self, start: usize, number: usize) -> Line<'a> {
        let mut text = Vec::new();
        let mut parts = Vec::new();
        let mut continued_at = 0;
        let mut is_complete = false;
        self.number += 1;
        while self.at < self.source.len() {
            // One call of pg_get_line_append.
            let mut has_newline = false;
            while !has_newline && self.at < self.source.len() {
                let rest = &self.source[self.at..];
                let newline = memchr(b'\n', rest);
                let line = &rest[..newline.map_or(rest.len(), |n| n + 1)];
                let read = &line[..memchr(0, line).unwrap_or(line.len())];
                parts.push((text.len(), self.at));
                text.extend(read);
                self.at += line.len();
                has_newline = read.ends_with(b"\n");
            }
            text.truncate(without_end(&text).len());
            if text.len() > continued_at && text.last() == Some(&b'\\') {
                text.pop();
                continued_at = text.len();
                self.number += 1;
            } else {
                is_complete = has_newline;
                break;
            }
        }
        Line {
            text: text.into(),
            parts: Parts(parts),
            number,
            span: start..self.at,
            is_too_long: false,
            is_complete,
        }
    }
}

fn without_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = line {
        line = rest;
    }
    line
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.at >= self.source.len() {
            None
        } else {
            Some(match self.longest {
                None => self.continued(),
                Some(longest) => self.short(longest),
            })
        }
    }
}
