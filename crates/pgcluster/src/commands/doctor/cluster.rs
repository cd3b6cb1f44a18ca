//! Checks of one cluster.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use pg_cluster::proc::{Orphans, SocketPath, available_space};
use pg_cluster::{Account, Cluster, ControlData, ControlState, Host, State};

use super::Finding;
use super::access::{CREATE, ENTER, name, obstacle};
use crate::commands::settings::check::{of_access, of_settings};
use crate::facts::process;
use crate::failure::{Failure, Result};
use crate::target;
use crate::words::state_name;

/// Below this, a server may not get through its recovery.
const LEAST: u64 = 64 << 20;

pub(super) fn examine(directory: &Utf8Path) -> Vec<Finding> {
    let cluster = match target::open(directory) {
        Ok(cluster) => cluster,
        Err(failure) => return vec![Finding::failed("cluster", &failure)],
    };
    let state = match cluster.state() {
        Ok(state) => state,
        Err(error) => return vec![Finding::failed("state", &Failure::new(error))],
    };
    let account = match cluster.account() {
        Some(account) => Ok(account.clone()),
        None => Account::current().map_err(Failure::new),
    };
    let mut findings = vec![of_state(state, &cluster)];
    match &account {
        Ok(account) => findings.push(permissions(&cluster, account)),
        Err(failure) => findings.push(Finding::failed("account", failure)),
    }
    findings.push(configuration("configuration", of_settings(&cluster)));
    findings.push(configuration("pg_hba.conf", of_access(&cluster)));
    findings.push(space(&cluster));
    if process(state).is_none() {
        if let Ok(account) = &account {
            findings.extend(socket(&cluster, account));
        }
        findings.extend(port(&cluster));
        findings.extend(last_end(&cluster));
    }
    findings
}

fn of_state(state: State, cluster: &Cluster) -> Finding {
    const CHECK: &str = "state";
    let text = match process(state) {
        Some(pid) => format!("{}, process {pid}", state_name(state)),
        None => state_name(state).to_owned(),
    };
    match state {
        State::Uninitialized => Finding::bad(
            CHECK,
            format!(
                "{} is not a complete data directory",
                cluster.data_directory()
            ),
            "restore it from a backup, or remove it and let `pgcluster init` make a new one",
        ),
        State::Suspended(_) => Finding::bad(CHECK, text, "`kill -CONT` lets the process go on"),
        State::SingleUser(_) => Finding::bad(CHECK, text, "wait until that process has exited"),
        State::Unknown(_) => Finding::bad(
            CHECK,
            text,
            "a process of another user may be the server: ask as that user or as root",
        ),
        _ => Finding::fine(CHECK, text),
    }
}

/// The rules of `checkDataDir` in src/backend/utils/init/miscinit.c, and the way to the directory.
fn permissions(cluster: &Cluster, account: &Account) -> Finding {
    const CHECK: &str = "permissions";
    let directory = cluster.data_directory();
    let meta = match fs::metadata(directory) {
        Ok(meta) => meta,
        Err(error) => return Finding::failed(CHECK, &Failure::new(error)),
    };
    let name = name(account);
    if let Some(closed) = obstacle(account, directory, ENTER) {
        let remedy = format!("`chmod o+x {closed}`, or move the cluster");
        return Finding::bad(CHECK, format!("{name} cannot enter {closed}"), &remedy);
    }
    let mode = meta.mode() & 0o7777;
    let group = cluster.installation().major_version().first() >= 11;
    let forbidden = if group { 0o027 } else { 0o077 };
    if meta.uid() != account.uid() {
        let message = format!(
            "the directory belongs to user {}, not to {name}",
            meta.uid()
        );
        return Finding::bad(CHECK, message, "run pgcluster as the owner, or as root");
    }
    if mode & forbidden != 0 {
        let remedy = format!("`chmod 700 {directory}`");
        return Finding::bad(CHECK, format!("the directory has mode {mode:04o}"), &remedy);
    }
    Finding::fine(
        CHECK,
        format!("the directory belongs to {name} and has mode {mode:04o}"),
    )
}

fn configuration(check: &'static str, problems: Result<Vec<String>>) -> Finding {
    match problems {
        Ok(problems) if problems.is_empty() => Finding::fine(check, "accepted"),
        Ok(problems) => Finding::bad(
            check,
            problems.join("; "),
            "correct the file: `pgcluster get`, `set` and `hba` show and change it",
        ),
        Err(failure) => Finding::failed(check, &failure),
    }
}

fn space(cluster: &Cluster) -> Finding {
    const CHECK: &str = "space";
    match available_space(cluster.data_directory()) {
        Ok(free) if free < LEAST => Finding::bad(
            CHECK,
            format!("{} MiB free", free >> 20),
            "make room on that file system",
        ),
        Ok(free) => Finding::fine(CHECK, format!("{} MiB free", free >> 20)),
        Err(error) => Finding::failed(CHECK, &Failure::new(error)),
    }
}

/// The directory of the socket of the next start.
fn socket(cluster: &Cluster, account: &Account) -> Option<Finding> {
    const CHECK: &str = "socket";
    let info = cluster.connection_info().ok()??;
    let directory = info.socket_directory()?;
    let path = match SocketPath::new(directory, info.port()) {
        Ok(path) => path,
        Err(error) => return Some(Finding::failed(CHECK, &Failure::new(error))),
    };
    let remedy = format!(
        "`pgcluster set {0} unix_socket_directories={0}`, or `pgcluster start --socket-dir`",
        cluster.data_directory()
    );
    let message = format!("{} cannot create sockets in {directory}", name(account));
    Some(match directory.is_dir() {
        true if obstacle(account, directory, CREATE).is_none() => {
            Finding::fine(CHECK, path.socket().to_string())
        }
        true => Finding::bad(CHECK, message, &remedy),
        false => Finding::bad(CHECK, format!("there is no directory {directory}"), &remedy),
    })
}

/// The TCP port of the next start.
fn port(cluster: &Cluster) -> Option<Finding> {
    const CHECK: &str = "port";
    let info = cluster.tcp_connection_info().ok()??;
    let Host::Tcp(host) = info.host() else {
        return None;
    };
    let port = info.port();
    Some(match TcpListener::bind((host.as_str(), port)) {
        Ok(_) => Finding::fine(CHECK, format!("{port} on {host} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Finding::bad(
            CHECK,
            format!("{port} on {host} is in use by another program"),
            "choose another one: `pgcluster set port=...`, or `pgcluster start --port`",
        ),
        Err(error) => Finding::bad(
            CHECK,
            format!("{port} on {host} cannot be used: {error}"),
            "choose another address: `pgcluster set listen_addresses=...`",
        ),
    })
}

/// Checks how the previous server exited, and which processes it left.
fn last_end(cluster: &Cluster) -> Option<Finding> {
    const CHECK: &str = "last end";
    let directory = cluster.data_directory();
    if let Ok(orphans) = Orphans::find(directory)
        && !orphans.is_empty()
    {
        return Some(Finding::bad(
            CHECK,
            "a crashed server has left processes behind",
            &format!("`pgcluster stop {directory}` kills them"),
        ));
    }
    Some(match ControlData::read(directory) {
        Ok(control) => match control.state {
            ControlState::ShutDown | ControlState::ShutDownInRecovery => {
                Finding::fine(CHECK, control.state.as_str())
            }
            state => Finding::doubtful(
                CHECK,
                format!(
                    "the server crashed, or a backup was restored: {}",
                    state.as_str()
                ),
                "the next start recovers, which may take a while",
            ),
        },
        Err(error) => Finding::failed(CHECK, &Failure::new(error)),
    })
}
