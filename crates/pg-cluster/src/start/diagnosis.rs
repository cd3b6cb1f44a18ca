//! The reason why a server exited before it was ready.
//!
//! Facts come first: the process that holds the directory, the addresses in use, the server's own
//! check of its configuration. They do not depend on the language. The log comes last, and of it
//! the parts that are not translated.

use std::io::{self, Read as _};
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::Program;
use pg_proc::{
    ConfigurationProblem, ControlData, ControlState, Found, Server, ServerMessage, SocketPath,
    TakenAddress,
};

use super::error::{LIBRARIES, MISSING_FILE, PRE_EXISTING};
use super::{StartError, StartErrorKind, StartOptions};
use crate::cluster::OwnServer;
use crate::listening::Listening;
use crate::settings::SettingOrigin;
use crate::{Cluster, listening, parts};

/// Returns a reason, if it applies.
type Reason = fn(&Evidence<'_>) -> Option<StartErrorKind>;

/// The known reasons in the order in which they are tried: facts of the system before the log, and
/// certain ones before likely ones.
const REASONS: [Reason; 16] = [
    held,
    own_server,
    incomplete,
    recovery_target,
    memory_of_an_earlier_server,
    configuration,
    libraries,
    access_rules,
    missing_access_rules,
    address,
    socket_group,
    full_disk,
    shared_memory,
    no_space,
    statistics_directory,
    recovery,
];

/// The evidence after the exit of a server.
struct Evidence<'a> {
    cluster: &'a Cluster,
    options: &'a StartOptions,
    process: &'a Server,
    log: String,
    messages: Vec<ServerMessage>,
    listening: Listening,
}

/// The error for a server of this object that has exited.
pub(super) fn of_end(cluster: &Cluster, server: &OwnServer) -> StartError {
    let OwnServer {
        process, options, ..
    } = server;
    // Its child processes may still be writing the log.
    let _ = process.wait_gone(Duration::from_secs(1));
    let log = server.log_tail().unwrap_or_default();
    let evidence = Evidence {
        cluster,
        options,
        process,
        messages: ServerMessage::read_all(&log),
        log,
        listening: listening::before_start(cluster, options),
    };
    let kind = REASONS
        .iter()
        .find_map(|reason| reason(&evidence))
        .unwrap_or_else(|| StartErrorKind::Ended {
            status: process.exit_status(),
            message: evidence.last_words(),
        });
    let destination = evidence.log_destination();
    StartError::new(cluster.data_directory(), kind)
        .with_log(evidence.log)
        .with_log_destination(destination)
}

impl Evidence<'_> {
    /// The value of a setting at this start, and the file and line that it comes from; none if no
    /// file and no option sets it.
    fn setting(&self, name: &str) -> Option<(String, Option<SettingOrigin>)> {
        if let Some(value) = self.options.value_of(name) {
            return Some((value.to_owned(), None));
        }
        let history = self.cluster.settings().explain(name).ok()?;
        let origin = history.winner()?;
        Some((origin.value.clone(), Some(origin.clone())))
    }

    /// The error for a problem with a setting, with the place of the setting.
    fn problem(&self, name: &str, message: &ServerMessage) -> StartErrorKind {
        let origin = self.setting(name).and_then(|(_, origin)| origin);
        let line = origin
            .as_ref()
            .and_then(|origin| u32::try_from(origin.line).ok());
        let mut problem = ConfigurationProblem::from(message.clone());
        problem.message = format!("{name}: {}", message.message);
        let problem = problem.at(origin.map(|origin| origin.file), line);
        StartErrorKind::Configuration(vec![problem])
    }

    fn says(&self, words: &str) -> Option<&ServerMessage> {
        self.messages.iter().find(|message| message.contains(words))
    }

    /// The gravest message, if severities are known, or the last one.
    fn last_words(&self) -> Option<ServerMessage> {
        ServerMessage::gravest(&self.messages)
            .or(self.messages.last())
            .cloned()
    }

    /// The destination of the server's messages, if they cannot be read there.
    fn log_destination(&self) -> Option<String> {
        let (value, _) = self.setting("log_destination")?;
        let can_be_read = ["stderr", "csvlog", "jsonlog"];
        (!can_be_read.iter().any(|form| value.contains(form)))
            .then(|| format!("{value} (`log_destination`)"))
    }
}

