//! Just enough of a client to run statements on a server of our own making: by Unix socket, with
//! `trust` authentication, simple queries, text values.
//!
//! It serves what temporary clusters need before the caller's client comes along (creating a
//! database). A real client would bring several times this crate's dependencies.

use std::io::{self, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::Utf8Path;
use pg_proc::Maker;
use pg_proc::wire::{self, ErrorFields, Message};

/// A session on a server's Unix socket.
#[derive(Debug)]
pub(crate) struct Session {
    stream: BufReader<UnixStream>,
    /// A forked process has a copy of the connection, and must not end the session.
    maker: Maker,
}

/// An error of a session or a statement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// The socket failed.
    #[error("talking to the server")]
    Io(#[from] io::Error),
    /// The server refused, with its SQLSTATE and its message.
    #[error("{message} (SQLSTATE {code})")]
    Server {
        /// Five characters (PostgreSQL manual, "PostgreSQL Error Codes").
        code: String,
        /// The primary message, in the server's language.
        message: String,
    },
    /// The server wants a kind of authentication that this session does not speak.
    #[error("the server asks for authentication of kind {0}, and only `trust` is spoken here")]
    Authentication(u32),
}

impl SqlError {
    /// The SQLSTATE, if the server refused.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Server { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns whether the session cannot be used any more: the connection failed, or the server
    /// ended it (class 57P, "Operator Intervention").
    pub(crate) fn ends_session(&self) -> bool {
        match self {
            Self::Io(_) | Self::Authentication(_) => true,
            Self::Server { code, .. } => code.starts_with("57P"),
        }
    }
}

/// The rows of a statement's result, as text; `None` is NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Longer messages than this do not come from the statements we send.
const LONGEST_MESSAGE: usize = 1 << 24;

impl Session {
    /// Connects by the socket `.s.PGSQL.PORT` in `directory`. Each single read or write may take as
    /// long as `patience`.
    pub(crate) fn open(
        directory: &Utf8Path,
        port: u16,
        user: &str,
        database: &str,
        patience: Duration,
    ) -> Result<Self, SqlError> {
        let stream = UnixStream::connect(directory.join(format!(".s.PGSQL.{port}")))?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut session = Self {
            stream: BufReader::new(stream),
            maker: Maker::this_process(),
        };
        session.send(&wire::startup(&[
            ("user", user),
            ("database", database),
            ("client_encoding", "UTF8"),
        ]))?;
        session.read_until_ready()?;
        Ok(session)
    }

    /// Runs one statement, or several separated by semicolons, and returns the rows of all of them.
    pub(crate) fn run(&mut self, sql: &str) -> Result<Rows, SqlError> {
        let mut text = sql.as_bytes().to_vec();
        text.push(0);
        self.send(&wire::message(b'Q', &text))?;
        self.read_until_ready()
    }

    /// Returns whether the calling process opened the session.
    pub(crate) fn is_own(&self) -> bool {
        self.maker.is_this_process()
    }

    /// Ends the session and waits until its backend has exited, so that nothing of it is connected
    /// to the database any more.
    pub(crate) fn close(mut self) -> Result<(), SqlError> {
        self.send(&wire::message(b'X', &[]))?;
        io::copy(&mut self.stream, &mut io::sink())?;
        Ok(())
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(packet)
    }

    /// Reads until the server is ready for the next statement. The first error is kept and returned
    /// then.
    fn read_until_ready(&mut self) -> Result<Rows, SqlError> {
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let Message { kind, body } = match wire::read(&mut self.stream, LONGEST_MESSAGE) {
                Ok(message) => message,
                // A fatal error is followed by the end of the stream, not by ReadyForQuery.
                Err(error) => return Err(failure.unwrap_or(error.into())),
            };
            match kind {
                b'Z' => return failure.map_or(Ok(rows), Err),
                b'D' => rows.push(
                    data_row(&body)
                        .ok_or(io::ErrorKind::InvalidData)
                        .map_err(io::Error::from)?,
                ),
                b'E' => {
                    failure.get_or_insert(server_error(&body));
                }
                b'R' => match body
                    .get(..4)
                    .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
                {
                    Some(0) => {}
                    other => return Err(SqlError::Authentication(other.unwrap_or(u32::MAX))),
                },
                _ => {}
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_own() {
            let _ = self.send(&wire::message(b'X', &[]));
        }
    }
}

/// Quotes an identifier, so that any name but one with NUL arrives as it is.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a string constant, so that it means the same with `standard_conforming_strings` on and
/// off.
pub(crate) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn server_error(body: &[u8]) -> SqlError {
    let ErrorFields { code, message, .. } = ErrorFields::parse(body);
    SqlError::Server {
        code: code.unwrap_or_default().into_owned(),
        message: message.into_owned(),
    }
}

fn data_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => row.push(None),
            Ok(length) => {
                let (value, tail) = rest.split_at_checked(length)?;
                row.push(Some(String::from_utf8_lossy(value).into_owned()));
                rest = tail;
            }
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// What a session makes of these bytes from a server.
    fn answer(bytes: &'static [u8]) -> Result<Rows, SqlError> {
        let room = tempfile::tempdir().unwrap();
        let room = Utf8Path::from_path(room.path()).unwrap();
        let listener = UnixListener::bind(room.join(".s.PGSQL.1")).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")
                .unwrap();
            stream.write_all(bytes).unwrap();
            // Until the client has hung up.
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        let outcome = Session::open(room, 1, "u", "d", Duration::from_millis(500))
            .and_then(|mut session| session.run("SELECT"));
        server.join().unwrap();
        outcome
    }

    #[test]
    fn rows_nulls_and_errors() {
        let rows = answer(b"D\0\0\0\x0f\0\x02\0\0\0\x01a\xff\xff\xff\xffZ\0\0\0\x05I").unwrap();
        assert_eq!(rows, [[Some("a".to_owned()), None]]);
        let error = answer(b"E\0\0\0\x12C42601\0Mbad\0\0Z\0\0\0\x05I").unwrap_err();
        assert_eq!(error.to_string(), "bad (SQLSTATE 42601)");
    }

    #[test]
    fn hostile_servers_are_errors() {
        for bytes in [
            &b"D\0\0\0\x01"[..],
            b"D\xff\xff\xff\xff",
            b"D\0\0\0\x06\xff\xffZ\0\0\0\x05I",
            b"",
        ] {
            assert!(matches!(answer(bytes), Err(SqlError::Io(_))), "{bytes:?}");
        }
    }
}
