//! Why a server ended before it was ready.
//!
//! Facts come first: who holds the directory, whether the addresses are free, whether the server's own check accepts the
//! configuration. They are the same in every language. What the log says is looked at last, by what is not translated.

use std::io;
use std::net::{TcpListener, ToSocketAddrs as _};

use camino::Utf8PathBuf;
use pg_install::Program;
use pg_proc::{Found, Postmaster, Server, SocketPath};

use super::{StartError, StartErrorKind, StartOptions, TAIL};
use crate::control_data::{ControlData, ControlState};
use crate::{Cluster, ConfigurationProblem, listening};

/// The error for a server of ours that has ended. Without options it was started some time ago, with settings that are not known any more.
pub(super) fn of_end(
    cluster: &Cluster,
    server: &Server,
    options: Option<&StartOptions>,
) -> StartError {
    let log = log_of(server);
    let defaults = StartOptions::new();
    let options = options.unwrap_or(&defaults);
    let kind = held(cluster, server)
        .or_else(|| configuration(cluster, options))
        .or_else(|| address(cluster, options))
        .or_else(|| full_disk(cluster))
        .or_else(|| shared_memory(&log))
        .or_else(|| recovery(cluster, &log))
        .unwrap_or_else(|| StartErrorKind::Ended {
            status: server.exit_status(),
            message: last_words(&log),
        });
    StartError::new(cluster.data_directory(), kind).with_log(log)
}

pub(super) fn log_of(server: &Server) -> String {
    String::from_utf8_lossy(&server.log_tail(TAIL).unwrap_or_default()).into_owned()
}

fn held(cluster: &Cluster, server: &Server) -> Option<StartErrorKind> {
    match cluster.find().ok()? {
        Found::Running(other) if other.pid() != server.pid() => {
            Some(StartErrorKind::Held(other.pid()))
        }
        Found::SingleUser(pid) | Found::OtherUsers { pid, .. } => Some(StartErrorKind::Held(pid)),
        _ => None,
    }
}

/// Has the server read the same configuration again, in English.
fn configuration(cluster: &Cluster, options: &StartOptions) -> Option<StartErrorKind> {
    let error = cluster
        .command(Program::Postgres)
        .ok()?
        .current_dir(cluster.data_directory())
        .args(cluster.server_arguments(options))
        .args(["-c", "lc_messages=C", "-C", "port"])
        .run(options.timeout)
        .err()?;
    error.status()?;
    let said = String::from_utf8_lossy(&error.stderr);
    Some(StartErrorKind::Configuration(
        ConfigurationProblem::read_all_or_whole(&said),
    ))
}

/// Tries what the server tried, with the same socket options.
fn address(cluster: &Cluster, options: &StartOptions) -> Option<StartErrorKind> {
    let listening = listening::before_start(cluster, options);
    let port = listening.port;
    for directory in &listening.socket_directories {
        let socket = SocketPath::new(directory, port).ok()?;
        // Our own server has gone, and has taken its lock files with it.
        let owner = socket
            .read_lock()
            .ok()
            .flatten()
            .and_then(|lock| lock.data_directory);
        let found = owner.and_then(|directory| Postmaster::find(&directory).ok());
        if matches!(found, Some(Found::Running(_) | Found::OtherUsers { .. })) {
            return Some(StartErrorKind::AddressInUse(socket.socket().to_string()));
        }
    }
    for host in &listening.tcp_hosts {
        let Ok(mut addresses) = (host.as_str(), port).to_socket_addrs() else {
            continue;
        };
        let taken = addresses.find(|address| {
            TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
        });
        if let Some(address) = taken {
            return Some(StartErrorKind::AddressInUse(address.to_string()));
        }
    }
    None
}

fn full_disk(cluster: &Cluster) -> Option<StartErrorKind> {
    let pg_wal = cluster.data_directory().join("pg_wal");
    [cluster.data_directory().to_owned(), pg_wal]
        .into_iter()
        .find(|path: &Utf8PathBuf| {
            pg_proc::available_space(path).is_ok_and(|bytes| bytes < 64 << 10)
        })
        .map(StartErrorKind::DiskFull)
}

/// The failed system calls stand in the server's DETAIL in every language.
fn shared_memory(log: &str) -> Option<StartErrorKind> {
    const SIGNS: [&str; 5] = [
        "shmget(",
        "shmat(",
        "shmctl(",
        "pre-existing shared memory block",
        "anonymous shared memory",
    ];
    let line = log
        .lines()
        .find(|line| SIGNS.iter().any(|sign| line.contains(sign)))?;
    Some(StartErrorKind::SharedMemory(
        without_prefix(line).to_owned(),
    ))
}

fn recovery(cluster: &Cluster, log: &str) -> Option<StartErrorKind> {
    let state = ControlData::read(cluster.data_directory()).ok()?.state;
    matches!(
        state,
        ControlState::CrashRecovery | ControlState::ArchiveRecovery
    )
    .then(|| StartErrorKind::Recovery(last_words(log)))
}

/// The first message of the highest severity that there is. Severities are translated; those of programs that speak English are known.
fn last_words(log: &str) -> String {
    let of = |severity: &str| log.lines().find(|line| line.contains(severity));
    let line = of("PANIC:  ")
        .or_else(|| of("FATAL:  "))
        .or_else(|| log.lines().rfind(|line| !line.trim().is_empty()));
    line.map_or_else(
        || "it wrote nothing to its log".to_owned(),
        |line| without_prefix(line).to_owned(),
    )
}

/// The message behind time, process number and severity.
fn without_prefix(line: &str) -> &str {
    line.split_once(":  ")
        .map_or(line, |(_, message)| message)
        .trim()
}
