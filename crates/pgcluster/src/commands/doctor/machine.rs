//! Checks of the machine.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use camino::Utf8Path;
use pg_cluster::proc::available_space;
use pg_cluster::{Account, Installation, Request};
use pg_fixture::TempCluster;

use super::access::{CREATE, name, obstacle};
use super::{Finding, Verdict};
use crate::failure::Failure;

const MEMORY: &str = "/dev/shm";
/// The free memory that temporary clusters need.
const ROOM: u64 = 512 << 20;

pub(super) fn examine() -> Vec<Finding> {
    let account = account();
    let mut findings = vec![installation()];
    match &account {
        Ok(account) => {
            findings.push(of_account(account));
            findings.extend(capabilities());
            findings.push(processes());
            findings.push(memory(account));
        }
        Err(failure) => findings.push(Finding::failed("account", failure)),
    }
    findings.extend(segments());
    findings.push(locale());
    findings.push(temporary());
    findings
}

/// The account that servers run as.
pub(super) fn account() -> Result<Account, Failure> {
    let other = Account::for_data_directory(Utf8Path::new("/nonexistent"))?;
    Ok(match other {
        Some(account) => account,
        None => Account::current()?,
    })
}

fn installation() -> Finding {
    const CHECK: &str = "installation";
    match Installation::find(&Request::any()) {
        Ok(found) if found.is_server() => {
            let directory = found.bindir().map_or("", |path| path.as_str());
            Finding::fine(
                CHECK,
                format!("PostgreSQL {} in {directory}", found.version()),
            )
        }
        Ok(found) => Finding::bad(
            CHECK,
            format!("PostgreSQL {} without a server", found.version()),
            "install the server package, or let PGINSTALLATION name another installation",
        ),
        Err(error) => Finding::failed(CHECK, &Failure::new(error)),
    }
}

fn of_account(account: &Account) -> Finding {
    let name = name(account);
    match account.is_current() {
        true => Finding::fine("account", format!("servers run as {name}, as you do")),
        false => Finding::fine("account", format!("servers run as {name}")),
    }
}

/// Those by which root becomes another user (`include/uapi/linux/capability.h`).
fn capabilities() -> Option<Finding> {
    const CHECK: &str = "capabilities";
    const NEEDED: [(u32, &str); 4] = [
        (0, "CAP_CHOWN"),
        (5, "CAP_KILL"),
        (6, "CAP_SETGID"),
        (7, "CAP_SETUID"),
    ];
    const TRACE: u32 = 19;
    if Account::current_uid() != 0 {
        return None;
    }
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let held = u64::from_str_radix(held.trim(), 16).ok()?;
    let lacks = |number: u32| held >> number & 1 == 0;
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(number, _)| lacks(*number))
        .map(|(_, name)| name)
        .collect();
    Some(match missing.is_empty() {
        false => Finding::bad(
            CHECK,
            format!("root lacks {}", missing.join(", ")),
            "run as an ordinary user, or give the container these capabilities",
        ),
        true if lacks(TRACE) => Finding::fine(CHECK, "enough; CAP_SYS_PTRACE is not needed"),
        true => Finding::fine(CHECK, "enough"),
    })
}

fn processes() -> Finding {
    const CHECK: &str = "processes";
    if !cfg!(target_os = "linux") {
        return Finding::fine(CHECK, "not by /proc on this system");
    }
    let can_see = |pid: &str| fs::metadata(format!("/proc/{pid}/stat")).is_ok();
    match (can_see("self"), can_see("1")) {
        (true, true) => Finding::fine(CHECK, "visible in /proc"),
        (true, false) => Finding::doubtful(
            CHECK,
            "/proc hides those of other users",
            "servers of other users are known by their shared memory alone: mount /proc without \
             hidepid",
        ),
        (false, _) => Finding::doubtful(
            CHECK,
            "there is no /proc",
            "servers are known by their shared memory alone: mount /proc",
        ),
    }
}

fn memory(account: &Account) -> Finding {
    const CHECK: &str = "shared memory";
    if !cfg!(target_os = "linux") {
        return Finding::fine(CHECK, "not by /dev/shm on this system");
    }
    let memory = Utf8Path::new(MEMORY);
    if !memory.is_dir() || obstacle(account, memory, CREATE).is_some() {
        return Finding::bad(
            CHECK,
            format!("{} cannot create files in {MEMORY}", name(account)),
            "mount a tmpfs there with mode 1777, or set dynamic_shared_memory_type=mmap",
        );
    }
    let free = available_space(memory).unwrap_or(0);
    let message = format!("{} MiB free in {MEMORY}", free >> 20);
    match free >= ROOM {
        true => Finding::fine(CHECK, message),
        false => Finding::doubtful(
            CHECK,
            message,
            "temporary clusters go to TMPDIR, which is slower: `docker run --shm-size=2g`",
        ),
    }
}

/// Checks System V shared memory. Each server needs a segment.
fn segments() -> Option<Finding> {
    let most: usize = fs::read_to_string("/proc/sys/kernel/shmmni")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    // The first line is a header.
    let used = fs::read_to_string("/proc/sysvipc/shm")
        .ok()?
        .lines()
        .count()
        .saturating_sub(1);
    let message = format!("{used} of {most} in use");
    Some(match used < most {
        true => Finding::fine("segments", message),
        false => Finding::bad("segments", message, "raise the sysctl kernel.shmmni"),
    })
}

/// New clusters have the locale C. Others, and programs such as psql, use that of the environment.
fn locale() -> Finding {
    const CHECK: &str = "locale";
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((name, value)) = set else {
        return Finding::fine(CHECK, "not set; new clusters have C");
    };
    let plain = |locale: &str| locale.to_lowercase().replace('-', "");
    let listed = Command::new("locale")
        .arg("-a")
        .stderr(Stdio::null())
        .output();
    let is_known = match listed {
        Ok(list) if list.status.success() => {
            let list = String::from_utf8_lossy(&list.stdout).into_owned();
            list.lines().any(|locale| plain(locale) == plain(&value))
        }
        _ => return Finding::fine(CHECK, format!("not checked: {name}={value}")),
    };
    match is_known {
        true => Finding::fine(CHECK, format!("{name}={value}; new clusters have C")),
        false => Finding::doubtful(
            CHECK,
            format!("{name}={value} does not exist here"),
            "new clusters have C and start; to use this locale, generate it (locale-gen)",
        ),
    }
}

/// A temporary cluster needs all of it: the template cache, storage, memory, a socket.
fn temporary() -> Finding {
    const CHECK: &str = "temporary";
    let begun = Instant::now();
    match TempCluster::start() {
        Ok(server) => {
            let took = begun.elapsed().as_millis();
            let message = format!("a cluster started in {took} ms in {}", server.path());
            Finding::new(CHECK, Verdict::Fine, message)
        }
        Err(error) => Finding::failed(CHECK, &Failure::new(error)),
    }
}
