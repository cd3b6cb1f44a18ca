//! The postmasters of this machine, by `/proc`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::linux::{
    Stat, Status, Title, as_its_account, proc_path, processes, runs_server, working_directory,
};
use crate::pid::Pid;

/// A postmaster, as its process shows it.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    pub(crate) pid: Pid,
    parent: i32,
    pub(crate) user: Option<u32>,
    pub(crate) directory: Option<PathBuf>,
    /// True if that path leads the caller to the same directory.
    pub(crate) is_reachable: bool,
    pub(crate) started_at: Option<i64>,
}

/// All postmasters that the caller can see. Looks at every process of the machine.
pub(crate) fn servers() -> io::Result<Vec<ServerProcess>> {
    fs::read_dir("/proc/self")?;
    let mut found: Vec<ServerProcess> = processes().filter_map(server).collect();
    // A child that has not changed its title yet.
    let pids: Vec<i32> = found.iter().map(|server| server.pid.as_raw()).collect();
    found.retain(|server| !pids.contains(&server.parent));
    found.sort_by_key(|server| server.pid);
    Ok(found)
}

fn server(pid: Pid) -> Option<ServerProcess> {
    // The name is checked first, which rules out most processes. It proves nothing.
    let stat = Stat::read(pid).filter(|stat| {
        let is_named = stat.name.contains("postgres") || stat.name.contains("postmaster");
        is_named && !stat.has_ended()
    })?;
    let status = Status::read(pid);
    if status.as_ref().is_some_and(|status| status.process != pid) {
        return None;
    }
    let title = Title::read(pid);
    if !title.is_of_postmaster() {
        return None;
    }
    let (directory, is_reachable) = match runs_server(pid, status.as_ref()) {
        Ok(true) => directory(pid, status.as_ref()),
        // The process of another user, who alone may look at it: its command line is for all.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => (title.directory(), false),
        _ => return None,
    };
    Some(ServerProcess {
        pid,
        parent: stat.parent,
        user: status.map(|status| status.user),
        directory,
        is_reachable,
        started_at: stat.began_at(),
    })
}

/// The working directory of a postmaster is its data directory. The path may lead elsewhere for
/// this process, if the other one has its own root or its own mounts.
fn directory(pid: Pid, status: Option<&Status>) -> (Option<PathBuf>, bool) {
    let path = as_its_account(status, || fs::read_link(proc_path(pid, "cwd"))).ok();
    let there = working_directory(pid, status).ok();
    let here = path.as_ref().and_then(|path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.dev(), meta.ino()))
    });
    (path, here.is_some() && here == there)
}

impl Title {
    /// The data directory that the command line names by `-D`, if it does.
    fn directory(&self) -> Option<PathBuf> {
        let mut arguments = self.arguments();
        while let Some(argument) = arguments.next() {
            if let Some(attached) = argument.strip_prefix(b"-D") {
                let path = match attached {
                    b"" => arguments.next()?,
                    path => path,
                };
                return Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)));
            }
        }
        None
    }
}
