//! Why a server ended before it was ready.
//!
//! Facts come first: who holds the directory, whether the addresses are free, whether the server's
//! own check accepts the configuration. They are the same in every language. What the log says is
//! looked at last, by what is not translated.

use std::io;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_install::Program;
use pg_proc::{Endpoint, Found, Ping, Postmaster, Server, SocketPath};

use super::{StartError, StartErrorKind, StartOptions};
use crate::cluster::OwnServer;
use crate::control_data::{ControlData, ControlState};
use crate::{Cluster, ConfigurationProblem, listening};

/// The error for a server of ours that has ended.
pub(super) fn of_end(cluster: &Cluster, server: &OwnServer) -> StartError {
    let OwnServer {
        process, options, ..
    } = server;
    // What it leaves behind for a moment may still be writing the log.
    let _ = process.wait_gone(Duration::from_secs(1));
    let log = server.log_tail().unwrap_or_default();
    let kind = held(cluster, process)
        .or_else(|| configuration(cluster, options))
        .or_else(|| access_rules(cluster, &log))
        .or_else(|| address(cluster, options, &log))
        .or_else(|| full_disk(cluster, &log))
        .or_else(|| shared_memory(&log))
        .or_else(|| recovery(cluster, &log))
        .unwrap_or_else(|| StartErrorKind::Ended {
            status: process.exit_status(),
            message: last_words(&log),
        });
    StartError::new(cluster.data_directory(), kind).with_log(log)
}

fn held(cluster: &Cluster, server: &Server) -> Option<StartErrorKind> {
    // A winner that has made its lock file and not yet filled it.
    for _ in 0..20 {
        match cluster.find().ok()? {
            Found::Running(other) if other.pid() != server.pid() => {
                return Some(StartErrorKind::Held(other.pid()));
            }
            Found::SingleUser(pid) | Found::OtherUsers { pid, .. } => {
                return Some(StartErrorKind::Held(pid));
            }
            Found::Stale(stale) if stale.pid_file.is_none() => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => return None,
        }
    }
    None
}

/// Has the server read the same configuration again, in English.
fn configuration(cluster: &Cluster, options: &StartOptions) -> Option<StartErrorKind> {
    let error = cluster
        .english_command(Program::Postgres)
        .ok()?
        .current_dir(cluster.data_directory())
        .args(cluster.server_arguments(options))
        .args(["-c", "lc_messages=C", "-C", "port"])
        .run(options.timeout)
        .err()?;
    // What it wrote counts, also where its status was not seen.
    let said = String::from_utf8_lossy(&error.stderr);
    let problems = ConfigurationProblem::read_all(&said);
    // A program that cannot be loaded says nothing like that, and another reason is to be looked
    // for.
    if problems.is_empty() && !said.contains("FATAL:  ") {
        return None;
    }
    Some(StartErrorKind::Configuration(
        ConfigurationProblem::read_all_or_whole(&said),
    ))
}

/// `pg_hba.conf` and `pg_ident.conf` are not read by that check. The server's log names the file
/// and the line in every language (`tokenize_auth_file` and `parse_hba_line` in
/// src/backend/libpq/hba.c); what is wrong stands in the line above.
fn access_rules(cluster: &Cluster, log: &str) -> Option<StartErrorKind> {
    let lines: Vec<&str> = log.lines().collect();
    for file in [cluster.hba_file(), cluster.ident_file()] {
        let problems: Vec<ConfigurationProblem> = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.contains(file.as_str()))
            .filter_map(|(n, line)| {
                let number = without_prefix(&line.replace(file.as_str(), ""))
                    .split(|c: char| !c.is_ascii_digit())
                    .find_map(|digits| digits.parse().ok());
                let message = match number {
                    Some(_) => lines.get(n.checked_sub(1)?)?,
                    None => line,
                };
                Some(ConfigurationProblem {
                    file: Some(file.clone()),
                    line: number,
                    message: without_prefix(message).to_owned(),
                })
            })
            .collect();
        // The closing complaint about the whole file has no line.
        let mut told: Vec<_> = problems
            .iter()
            .filter(|p| p.line.is_some())
            .cloned()
            .collect();
        if told.is_empty() {
            told = problems;
        }
        if !told.is_empty() {
            return Some(StartErrorKind::Configuration(told));
        }
    }
    None
}

/// Tries what the server tried, with the same socket options.
fn address(cluster: &Cluster, options: &StartOptions, log: &str) -> Option<StartErrorKind> {
    let listening = listening::before_start(cluster, options);
    let port = listening.port;
    for directory in &listening.socket_directories {
        let Ok(socket) = SocketPath::new(directory, port) else {
            continue;
        };
        // Our own server has gone, and has taken its lock files with it.
        let owner = socket
            .read_lock()
            .ok()
            .flatten()
            .and_then(|lock| lock.data_directory);
        let found = owner.and_then(|directory| Postmaster::find(&directory).ok());
        let in_use = matches!(found, Some(Found::Running(_) | Found::OtherUsers { .. }))
            || is_served(socket.clone());
        if in_use {
            return Some(StartErrorKind::AddressInUse(socket.socket().to_string()));
        }
        // What the server says of its lock file names the file in every language.
        if log.contains(socket.lock_file().as_str()) {
            return Some(if socket.lock_file().exists() {
                StartErrorKind::AddressInUse(socket.socket().to_string())
            } else {
                StartErrorKind::SocketDirectory {
                    path: directory.clone(),
                    cause: io::ErrorKind::PermissionDenied.into(),
                }
            });
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

/// Whether somebody listens there, be it a PostgreSQL server or not.
fn is_served(socket: SocketPath) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    match pg_proc::ping(&Endpoint::unix(socket), ADDRESS_PATIENCE) {
        Ping::NoResponse(error) => {
            ![ConnectionRefused, NotFound, PermissionDenied].contains(&error.kind())
        }
        _ => true,
    }
}

/// How long somebody who listens may take to answer, or not.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(1);

/// What was written last may have been removed again: then there is room, but not enough.
fn full_disk(cluster: &Cluster, log: &str) -> Option<StartErrorKind> {
    let data = cluster.data_directory().to_owned();
    let wal = data.join("pg_wal");
    let room = |path: &Utf8PathBuf| pg_proc::available_space(path).unwrap_or(u64::MAX);
    let said = log.contains("No space left on device");
    let wal_failed = log.contains("pg_wal/");
    if room(&data) < 64 << 10 {
        Some(StartErrorKind::DiskFull(data))
    } else if room(&wal) < 64 << 10 || ((said || wal_failed) && room(&wal) < WAL_SEGMENT) {
        Some(StartErrorKind::DiskFull(wal))
    } else if said {
        Some(StartErrorKind::DiskFull(data))
    } else {
        None
    }
}

/// Of a cluster that was not made with another size.
const WAL_SEGMENT: u64 = 16 << 20;

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
    let recovering = match state {
        ControlState::CrashRecovery | ControlState::ArchiveRecovery => true,
        // Recovery was due, and the startup process came to an end before it had begun. Its number
        // is given in every language.
        ControlState::InProduction | ControlState::ShuttingDown => log.contains("(PID "),
        _ => false,
    };
    recovering.then(|| StartErrorKind::Recovery(last_words(log)))
}

/// The first message of the highest severity that there is. Severities are translated; those of
/// programs that speak English are known.
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
