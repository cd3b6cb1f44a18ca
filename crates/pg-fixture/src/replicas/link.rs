//! The connection of a standby to the server that it follows, through this process.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::wire::ErrorFields;
use pg_proc::{Account, Maker};

use super::error::ReplicaErrorKind;
use crate::temp_cluster::PORT;

/// A socket that a standby takes for that of the server that it follows.
///
/// Each connection is passed on by two threads. While the link is [closed](Self::close) they hold
/// back what they have read: neither server sees its connection end, as in a network that has lost
/// a cable.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    socket: Utf8PathBuf,
    acceptor: Option<JoinHandle<()>>,
    maker: Maker,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The socket of the server that is followed.
    upstream: Utf8PathBuf,
    is_open: bool,
    is_over: bool,
    /// The number of the last connection, and its two ends as long as it lasts.
    number: u64,
    connections: Vec<(u64, [UnixStream; 2])>,
    /// The connection over which the WAL comes.
    streaming: Option<u64>,
    problem: Option<Problem>,
}

/// The reason why the last connection did not stream.
#[derive(Clone, Debug)]
enum Problem {
    Unreachable(io::ErrorKind),
    Refused { code: String, message: String },
}

/// The number of bytes that are passed on at once.
const BUFFER: usize = 64 << 10;

