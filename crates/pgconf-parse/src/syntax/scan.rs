//! The grammar: PostgreSQL's `src/backend/utils/misc/guc-file.l`, and the loop of `ParseConfigFp`
//! that combines tokens to lines. There is one function per rule, with the rule above it.
//!
//! The rules are the same in every server from 9.1 to 18, so nothing here depends on a version. The
//! major versions differ in the paths of include directives, which [`crate::location`] builds.
//!
//! flex takes the longest match, and of several longest matches the first rule. Trying all eight
//! rules at every token would be slow, so [`token`] tries only the rules that can begin with the
//! first byte. The tests below check for arbitrary bytes that the result is that of flex.

use std::ops::Range;

use memchr::memchr;
use winnow::Parser;
use winnow::combinator::{alt, opt, peek};
use winnow::error::EmptyError;
use winnow::stream::Stream;
use winnow::token::{one_of, take_while};

type Input<'i> = &'i [u8];
type Matched<'i> = Result<&'i [u8], EmptyError>;

/// The token codes of guc-file.l. The end of input is represented by `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Id,
    QualifiedId,
    String,
    UnquotedString,
    Integer,
    Real,
    Equals,
    Eol,
    Error,
}

impl Token {
    fn is_name(self) -> bool {
        matches!(self, Self::Id | Self::QualifiedId)
    }

    /// A qualified identifier is not a value: `a = b.c` is a syntax error, `a = b.c.d` is not.
    fn is_value(self) -> bool {
        matches!(
            self,
            Self::Id | Self::String | Self::Integer | Self::Real | Self::UnquotedString
        )
    }
}

/// The content of one line, as offsets into the scanned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Only blanks and a comment.
    Empty,
    /// `name [=] value [# comment]`
    Assignment {
        name: Range<usize>,
        value: Range<usize>,
        equals: bool,
    },
    /// A line that the server rejects.
    Error {
        expected: Expected,
        /// The unexpected token. Empty if the line or the file ends too early.
        found: Range<usize>,
    },
}

/// The kind of token that the server would have accepted in place of the unexpected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// The name of a setting, at the beginning of a line.
    Name,
    /// A value: a word, a number, or a string in single quotes.
    Value,
    /// The end of the line, or a comment.
    EndOfLine,
}

/// Reads the line that starts at `start`: one iteration of the loop in `ParseConfigFp`. Returns
/// the line and the offset after its newline.
///
/// After an error the server reads tokens up to an end of line. Because only the rule of `\n`
/// matches a newline, searching for the newline gives the same result. The search is fast, and
/// linear in time even for a line full of unbalanced quotes.
#[inline]
pub(crate) fn line(source: &[u8], start: usize) -> (Line, usize) {
    let mut input = &source[start..];
    let _ = whitespace(&mut input);
    let mut ended = false;
    let line = match input.first() {
        None | Some(b'\n' | b'#') => Line::Empty,
        Some(_) => assignment(source, &mut input, &mut ended),
    };
    let at = source.len() - input.len();
    (line, if ended { at } else { end_of_line(source, at) })
}

/// Returns the offset after the newline that ends the line at `at`, or the end of the text.
#[inline]
fn end_of_line(source: &[u8], at: usize) -> usize {
    memchr(b'\n', &source[at..]).map_or(source.len(), |n| at + n + 1)
}

/// Reads `name [=] value` and the end of the line. Sets `ended` if the last token read was an end
/// of line, which can also be the case after an error.
#[inline]
fn assignment(source: &[u8], input: &mut Input<'_>, ended: &mut bool) -> Line {
    let mut next = || {
        let token = Located::next(source, input);
        *ended = token.is_end();
        token
    };
    let name = next();
    if !name.kind.is_some_and(Token::is_name) {
        return name.unexpected(Expected::Name);
    }
    let mut value = next();
    let equals = value.kind == Some(Token::Equals);
    if equals {
        value = next();
    }
    if !value.kind.is_some_and(Token::is_value) {
        return value.unexpected(Expected::Value);
    }
    let end = next();
    if end.is_end() {
        Line::Assignment {
            name: name.start..name.end,
            value: value.start..value.end,
            equals,
        }
    } else {
        end.unexpected(Expected::EndOfLine)
    }
}

/// A token with its range.
struct Located {
    kind: Option<Token>,
    start: usize,
    end: usize,
}

