//! Lock files that claim something, and who is found.

#![allow(dead_code, reason = "each test program needs a part of it")]

use std::fs;

use camino::Utf8Path;
use pg_proc::{FindError, Found, Pid, PidFile, Postmaster, StaleReason};

use crate::proc_fixture::Cluster;

pub(crate) type Find = fn(&Utf8Path) -> Result<Found, FindError>;

/// The native means, and those of every Unix.
pub(crate) const FINDS: [Find; 2] = [
    |directory| Postmaster::find(directory),
    |directory| Postmaster::find_portably(directory),
];

/// What `postmaster.pid` of a crashed server says, with another number.
pub(crate) fn claim(cluster: &Cluster, pid: i32, start_time: i64) {
    let text = format!(
        "{pid}\n{}\n{start_time}\n5432\n/tmp\n\n  5432001  99999999\nready   \n",
        cluster.data
    );
    fs::write(cluster.data.join(PidFile::NAME), text).expect("a lock file");
}

pub(crate) fn reason(find: Find, cluster: &Cluster) -> StaleReason {
    match find(&cluster.data).expect("find") {
        Found::Stale(stale) => stale.reason,
        other => panic!("{other:?}"),
    }
}

/// The server that is found.
pub(crate) fn running(find: Find, cluster: &Cluster) -> Pid {
    match find(&cluster.data).expect("find") {
        Found::Running(found) => found.pid(),
        other => panic!("{other:?}"),
    }
}

/// Whether `proc-owner` has found this server.
pub(crate) fn is_running(answer: &str, server: Pid) -> bool {
    answer.starts_with("Running") && answer.contains(&format!("pid: Pid({server})"))
}
