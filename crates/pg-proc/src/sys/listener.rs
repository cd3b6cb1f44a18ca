//! The process that listens on a TCP port, by `/proc`.

use std::fs;

use crate::pid::Pid;

/// A process that listens on this port, at any address. None if there is none, or if its
/// descriptors cannot be read, which requires the same user or root. Known on Linux only.
///
/// This examines all processes, so it is used for errors only.
pub(crate) fn tcp_listener(port: u16) -> Option<Pid> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let holds_one = |pid: &Pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        descriptors.into_iter().flatten().flatten().any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| {
                sockets
                    .iter()
                    .any(|socket| link.as_os_str() == socket.as_str())
            })
        })
    };
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?;
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(holds_one)
}

/// The inodes of the sockets in a table that listen on a port: `local_address` is the second
/// column, the state the fourth, the inode the tenth (proc_pid_net(5)).
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, number) = columns.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(number, 16) == Ok(port) && columns.get(3)? == &LISTEN;
        is_it.then(|| columns.get(9).map(ToString::to_string))?
    };
    table.lines().filter_map(row).collect()
}