impl Located {
    #[inline(always)]
    fn next(source: &[u8], input: &mut Input<'_>) -> Self {
        let _ = whitespace(input);
        // If the line ends too early, the error is reported before the comment.
        let start = source.len() - input.len();
        let _ = comment(input);
        let kind = token(input);
        Self {
            kind,
            start,
            end: source.len() - input.len(),
        }
    }

    fn is_end(&self) -> bool {
        matches!(self.kind, None | Some(Token::Eol))
    }

    fn unexpected(self, expected: Expected) -> Line {
        let end = if self.is_end() { self.start } else { self.end };
        Line::Error {
            expected,
            found: self.start..end,
        }
    }
}

/// Reads a token from the input and returns its kind; `None` at the end of the input.
///
/// The function is inlined wherever a token is expected, so that each place has its own branches
/// for the processor to predict. A shared jump table would cost more than the rest of the line.
#[inline(always)]
fn token(input: &mut Input<'_>) -> Option<Token> {
    let start = *input;
    let first = *start.first()?;
    let kind = if class(LETTER)(first) {
        Ok(word(input))
    } else if first == b'=' {
        equals(input).map(|_| Token::Equals)
    } else if first == b'\n' {
        eol(input).map(|_| Token::Eol)
    } else if first == b'\'' {
        string(input).map(|_| Token::String)
    } else if class(DIGIT | SIGN_OR_DOT)(first) {
        number(input)
    } else {
        Err(EmptyError)
    };
    Some(kind.unwrap_or_else(|EmptyError| {
        // .               return GUC_ERROR;
        *input = &start[1..];
        Token::Error
    }))
}

/// The three rules that begin with a letter. The third rule matches at least as much as the first
/// two, so its match is the longest. Of the rules with a match of that length, the first wins.
#[inline]
fn word(input: &mut Input<'_>) -> Token {
    let start = *input;
    let goes_on = |rest: &[u8]| rest.first().is_some_and(|&byte| class(PUNCTUATION)(byte));
    if id(input).is_ok() && !goes_on(input) {
        return Token::Id;
    }
    *input = start;
    let Ok(mut text) = unquoted_string(input) else {
        return Token::Error;
    };
    if qualified_id(&mut text).is_ok() && text.is_empty() {
        Token::QualifiedId
    } else {
        Token::UnquotedString
    }
}

/// The two rules that begin with a sign, a digit or a dot. The longer match wins. If the real is
/// longer, its dot is at the end of the match of the integer.
#[inline]
fn number(input: &mut Input<'_>) -> Result<Token, EmptyError> {
    let start = *input;
    let is_integer = integer(input).is_ok();
    if is_integer && input.first() != Some(&b'.') {
        return Ok(Token::Integer);
    }
    let mut as_real = start;
    match real(&mut as_real) {
        Ok(_) => {
            *input = as_real;
            Ok(Token::Real)
        }
        Err(EmptyError) if is_integer => Ok(Token::Integer),
        Err(EmptyError) => Err(EmptyError),
    }
}

// LETTER          [A-Za-z_\200-\377]
const LETTER: u8 = 1 << 0;
// DIGIT           [0-9]
const DIGIT: u8 = 1 << 1;
// LETTER_OR_DIGIT [A-Za-z_0-9\200-\377]
const LETTER_OR_DIGIT: u8 = LETTER | DIGIT;
// HEXDIGIT        [0-9a-fA-F]
const HEXDIGIT: u8 = 1 << 2;
// The bytes because of which a quoted text differs from its value: [\0'\\]
const REWRITTEN: u8 = 1 << 3;
// The bytes of UNQUOTED_STRING that are not in LETTER_OR_DIGIT: [-._:/]
const PUNCTUATION: u8 = 1 << 4;
// [ \t\r]
const BLANK: u8 = 1 << 5;
// The bytes excluded by [^'\\\n] in STRING.
const NOT_PLAIN: u8 = 1 << 6;
// The bytes besides DIGIT with which an INTEGER or a REAL can begin.
const SIGN_OR_DOT: u8 = 1 << 7;

/// The classes of each byte.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = match b {
            b'a'..=b'f' | b'A'..=b'F' => LETTER | HEXDIGIT,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' | 0x80..=0xff => LETTER,
            b'0'..=b'9' => DIGIT | HEXDIGIT,
            b'-' | b'.' => PUNCTUATION | SIGN_OR_DOT,
            b':' | b'/' => PUNCTUATION,
            b'+' => SIGN_OR_DOT,
            b' ' | b'\t' | b'\r' => BLANK,
            b'\'' | b'\\' => NOT_PLAIN | REWRITTEN,
            b'\n' => NOT_PLAIN,
            0 => REWRITTEN,
            _ => 0,
        };
        byte += 1;
    }
    table
};