fn held(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    // Another server may have created its lock file and not yet written to it.
    for _ in 0..20 {
        match evidence.cluster.find().ok()? {
            Found::Running(other) if other.pid() != evidence.process.pid() => {
                return Some(StartErrorKind::Held(other.pid()));
            }
            Found::SingleUser(pid) | Found::Unknown { pid, .. } => {
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

/// A server of this data directory that is known by its socket, without its `postmaster.pid`.
fn own_server(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let holders = evidence.listening.sockets();
    holders
        .filter_map(|socket| holder_of_socket(evidence, &socket))
        .find(|kind| matches!(kind, StartErrorKind::Held(_)))
}

/// The server reports only the first directory that is missing.
fn incomplete(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let missing = parts::missing(evidence.cluster);
    // `base` is excluded: it is part of many words, and is checked before the start.
    let is_said = |name: &String| name.contains('_') && evidence.log.contains(name.as_str());
    missing
        .iter()
        .any(is_said)
        .then_some(StartErrorKind::Incomplete(missing))
}

/// The number of bytes read of a file that the account of the server can write.
const LONGEST_FILE: u64 = 1 << 20;

fn recovery_target(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let is_asked_for = |value: &str| value.eq_ignore_ascii_case("shutdown");
    let by_setting = || {
        let (value, _) = evidence.setting("recovery_target_action")?;
        is_asked_for(&value).then_some(())
    };
    // Up to PostgreSQL 11; it has the grammar of `postgresql.conf`.
    let by_file = || {
        let path = evidence.cluster.data_directory().join("recovery.conf");
        let mut text = Vec::new();
        let file = pg_proc::open_regular_file(path).ok()?;
        file.take(LONGEST_FILE).read_to_end(&mut text).ok()?;
        let document = pgconf_parse::Document::parse(text);
        let value = document.get("recovery_target_action")?;
        is_asked_for(&value.value_lossy()).then_some(())
    };
    let state = ControlData::read(evidence.cluster.data_directory())
        .ok()?
        .state;
    let ended_well = evidence.process.exit_status()?.success();
    (ended_well && state == ControlState::ShutDownInRecovery)
        .then(|| by_setting().or_else(by_file))?
        .map(|()| StartErrorKind::RecoveryTarget)
}

/// Before the address, which processes of the earlier server may hold too.
fn memory_of_an_earlier_server(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let message = evidence.says(PRE_EXISTING)?;
    Some(StartErrorKind::SharedMemory(message.clone()))
}

/// Has the server read the same configuration again, in English.
fn configuration(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let cluster = evidence.cluster;
    let error = cluster
        .english_command(Program::Postgres)
        .ok()?
        .current_dir(cluster.data_directory())
        .args(cluster.server_arguments(evidence.options))
        .args(["-c", "lc_messages=C", "-C", "port"])
        .run(evidence.options.timeout)
        .err()?;
    // Its output counts even if its exit status is not known.
    let said = String::from_utf8_lossy(error.stderr());
    // A program that cannot be loaded reports something else, for which there is another reason.
    let is_verdict = !ConfigurationProblem::read_all(&said).is_empty()
        || ServerMessage::gravest(&ServerMessage::read_all(&said)).is_some();
    is_verdict
        .then(|| StartErrorKind::Configuration(ConfigurationProblem::read_all_or_whole(&said)))
}

/// The message names the library in every language. The server's check does not load libraries.
fn libraries(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let (value, _) = evidence.setting(LIBRARIES)?;
    let names = pgconf_parse::split_directories(&value).unwrap_or_default();
    let message = ServerMessage::gravest(&evidence.messages).or(evidence.messages.last())?;
    names
        .iter()
        .any(|name| message.message.contains(&*name.to_string_lossy()))
        .then(|| evidence.problem(LIBRARIES, message))
}

/// The server's check of its configuration does not read `pg_hba.conf` and `pg_ident.conf`.
fn access_rules(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let files = [evidence.cluster.hba_file(), evidence.cluster.ident_file()];
    let mut present = files.into_iter().filter(|file| file.exists());
    present.find_map(|file| {
        let problems = ConfigurationProblem::read_access_rules(&evidence.messages, &file);
        (!problems.is_empty()).then_some(StartErrorKind::Configuration(problems))
    })
}

fn missing_access_rules(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let file = evidence.cluster.hba_file();
    let name = file.file_name()?;
    (!file.exists() && evidence.log.contains(name)).then(|| {
        let problem = ConfigurationProblem::new(MISSING_FILE);
        StartErrorKind::Configuration(vec![problem.at(Some(file.clone()), None)])
    })
}

/// A group that does not exist, or that the server's account may not give files to
/// (`Setup_AF_UNIX` in src/backend/libpq/pqcomm.c).
fn socket_group(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    const SETTING: &str = "unix_socket_group";
    let (group, _) = evidence.setting(SETTING)?;
    if group.is_empty() {
        return None;
    }
    let quoted = format!("\"{group}\"");
    // An address that is in use was checked before.
    let refused = |message: &&ServerMessage| {
        let says = |words: &str| message.message.contains(words);
        let mut sockets = evidence.listening.sockets();
        says(&quoted) || sockets.any(|socket| says(&format!("\"{}\"", socket.socket())))
    };
    let message = evidence.messages.iter().find(refused)?;
    Some(evidence.problem(SETTING, message))
}

/// Tries the addresses of the server.
fn address(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    for socket in evidence.listening.sockets() {
        // The server has exited and removed its own lock files.
        if let Some(kind) = holder_of_socket(evidence, &socket) {
            return Some(kind);
        }
        // A message about the lock file names the file in every language.
        if evidence.log.contains(socket.lock_file().as_str()) {
            return Some(match socket.read_lock().ok().flatten() {
                Some(lock) => StartErrorKind::StaleSocketLock {
                    path: socket.lock_file(),
                    pid: lock.pid,
                },
                None if socket.lock_file().exists() => {
                    StartErrorKind::AddressInUse(TakenAddress::new(socket.socket()))
                }
                None => StartErrorKind::SocketDirectory {
                    path: socket.directory().to_owned(),
                    cause: io::ErrorKind::PermissionDenied.into(),
                },
            });
        }
    }
    tcp_address(evidence)
}

/// The running server of a socket, even if it serves this data directory and its `postmaster.pid`
/// is lost.
fn holder_of_socket(evidence: &Evidence<'_>, socket: &SocketPath) -> Option<StartErrorKind> {
    let taken = TakenAddress::of_socket(socket)?;
    let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
    let ours = real(evidence.cluster.data_directory());
    let is_ours = ours.is_some() && taken.data_directory.as_deref().and_then(real) == ours;
    Some(match taken.pid.filter(|_| is_ours) {
        Some(pid) => StartErrorKind::Held(pid),
        None => StartErrorKind::AddressInUse(taken),
    })
}

fn tcp_address(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let port = evidence.listening.port;
    for host in &evidence.listening.tcp_hosts {
        let mut addresses = match (host.as_str(), port).to_socket_addrs() {
            Ok(addresses) => addresses,
            Err(cause) if evidence.log.contains(&format!("\"{host}\"")) => {
                return Some(StartErrorKind::Unresolved {
                    host: host.clone(),
                    cause,
                });
            }
            Err(_) => continue,
        };
        if let Some(taken) = addresses.find_map(TakenAddress::of_tcp) {
            return Some(StartErrorKind::AddressInUse(taken));
        }
    }
    None
}

/// The words of the C library for a full disk, a reached limit of shared memory, or a full
/// `/dev/shm`.
const NO_SPACE: &str = "No space left on device";

/// The server may have removed what it wrote last: then there is some space, but not enough.
fn full_disk(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let data = evidence.cluster.data_directory().to_owned();
    let wal = data.join("pg_wal");
    let room = |path: &Utf8PathBuf| pg_proc::available_space(path).unwrap_or(u64::MAX);
    let wal_failed = evidence.log.contains("pg_wal/");
    if room(&data) < 64 << 10 {
        Some(StartErrorKind::DiskFull(data))
    } else if room(&wal) < 64 << 10 || (wal_failed && room(&wal) < WAL_SEGMENT) {
        Some(StartErrorKind::DiskFull(wal))
    } else {
        None
    }
}

/// The default size.
const WAL_SEGMENT: u64 = 16 << 20;

fn shared_memory(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let mut messages = evidence.messages.iter();
    let message = messages.find(|message| message.is_about_shared_memory())?;
    Some(StartErrorKind::SharedMemory(message.clone()))
}

/// After shared memory, for which the system has the same words.
fn no_space(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    evidence.says(NO_SPACE)?;
    let data = evidence.cluster.data_directory().to_owned();
    let wal = data.join("pg_wal");
    let wal_is_full = pg_proc::available_space(&wal).is_ok_and(|room| room < WAL_SEGMENT);
    Some(StartErrorKind::DiskFull(if wal_is_full {
        wal
    } else {
        data
    }))
}

/// Up to PostgreSQL 14 crash recovery empties it (`pgstat_reset_all`).
fn statistics_directory(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    const SETTING: &str = "stats_temp_directory";
    let (path, _) = evidence.setting(SETTING)?;
    let message = evidence.says(&format!("\"{path}\""))?;
    let directory = evidence.cluster.data_directory().join(&path);
    (!directory.is_dir()).then(|| evidence.problem(SETTING, message))
}

fn recovery(evidence: &Evidence<'_>) -> Option<StartErrorKind> {
    let state = ControlData::read(evidence.cluster.data_directory())
        .ok()?
        .state;
    let recovering = match state {
        ControlState::CrashRecovery | ControlState::ArchiveRecovery => true,
        // Recovery was due, and the startup process exited before it began. The message gives its
        // process ID in every language.
        ControlState::InProduction | ControlState::ShuttingDown => evidence.log.contains("(PID "),
        _ => false,
    };
    let message = recovering.then(|| evidence.last_words())?;
    message.map(StartErrorKind::Recovery)
}
