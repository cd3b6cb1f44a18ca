//! Removal and addition of quotes and escapes.

use std::borrow::Cow;

use memchr::memchr;

use crate::syntax::scan::{self, Token};

/// Returns the value that the server reads from a value token, which may have quotes and escapes.
///
/// Source: `DeescapeQuotedString` in guc-file.l (`GUC_scanstr` before PostgreSQL 14). The C
/// function stops at a NUL byte and drops the byte before it as the closing quote: `'xy<NUL>z'` is
/// read as `x`. The escape `\000` ends the value.
///
/// DIFFERENCE: if a value begins with a NUL byte (not `\000`), the server reads uninitialized
/// memory. This crate reads an empty value.
#[inline]
pub(crate) fn unquote(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(body) = raw.strip_prefix(b"'") else {
        return Cow::Borrowed(raw);
    };
    let inner = &body[..body.len().saturating_sub(1)];
    if scan::is_rewritten(inner) {
        Cow::Owned(deescape(body))
    } else {
        Cow::Borrowed(inner)
    }
}

#[cold]
fn deescape(body: &[u8]) -> Vec<u8> {
    let body = &body[..memchr(0, body).unwrap_or(body.len())];
    let byte = |at: usize| body.get(at).copied().unwrap_or(0);
    let mut value = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        match (body[at], byte(at + 1)) {
            (b'\\', escaped) => {
                at += 1;
                value.push(match escaped {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0'..=b'7' => {
                        let mut octal = 0u32;
                        let mut digits = 0;
                        while digits < 3 && matches!(byte(at + digits), b'0'..=b'7') {
                            octal = octal * 8 + u32::from(byte(at + digits) - b'0');
                            digits += 1;
                        }
                        at += digits - 1;
                        // The lower eight bits of \400 to \777 are kept, as by a C cast to char.
                        octal as u8
                    }
                    other => other,
                });
            }
            (b'\'', b'\'') => {
                at += 1;
                value.push(b'\'');
            }
            (other, _) => value.push(other),
        }
        at += 1;
    }
    value.pop();
    if let Some(end) = memchr(0, &value) {
        value.truncate(end);
    }
    value
}

/// Returns whether the value can be written without quotes. The server accepts bytes beyond ASCII
/// without quotes, but other programs that read such files do not.
pub(crate) fn may_stand_bare(value: &[u8]) -> bool {
    value.is_ascii()
        && matches!(
            scan::sole_token(value),
            Some(Token::Id | Token::Integer | Token::Real | Token::UnquotedString)
        )
}

/// Appends the value in quotes. The server reads the same value, provided that it contains no NUL.
pub(crate) fn quote(value: &[u8], quoted: &mut Vec<u8>) {
    quoted.push(b'\'');
    for &byte in value {
        match byte {
            b'\'' => quoted.extend(b"''"),
            b'\\' => quoted.extend(br"\\"),
            // A quoted value cannot contain a newline. It can contain a carriage return, but
            // editors and version control systems may convert it as a line end.
            b'\n' => quoted.extend(br"\n"),
            b'\r' => quoted.extend(br"\r"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
}