#[inline(always)]
fn class(mask: u8) -> impl Fn(u8) -> bool + Clone {
    move |byte| CLASS[byte as usize] & mask != 0
}

// SIGN            ("-"|"+")
#[inline]
fn sign(input: &mut Input<'_>) -> Result<u8, EmptyError> {
    one_of(b"-+").parse_next(input)
}

// INTEGER         {SIGN}?({DIGIT}+|0x{HEXDIGIT}+){UNIT_LETTER}*
#[inline]
fn integer<'i>(input: &mut Input<'i>) -> Matched<'i> {
    (
        opt(sign),
        alt((
            (b"0x", take_while(1.., class(HEXDIGIT))).void(),
            take_while(1.., class(DIGIT)).void(),
        )),
        // UNIT_LETTER     [a-zA-Z]
        take_while(0.., |byte: u8| byte.is_ascii_alphabetic()),
    )
        .take()
        .parse_next(input)
}

// EXPONENT        [Ee]{SIGN}?{DIGIT}+
#[inline]
fn exponent<'i>(input: &mut Input<'i>) -> Matched<'i> {
    (one_of(b"Ee"), opt(sign), take_while(1.., class(DIGIT)))
        .take()
        .parse_next(input)
}

// REAL            {SIGN}?{DIGIT}*"."{DIGIT}*{EXPONENT}?
#[inline]
fn real<'i>(input: &mut Input<'i>) -> Matched<'i> {
    (
        opt(sign),
        take_while(0.., class(DIGIT)),
        b'.',
        take_while(0.., class(DIGIT)),
        opt(exponent),
    )
        .take()
        .parse_next(input)
}

// ID              {LETTER}{LETTER_OR_DIGIT}*
#[inline]
fn id<'i>(input: &mut Input<'i>) -> Matched<'i> {
    peek(one_of(class(LETTER))).parse_next(input)?;
    take_while(1.., class(LETTER_OR_DIGIT)).parse_next(input)
}

// QUALIFIED_ID    {ID}"."{ID}
#[inline]
fn qualified_id<'i>(input: &mut Input<'i>) -> Matched<'i> {
    (id, b'.', id).take().parse_next(input)
}

// UNQUOTED_STRING {LETTER}({LETTER_OR_DIGIT}|[-._:/])*
#[inline]
fn unquoted_string<'i>(input: &mut Input<'i>) -> Matched<'i> {
    peek(one_of(class(LETTER))).parse_next(input)?;
    take_while(1.., class(LETTER_OR_DIGIT | PUNCTUATION)).parse_next(input)
}

// STRING          \'([^'\\\n]|\\.|\'\')*\'
//
// A combinator parser would read `''` as a doubled quote, and then miss the end of `'a''` if no
// other quote follows. flex goes back to the last quote at which the rule was complete.
#[inline]
fn string<'i>(input: &mut Input<'i>) -> Matched<'i> {
    let text = *input;
    b'\''.parse_next(&mut &*text)?;
    let mut at = 1;
    let mut complete = None;
    // Values are short, so a byte loop is faster than a vectorized search.
    while let Some(n) = text[at..].iter().position(|&byte| class(NOT_PLAIN)(byte)) {
        at += n;
        match (text[at], text.get(at + 1)) {
            (b'\'', next) => {
                complete = Some(at + 1);
                if next != Some(&b'\'') {
                    break;
                }
            }
            (b'\\', Some(next)) if *next != b'\n' => {}
            _ => break,
        }
        at += 2;
    }
    match complete {
        Some(length) => Ok(input.next_slice(length)),
        None => Err(EmptyError),
    }
}

/// Returns whether the value that the server reads differs from the text between the quotes.
#[inline]
pub(crate) fn is_rewritten(between_quotes: &[u8]) -> bool {
    between_quotes.iter().any(|&byte| class(REWRITTEN)(byte))
}

// =               return GUC_EQUALS;
#[inline]
fn equals(input: &mut Input<'_>) -> Result<u8, EmptyError> {
    b'='.parse_next(input)
}

// \n              ConfigFileLineno++; return GUC_EOL;
#[inline]
fn eol(input: &mut Input<'_>) -> Result<u8, EmptyError> {
    b'\n'.parse_next(input)
}

// [ \t\r]+        /* eat whitespace */
#[inline]
fn whitespace<'i>(input: &mut Input<'i>) -> Matched<'i> {
    take_while(1.., class(BLANK)).parse_next(input)
}

