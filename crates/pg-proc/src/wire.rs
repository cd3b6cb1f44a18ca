//! Messages of PostgreSQL's frontend/backend protocol, version 3.0: how they are framed.
//!
//! This is not a client. It can find the boundaries of messages, begin a session, and take an error
//! apart (PostgreSQL manual, "Message Formats"). The caller interprets the messages.
//!
//! ```
//! use pg_proc::wire::{self, Message};
//!
//! let query = wire::message(b'Q', b"SELECT 1\0");
//! let Message { kind, body } = wire::read(&mut &query[..], 1024)?;
//! assert_eq!((kind, &body[..]), (b'Q', &b"SELECT 1\0"[..]));
//! # Ok::<(), std::io::Error>(())
//! ```

use std::borrow::Cow;
use std::io::{self, Read};

const PROTOCOL_3_0: u32 = 3 << 16;

/// A message from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has no other parts")]
pub struct Message {
    /// The type of the message, such as `b'E'` for an error.
    pub kind: u8,
    /// The bytes after its length.
    pub body: Vec<u8>,
}

/// The packet that begins a session: names and values of parameters, such as `user` and `database`.
/// Names and values end at their first zero byte; otherwise the bytes after it would become another
/// parameter.
pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        body.extend(text.bytes().take_while(|&byte| byte != 0));
        body.push(0);
    }
    body.push(0);
    with_length(Vec::new(), &body)
}

/// A message to a server, of this kind.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    with_length(vec![kind], body)
}

fn with_length(mut head: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
    head.extend(length.to_be_bytes());
    head.extend(body);
    head
}

/// Reads the next message, of at most `longest` bytes.
///
/// # Errors
///
/// Returns the errors of the reader, and [`InvalidData`](io::ErrorKind::InvalidData) if the length
/// is impossible or more than `longest`.
pub fn read(from: &mut impl Read, longest: usize) -> io::Result<Message> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [kind, a, b, c, d] = head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if !(4..=longest).contains(&length) {
        return Err(not_postgresql());
    }
    let mut body = vec![0; length - 4];
    from.read_exact(&mut body)?;
    Ok(Message { kind, body })
}

/// The fields of an error or a notice, as far as the protocol guarantees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorFields<'a> {
    /// The SQLSTATE, five characters. None if the message does not have one: then the sender is not
    /// PostgreSQL.
    pub code: Option<Cow<'a, str>>,
    /// The primary message, in the server's language.
    pub message: Cow<'a, str>,
    /// The detail, where there is one.
    pub detail: Option<Cow<'a, str>>,
    /// The hint, where there is one.
    pub hint: Option<Cow<'a, str>>,
}

impl<'a> ErrorFields<'a> {
    /// Takes the body of a message of kind `E` or `N` apart: a letter, text and a zero byte each.
    pub fn parse(body: &'a [u8]) -> Self {
        let mut fields = Self::default();
        for field in body.split(|&byte| byte == 0) {
            let Some((letter, text)) = field.split_first() else {
                continue;
            };
            let text = String::from_utf8_lossy(text);
            match letter {
                b'C' => fields.code = Some(text),
                b'M' => fields.message = text,
                b'D' => fields.detail = Some(text),
                b'H' => fields.hint = Some(text),
                _ => {}
            }
        }
        fields
    }
}

pub(crate) fn not_postgresql() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "this is not an answer of a PostgreSQL server",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_byte_begins_no_other_parameter() {
        let packet = startup(&[("user", "a\0replication\0true"), ("database", "d")]);
        assert_eq!(packet, b"\0\0\0\x1b\0\x03\0\0user\0a\0database\0d\0\0");
    }

    #[test]
    fn impossible_lengths_are_errors_before_anything_is_allocated() {
        for bytes in [&b"R\0\0\0\x03"[..], b"R\xff\xff\xff\xff", b"R\0\0\x04\x01"] {
            let error = read(&mut &bytes[..], 1024).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let cut = read(&mut &b"R\0\0\0\x08\0"[..], 1024).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn fields_of_errors() {
        let fields = ErrorFields::parse(b"SFATAL\0C57P03\0Mstarting\0Hwait\0\0");
        assert_eq!(fields.code.as_deref(), Some("57P03"));
        assert_eq!(fields.message, "starting");
        assert_eq!(
            (fields.detail, fields.hint.as_deref()),
            (None, Some("wait"))
        );
        assert_eq!(ErrorFields::parse(b""), ErrorFields::default());
    }
}
