//! Asking a server over its socket whether it accepts connections.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::deadline::Deadline;
use crate::files::socket::SocketPath;
use crate::wire::{self, ErrorFields, Message};

/// The address at which a server is asked whether it accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    address: Address,
    user: String,
    database: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Unix(SocketPath),
    Tcp(SocketAddr),
}

impl Endpoint {
    /// A Unix socket.
    pub fn unix(socket: SocketPath) -> Self {
        Self::at(Address::Unix(socket))
    }

    /// A TCP address, of version 4 or 6.
    pub fn tcp(address: SocketAddr) -> Self {
        Self::at(Address::Tcp(address))
    }

    /// Asks in the name of this user, `postgres` if not set. It need not exist, nor be able to log
    /// in: the answer that it cannot is an answer. The server may log it, though.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// Asks for this database, `postgres` if not set. It need not exist.
    #[must_use]
    pub fn database(mut self, database: impl Into<String>) -> Self {
        self.database = database.into();
        self
    }

    fn at(address: Address) -> Self {
        Self {
            address,
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
        }
    }
}

/// The response of a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ping {
    /// The server accepts connections. This does not mean that it accepts this user.
    Accepting,
    /// It is up, but does not accept connections now (SQLSTATE 57P03).
    Rejecting(Rejection),
    /// No answer, or none of a PostgreSQL server.
    NoResponse(io::Error),
}

impl Ping {
    /// Whether and when a server accepts connections.
    pub const fn is_accepting(&self) -> bool {
        matches!(self, Self::Accepting)
    }
}

/// The reason why a server does not accept connections.
///
/// The protocol has one code for all reasons. They differ only in the text, and that
/// only in English: servers with another `lc_messages` give [`Unspecified`](Self::Unspecified).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// "the database system is starting up"
    StartingUp,
    /// "the database system is shutting down"
    ShuttingDown,
    /// "the database system is in recovery mode": after the crash of a backend.
    InRecovery,
    /// "the database system is not accepting connections", or "not yet": a standby.
    NotAccepting,
    /// Any other text, with the message of the server.
    Unspecified(String),
}

/// Asks a server whether it accepts connections, as `pg_isready` does: by the answer to a startup
/// packet (protocol 3.0, PostgreSQL 7.4 and later). No password is needed or sent.
///
/// Any response but "cannot connect now" means that connections are accepted, including the
/// response that the user is unknown (`PQping`, `internal_ping` in
/// `src/interfaces/libpq/fe-connect.c`). If the server accepts the user, the session is terminated
/// properly at once.
///
/// The deadline covers everything, connecting too.
pub fn ping(endpoint: &Endpoint, deadline: impl Into<Deadline>) -> Ping {
    match converse(endpoint, deadline.into()) {
        Ok(ping) => ping,
        Err(e) => Ping::NoResponse(e),
    }
}

fn converse(endpoint: &Endpoint, deadline: Deadline) -> io::Result<Ping> {
    let socket = connect(&endpoint.address, deadline)?;
    let mut connection = Connection { socket, deadline };
    connection.write(&wire::startup(&[
        ("user", &endpoint.user),
        ("database", &endpoint.database),
    ]))?;
    loop {
        let Message { kind, body } = wire::read(&mut connection, LONGEST_MESSAGE)?;
        match kind {
            b'R' => {
                if body.starts_with(&[0, 0, 0, 0]) {
                    connection.end_session();
                }
                return Ok(Ping::Accepting);
            }
            b'E' => return judge_error(&body),
            // A notice, or a request for another protocol version. A peer that sends them endlessly
            // never lets a read block, and otherwise only a blocked read checks the deadline.
            b'N' | b'v' if !deadline.is_over() => {}
            b'N' | b'v' => return Err(io::ErrorKind::TimedOut.into()),
            _ => return Err(wire::not_postgresql()),
        }
    }
}

fn judge_error(body: &[u8]) -> io::Result<Ping> {
    let fields = ErrorFields::parse(body);
    match fields.code.as_deref() {
        Some("57P03") => Ok(Ping::Rejecting(rejection(fields.message.into_owned()))),
        Some(_) => Ok(Ping::Accepting),
        None => Err(wire::not_postgresql()),
    }
}

fn rejection(message: String) -> Rejection {
    let Some(state) = message.strip_prefix("the database system is ") else {
        return Rejection::Unspecified(message);
    };
    match state {
        "starting up" => Rejection::StartingUp,
        "shutting down" => Rejection::ShuttingDown,
        "in recovery mode" => Rejection::InRecovery,
        _ if state.starts_with("not ") => Rejection::NotAccepting,
        _ => Rejection::Unspecified(message),
    }
}

fn connect(address: &Address, deadline: Deadline) -> io::Result<OwnedFd> {
    loop {
        let result = match address {
            Address::Unix(path) => {
                let socket = new_socket(AddressFamily::UNIX)?;
                let address = SocketAddrUnix::new(path.socket().as_std_path())?;
                rustix::net::connect(&socket, &address).map(|()| socket)
            }
            Address::Tcp(address) => {
                let family = if address.is_ipv4() {
                    AddressFamily::INET
                } else {
                    AddressFamily::INET6
                };
                let socket = new_socket(family)?;
                match rustix::net::connect(&socket, address) {
                    Err(Errno::INPROGRESS | Errno::INTR) => {
                        wait(&socket, PollFlags::OUT, deadline)?;
                        rustix::net::sockopt::socket_error(&socket)?.map(|()| socket)
                    }
                    result => result.map(|()| socket),
                }
            }
        };
        match result {
            Ok(socket) => return Ok(socket),
            // The queue of a Unix socket is full, and no event reports when that changes.
            Err(Errno::AGAIN) if !deadline.is_over() => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    #[cfg(not(target_vendor = "apple"))]
    {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(rustix::net::socket_with(
            family,
            SocketType::STREAM,
            flags,
            None,
        )?)
    }
    #[cfg(target_vendor = "apple")]
    {
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::empty(), None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        crate::sys::set_nonblocking(&socket)?;
        Ok(socket)
    }
}

struct Connection {
    socket: OwnedFd,
    deadline: Deadline,
}

/// More than any answer to a startup packet takes.
const LONGEST_MESSAGE: usize = 64 * 1024;

impl Connection {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, no_sigpipe()) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(Errno::AGAIN) => wait(&self.socket, PollFlags::OUT, self.deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Terminates the session and waits until the server has received the message, so that the
    /// server does not log a broken connection. The result is known already, so errors are ignored.
    fn end_session(&mut self) {
        if self.write(&wire::message(b'X', &[])).is_err() {
            return;
        }
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        let mut rest = [0; 1024];
        while !self.deadline.is_over() && self.read(&mut rest).is_ok_and(|n| n > 0) {}
    }
}

impl Read for Connection {
    /// Waits until something arrives, no longer than the deadline allows.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.socket, &mut *buffer) {
                Ok(n) => return Ok(n),
                Err(Errno::AGAIN) => wait(&self.socket, PollFlags::IN, self.deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn no_sigpipe() -> rustix::net::SendFlags {
    #[cfg(not(target_vendor = "apple"))]
    {
        rustix::net::SendFlags::NOSIGNAL
    }
    #[cfg(target_vendor = "apple")]
    {
        rustix::net::SendFlags::empty()
    }
}

fn wait(socket: &OwnedFd, events: PollFlags, deadline: Deadline) -> io::Result<()> {
    match deadline.poll(&mut [PollFd::new(socket, events)]) {
        true => Ok(()),
        false => Err(io::ErrorKind::TimedOut.into()),
    }
}