impl Link {
    /// A link in this directory, which only the caller can write to, for the account alone.
    pub(super) fn open(
        directory: &Utf8Path,
        account: Option<&Account>,
        upstream: Utf8PathBuf,
    ) -> io::Result<Self> {
        let socket = directory.join(format!(".s.PGSQL.{PORT}"));
        let listener = UnixListener::bind(&socket)?;
        // Who connects here comes to the other server as this user.
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
        if let Some(account) = account {
            chown(&socket, Some(account.uid()), Some(account.gid()))?;
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                upstream,
                is_open: true,
                is_over: false,
                number: 0,
                connections: Vec::new(),
                streaming: None,
                problem: None,
            }),
            changed: Condvar::new(),
        });
        let accepts = Arc::clone(&shared);
        let acceptor = named().spawn(move || accepts.accept(&listener))?;
        Ok(Self {
            shared,
            socket,
            acceptor: Some(acceptor),
            maker: Maker::this_process(),
        })
    }

    /// Lets nothing through, in either direction, and ends no connection.
    pub(super) fn close(&self) {
        self.shared.lock().is_open = false;
    }

    /// Lets everything through again, and what was held back first.
    pub(super) fn reopen(&self) {
        self.shared.lock().is_open = true;
        self.shared.changed.notify_all();
    }

    pub(super) fn is_open(&self) -> bool {
        self.shared.lock().is_open
    }

    /// Leads to another server from now on.
    pub(super) fn lead_to(&self, upstream: Utf8PathBuf) {
        let mut state = self.shared.lock();
        state.upstream = upstream;
        state.cut();
    }

    /// Waits until WAL streams, and returns the reason if the other server refuses.
    pub(super) fn wait_streaming(&self, limit: Duration) -> Result<(), ReplicaErrorKind> {
        let begun = Instant::now();
        let mut state = self.shared.lock();
        loop {
            if state.streaming.is_some() && state.is_open {
                return Ok(());
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(match state.reason() {
                    Some(reason) => reason,
                    None => ReplicaErrorKind::NotStreaming(limit),
                });
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns why no WAL streams; none if WAL streams, or if the reason is not known.
    pub(super) fn problem(&self) -> Option<ReplicaErrorKind> {
        let state = self.shared.lock();
        match state.streaming {
            Some(_) if state.is_open => None,
            _ => state.reason(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A forked copy has none of the threads.
        if !self.maker.is_this_process() {
            return;
        }
        {
            let mut state = self.shared.lock();
            state.is_over = true;
            state.cut();
        }
        self.shared.changed.notify_all();
        // The acceptor looks at the state after each connection.
        if UnixStream::connect(&self.socket).is_ok()
            && let Some(acceptor) = self.acceptor.take()
        {
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn cut(&mut self) {
        for stream in self.connections.iter().flat_map(|(_, ends)| ends) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.connections.clear();
        self.streaming = None;
        self.problem = None;
    }

    fn reason(&self) -> Option<ReplicaErrorKind> {
        if !self.is_open {
            return Some(ReplicaErrorKind::Disconnected);
        }
        Some(match self.problem.clone()? {
            Problem::Unreachable(kind) => ReplicaErrorKind::Unreachable(kind.into()),
            Problem::Refused { code, message } => ReplicaErrorKind::Refused { code, message },
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once the link is open; none if it is over.
    fn when_open(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        while !state.is_open && !state.is_over {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        (!state.is_over).then_some(state)
    }

    fn accept(self: &Arc<Self>, listener: &UnixListener) {
        loop {
            let accepted = listener.accept();
            if self.lock().is_over {
                return;
            }
            match accepted {
                Ok((standby, _)) => {
                    let shared = Arc::clone(self);
                    // Without a thread the standby sees its connection end, and tries again.
                    let _ = named().spawn(move || shared.serve(standby));
                }
                // Of a process without descriptors, for example.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn serve(self: &Arc<Self>, standby: UnixStream) {
        let Some(upstream) = self.when_open().map(|state| state.upstream.clone()) else {
            return;
        };
        let connected = UnixStream::connect(&upstream).and_then(|server| {
            let ends = [standby.try_clone()?, server.try_clone()?];
            let others = [standby.try_clone()?, server.try_clone()?];
            Ok((server, ends, others))
        });
        let (server, ends, [mut from_standby, mut to_server]) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                self.lock().problem = Some(Problem::Unreachable(error.kind()));
                return self.changed.notify_all();
            }
        };
        let number = {
            let mut state = self.lock();
            // The link may lead elsewhere by now.
            if state.is_over || state.upstream != upstream {
                return;
            }
            state.number += 1;
            let number = state.number;
            state.connections.push((number, ends));
            number
        };
        let shared = Arc::clone(self);
        let other_way = named().spawn(move || {
            shared.pass_on(&mut from_standby, &mut to_server, |_| {});
        });
        if other_way.is_ok() {
            let (mut server, mut standby) = (server, standby);
            let mut answers = Answers::default();
            self.pass_on(&mut server, &mut standby, |bytes| {
                answers.read(bytes, |answer| self.note(number, answer));
            });
        }
        let mut state = self.lock();
        state.connections.retain(|(found, ends)| {
            if *found == number {
                for end in ends {
                    let _ = end.shutdown(Shutdown::Both);
                }
            }
            *found != number
        });
        if state.streaming == Some(number) {
            state.streaming = None;
        }
        drop(state);
        self.changed.notify_all();
    }

    fn pass_on(&self, from: &mut UnixStream, to: &mut UnixStream, mut look: impl FnMut(&[u8])) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let bytes = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => buffer.get(..n).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if self.when_open().is_none() {
                break;
            }
            look(bytes);
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        // The end of a connection does not get through a closed link either.
        drop(self.when_open());
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    fn note(&self, number: u64, answer: Answer) {
        let mut state = self.lock();
        // It may have been cut since it was read from.
        if !state.connections.iter().any(|(found, _)| *found == number) {
            return;
        }
        match answer {
            Answer::Streams => {
                state.streaming = Some(number);
                state.problem = None;
            }
            Answer::Error(code, message) => {
                state.streaming = None;
                state.problem = Some(Problem::Refused { code, message });
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn named() -> std::thread::Builder {
    std::thread::Builder::new().name("pg-cluster link".to_owned())
}

/// What a server answers, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// `CopyBothResponse`: the answer to `START_REPLICATION`.
    Streams,
    /// The code and the message of an error.
    Error(String, String),
}

/// Reads the messages of a server, of which any piece may come at a time. Over a Unix socket there
/// is neither TLS nor GSSAPI, so every byte belongs to a message.
#[derive(Debug, Default)]
struct Answers {
    head: Vec<u8>,
    /// The error that is being read.
    body: Vec<u8>,
    /// The bytes of the body that are still to come.
    left: usize,
}

/// No error is longer that is of use.
const LONGEST_ERROR: usize = 16 << 10;

impl Answers {
    fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Answer)) {
        while !bytes.is_empty() {
            if self.head.len() < 5 {
                let (part, rest) = bytes.split_at(bytes.len().min(5 - self.head.len()));
                self.head.extend(part);
                bytes = rest;
                if let [kind, a, b, c, d] = *self.head.as_slice() {
                    let length = u32::from_be_bytes([a, b, c, d]).saturating_sub(4);
                    self.left = usize::try_from(length).unwrap_or(usize::MAX);
                    if kind == b'W' {
                        tell(Answer::Streams);
                    }
                }
            } else {
                let (part, rest) = bytes.split_at(bytes.len().min(self.left));
                self.left -= part.len();
                bytes = rest;
                if self.head.first() == Some(&b'E') && self.body.len() < LONGEST_ERROR {
                    self.body.extend(part);
                }
            }
            if self.head.len() == 5 && self.left == 0 {
                if self.head.first() == Some(&b'E') {
                    let fields = ErrorFields::parse(&self.body);
                    let code = fields.code.unwrap_or_default().into_owned();
                    tell(Answer::Error(code, fields.message.into_owned()));
                }
                self.head.clear();
                self.body.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IW\0\0\0\x07\0\0\0d\0\0\0\x06ab\
                             E\0\0\0\x12C58P01\0Mgone\0\0";

    #[test]
    fn answers_are_read_in_any_pieces() {
        for size in 1..SESSION.len() {
            let (mut answers, mut told) = (Answers::default(), Vec::new());
            for piece in SESSION.chunks(size) {
                answers.read(piece, |answer| told.push(answer));
            }
            let error = Answer::Error("58P01".to_owned(), "gone".to_owned());
            assert_eq!(told, [Answer::Streams, error], "in pieces of {size}");
        }
    }

    /// A link whose other end is a listener of the test.
    fn link() -> (tempfile::TempDir, Link, UnixListener, UnixStream) {
        let room = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(room.path()).unwrap().to_owned();
        let upstream = path.join("upstream");
        let server = UnixListener::bind(&upstream).unwrap();
        let link = Link::open(&path, None, upstream).unwrap();
        let standby = UnixStream::connect(&link.socket).unwrap();
        (room, link, server, standby)
    }

    #[test]
    fn a_closed_link_holds_everything_back_and_ends_nothing() {
        let (_room, link, listener, mut standby) = link();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(SESSION.get(..20).unwrap()).unwrap();
        let mut begun = [0; 20];
        standby.read_exact(&mut begun).unwrap();
        link.wait_streaming(Duration::from_secs(60)).unwrap();
        link.close();
        assert!(matches!(
            link.problem(),
            Some(ReplicaErrorKind::Disconnected)
        ));
        let waited = link.wait_streaming(Duration::ZERO).unwrap_err();
        assert!(
            matches!(waited, ReplicaErrorKind::Disconnected),
            "{waited:?}"
        );
        server.write_all(b"x").unwrap();
        standby
            .set_read_timeout(Some(Duration::from_millis(30)))
            .unwrap();
        let held_back = standby.read(&mut begun).unwrap_err();
        assert_eq!(held_back.kind(), io::ErrorKind::WouldBlock);
        standby.set_read_timeout(None).unwrap();
        link.reopen();
        assert_eq!(standby.read(&mut begun).unwrap(), 1);
        assert!(link.problem().is_none());
    }

    #[test]
    fn a_link_that_leads_elsewhere_ends_what_there_was() {
        let (room, link, listener, mut standby) = link();
        let (mut server, _) = listener.accept().unwrap();
        let nowhere = Utf8Path::from_path(room.path()).unwrap().join("nowhere");
        link.lead_to(nowhere);
        assert_eq!(standby.read(&mut [0]).unwrap(), 0);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        let mut again = UnixStream::connect(&link.socket).unwrap();
        assert_eq!(again.read(&mut [0]).unwrap_or(0), 0);
        // What the server that is followed no more had sent before.
        link.shared.note(1, Answer::Streams);
        let error = link.wait_streaming(Duration::ZERO).unwrap_err();
        assert!(
            matches!(error, ReplicaErrorKind::Unreachable(_)),
            "{error:?}"
        );
    }
}