// #.*             /* eat comment (.* matches anything until newline) */
#[inline]
fn comment<'i>(input: &mut Input<'i>) -> Matched<'i> {
    if input.first() != Some(&b'#') {
        return Err(EmptyError);
    }
    let length = memchr(b'\n', input).unwrap_or(input.len());
    Ok(input.next_slice(length))
}

/// Returns the length of the prefix of letters, digits and dots, which are the bytes of names.
#[inline]
pub(crate) fn name_length(text: &[u8]) -> usize {
    text.iter()
        .take_while(|&&byte| byte == b'.' || class(LETTER_OR_DIGIT)(byte))
        .count()
}

/// Returns the kind of the token if `text` consists of exactly one.
pub(crate) fn sole_token(text: &[u8]) -> Option<Token> {
    let mut rest = text;
    token(&mut rest).filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The algorithm of flex: every rule is tried, the longest match wins, the first rule on a tie.
    fn token_of_flex(input: &mut Input<'_>) -> Option<Token> {
        type Rule = fn(&mut Input<'_>) -> bool;
        const RULES: &[(Rule, Token)] = &[
            (|i| eol(i).is_ok(), Token::Eol),
            (|i| id(i).is_ok(), Token::Id),
            (|i| qualified_id(i).is_ok(), Token::QualifiedId),
            (|i| string(i).is_ok(), Token::String),
            (|i| unquoted_string(i).is_ok(), Token::UnquotedString),
            (|i| integer(i).is_ok(), Token::Integer),
            (|i| real(i).is_ok(), Token::Real),
            (|i| equals(i).is_ok(), Token::Equals),
        ];
        let mut best = (input.get(1..)?, Token::Error);
        let mut longest = 0;
        for (rule, kind) in RULES {
            let mut rest = *input;
            if rule(&mut rest) && input.len() - rest.len() > longest {
                longest = input.len() - rest.len();
                best = (rest, *kind);
            }
        }
        *input = best.0;
        Some(best.1)
    }

    /// Matches STRING by trying every quote that could end it, from the last to the first.
    fn longest_string(text: &[u8]) -> Option<usize> {
        fn inside(mut text: &[u8]) -> bool {
            while let Some((first, rest)) = text.split_first() {
                text = match (first, rest.first()) {
                    (b'\\', Some(next)) if *next != b'\n' => &rest[1..],
                    (b'\'', Some(b'\'')) => &rest[1..],
                    (b'\\' | b'\'' | b'\n', _) => return false,
                    _ => rest,
                };
            }
            true
        }
        (1..text.len())
            .rev()
            .find(|&end| text[0] == b'\'' && text[end] == b'\'' && inside(&text[1..end]))
            .map(|end| end + 1)
    }

    proptest! {
        #[test]
        fn tokens_are_those_of_flex(text in confusing_bytes()) {
            let mut ours = text.as_slice();
            loop {
                let mut flex = ours;
                prop_assert_eq!(token(&mut ours), token_of_flex(&mut flex));
                prop_assert_eq!(ours, flex);
                if ours.is_empty() {
                    break;
                }
            }
        }

        #[test]
        fn a_string_ends_at_the_last_possible_quote(text in "'['\\\\x\n]{0,12}") {
            let mut rest = text.as_bytes();
            let ours = string(&mut rest).ok().map(<[u8]>::len);
            prop_assert_eq!(ours, longest_string(text.as_bytes()));
        }

        /// A line ends at its newline, whatever precedes it. Reading token by token up to an end of
        /// line, as the server does, ends at the same place.
        #[test]
        fn lines_end_at_the_end_of_line_token(text in confusing_bytes()) {
            let mut start = 0;
            while start < text.len() {
                let end = memchr(b'\n', &text[start..]).map_or(text.len(), |n| start + n + 1);
                let mut rest = &text[start..];
                loop {
                    let _ = whitespace(&mut rest);
                    let _ = comment(&mut rest);
                    if matches!(token(&mut rest), None | Some(Token::Eol)) {
                        break;
                    }
                }
                prop_assert_eq!(text.len() - rest.len(), end);
                prop_assert_eq!(line(&text, start).1, end);
                // The following lines do not affect the result.
                prop_assert_eq!(line(&text[..end], start), line(&text, start));
                start = end;
            }
        }
    }

    fn confusing_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => proptest::sample::select(&b"aex0.9_-+:/='\\\n#xE\0 \t\r\xe9"[..]),
            1 => any::<u8>(),
        ];
        proptest::collection::vec(byte, 0..24)
    }
}
