//! Lock files that name a process that is not the server.

mod identity_fixture;
mod proc_fixture;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Child;

use camino::Utf8Path;
use identity_fixture::{FINDS, claim, reason, running};
use pg_proc::{
    Found, Orphans, Pid, PidFile, Postmaster, Signal, StaleReason, Status, release_shared_memory,
};
use proc_fixture::{Cluster, account, patience};

/// Everything that could hit the process in the lock file, and then a server over it.
fn survives_every_operation(cluster: &Cluster, bystander: &mut Child) {
    for find in FINDS {
        assert!(matches!(find(&cluster.data), Ok(Found::Stale(_))));
    }
    let orphans = Orphans::find(&cluster.data).expect("orphans");
    assert!(orphans.is_empty());
    orphans
        .kill(patience())
        .expect("there are no processes to kill");
    release_shared_memory(&cluster.data).expect("nothing to release");

    let server = cluster.start();
    server.postmaster().kill(patience()).expect("killed");
    server.wait_gone(patience()).expect("gone");
    assert_eq!(
        bystander.try_wait().expect("wait"),
        None,
        "the bystander has ended"
    );
    bystander.kill().expect("kill");
    bystander.wait().expect("wait");
}

#[test]
fn a_reused_pid_is_not_signalled() {
    let cluster = Cluster::new();
    // A sleep that resembles a server as closely as possible: its user, its directory, its age.
    let mut sleep = std::process::Command::new("sleep");
    sleep.arg("1000").current_dir(&cluster.data);
    if let Some(account) = account() {
        sleep.uid(account.uid()).gid(account.gid());
    }
    let mut sleep = sleep.spawn().expect("sleep");
    claim(&cluster, sleep.id() as i32, i64::from(u32::MAX));
    for find in FINDS {
        assert!(
            matches!(reason(find, &cluster), StaleReason::OtherProgram(name) if name == "sleep")
        );
    }
    survives_every_operation(&cluster, &mut sleep);
}

#[test]
fn a_server_of_another_directory_is_not_signalled() {
    let (other, cluster) = (Cluster::new(), Cluster::new());
    let server = other.start();
    let file = fs::read(other.data.join(PidFile::NAME)).expect("its lock file");
    // The file has the content of that server's file, as after a copy of the whole directory.
    fs::write(cluster.data.join(PidFile::NAME), file).expect("a lock file");
    assert!(matches!(
        reason(FINDS[0], &cluster),
        StaleReason::OtherDirectory
    ));
    release_shared_memory(&cluster.data).expect_err("the memory of another");
    let orphans = Orphans::find(&cluster.data).expect("orphans");
    assert!(orphans.is_empty(), "{orphans:?}");

    let started = cluster.start();
    started.send(Signal::Fast).expect("signal");
    started.wait_gone(patience()).expect("gone");
    assert!(server.postmaster().is_alive());
    let one: i32 = other
        .connect()
        .query_one("SELECT 1", &[])
        .expect("SELECT")
        .get(0);
    assert_eq!(one, 1);
}

/// A name, a working directory or a lock file does not make a process a server either.
#[test]
fn a_program_called_postgres_is_not_signalled() {
    let cluster = Cluster::new();
    let sleep = fs::canonicalize("/bin/sleep").expect("sleep");
    for name in ["postgres_exporter", "postgres", "postmaster"] {
        let program = cluster.root.join(name);
        fs::copy(&sleep, &program).expect("cp");
        let mut command = std::process::Command::new(&program);
        command.arg("1000").current_dir(&cluster.data);
        if let Some(account) = account() {
            command.uid(account.uid()).gid(account.gid());
        }
        let mut bystander = command.spawn().expect("sleep");
        let file = cluster.data.join(PidFile::NAME);
        for content in ["", "garbage\n", "1\n"] {
            fs::write(&file, content).expect("write");
            assert!(matches!(
                Postmaster::find(&cluster.data),
                Ok(Found::Stale(_))
            ));
        }
        claim(&cluster, bystander.id() as i32, i64::from(u32::MAX));
        assert!(matches!(
            reason(FINDS[0], &cluster),
            StaleReason::OtherProgram(_)
        ));
        let server = cluster.start();
        server.postmaster().kill(patience()).expect("killed");
        server.wait_gone(patience()).expect("gone");
        assert_eq!(bystander.try_wait().expect("wait"), None, "it has ended");
        bystander.kill().expect("kill");
        bystander.wait().expect("wait");
    }
}

#[test]
fn the_caller_is_not_a_server() {
    let cluster = Cluster::new();
    let manager = cluster.root.join("postgres-manager");
    fs::copy(env!("CARGO_BIN_EXE_proc-owner"), &manager).expect("cp");
    fs::write(cluster.data.join(PidFile::NAME), "").expect("write");
    let found = std::process::Command::new(&manager)
        .args(["find", cluster.data.as_str()])
        .current_dir(&cluster.data)
        .output()
        .expect("an answer");
    assert!(found.stdout.starts_with(b"Stale"), "{found:?}");

    claim(&cluster, Pid::current().as_raw(), i64::from(u32::MAX));
    for find in FINDS {
        assert!(matches!(
            reason(find, &cluster),
            StaleReason::OtherProgram(_)
        ));
    }
    // `/proc` has directories for threads too, and `kill` takes their numbers.
    #[cfg(target_os = "linux")]
    {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        claim(&cluster, thread, i64::from(u32::MAX));
        assert!(matches!(
            reason(FINDS[0], &cluster),
            StaleReason::OtherProgram(_)
        ));
    }
}

/// A copy of a whole data directory has the lock file of a server that serves the original.
#[test]
fn a_copied_directory_has_no_server() {
    let cluster = Cluster::new();
    let server = cluster.start();
    let copy = Cluster::new();
    fs::copy(
        cluster.data.join(PidFile::NAME),
        copy.data.join(PidFile::NAME),
    )
    .expect("cp");
    for find in FINDS {
        assert_eq!(running(find, &cluster), server.pid());
        assert!(matches!(reason(find, &copy), StaleReason::OtherDirectory));
    }
}

/// PostgreSQL takes any process with the PID in a socket's lock file for a server.
#[test]
fn the_lock_of_a_socket_names_a_bystander() {
    let cluster = Cluster::new();
    let mut sleep = std::process::Command::new("sleep");
    sleep.arg("1000");
    if let Some(account) = account() {
        sleep.uid(account.uid()).gid(account.gid());
    }
    let mut sleep = sleep.spawn().expect("sleep");
    let lock = cluster.socket().lock_file();
    let claim = |pid: i32, directory: &Utf8Path| {
        let text = format!("{pid}\n{directory}\n1\n5432\n{}\n", cluster.root);
        fs::write(&lock, text).expect("a lock file");
        proc_fixture::give_to_account(&lock);
    };
    let own = Pid::current();
    let stranger = Pid::new(sleep.id() as i32).expect("pid");
    for (pid, options) in [
        (stranger, cluster.options().bystander(stranger)),
        (own, cluster.options()),
    ] {
        claim(pid.as_raw(), &cluster.data);
        let server = cluster.command().spawn_server(&options).expect("spawn");
        server.wait_ready(patience()).expect("ready");
    }
    sleep.kill().expect("kill");
    sleep.wait().expect("wait");
}

#[test]
fn a_changed_clock_does_not_hide_a_server() {
    let cluster = Cluster::new();
    let server = cluster.start();
    let path = cluster.data.join(PidFile::NAME);
    let file = server.postmaster().pid_file().expect("file").expect("file");
    let text = fs::read_to_string(&path).expect("file");
    let text = text.replacen(&file.start_time.expect("time").to_string(), "1000000000", 1);
    fs::write(&path, text).expect("write");
    // It holds the memory that the file names.
    for find in FINDS {
        assert!(
            matches!(find(&cluster.data), Ok(Found::Running(found)) if found.pid() == server.pid())
        );
    }
}

#[test]
fn a_zombie_is_not_a_server() {
    let cluster = Cluster::new();
    let mut zombie = std::process::Command::new("true");
    if let Some(account) = account() {
        zombie.uid(account.uid()).gid(account.gid());
    }
    let mut zombie = zombie.spawn().expect("true");
    let pid = Pid::new(zombie.id() as i32).expect("pid");
    rustix::process::waitid(
        rustix::process::WaitId::Pid(rustix::process::Pid::from_raw(pid.as_raw()).expect("pid")),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    )
    .expect("its end");
    claim(&cluster, pid.as_raw(), i64::from(u32::MAX));
    for find in FINDS {
        assert!(matches!(reason(find, &cluster), StaleReason::Zombie));
    }
    // PostgreSQL itself takes a zombie for a living server.
    let server = cluster.start();
    assert_eq!(
        server.postmaster().wait_ready(patience()).expect("ready"),
        Status::Ready
    );
    zombie.wait().expect("wait");
}

#[test]
fn a_pid_of_no_process_is_stale() {
    let cluster = Cluster::new();
    let dead = {
        let mut child = std::process::Command::new("true").spawn().expect("true");
        child.wait().expect("wait");
        child.id() as i32
    };
    claim(&cluster, dead, 1);
    for find in FINDS {
        assert!(matches!(reason(find, &cluster), StaleReason::Gone));
    }
    claim(&cluster, 1, i64::from(u32::MAX));
    for find in FINDS {
        assert!(matches!(
            reason(find, &cluster),
            StaleReason::OtherProgram(_)
        ));
    }
    let file = cluster.data.join(PidFile::NAME);
    for content in [
        "",
        "0\n",
        "99999999999999999999\n",
        "2147483648\n",
        "-2147483648\n",
        "4294967297\n",
        "-0\n",
        "--1\n",
        "1",
        "\n",
        "x\n",
        "+1\n",
    ] {
        fs::write(&file, content).expect("write");
        for find in FINDS {
            assert!(
                matches!(reason(find, &cluster), StaleReason::Unreadable(_)),
                "{content:?}"
            );
        }
    }
    // The file claims a single-user process, which does not exist.
    fs::write(&file, "-1\n").expect("write");
    for find in FINDS {
        assert!(matches!(
            reason(find, &cluster),
            StaleReason::OtherProgram(_)
        ));
    }
    fs::remove_file(&file).expect("rm");
    for find in FINDS {
        assert!(matches!(find(&cluster.data), Ok(Found::Nothing)));
        assert!(matches!(
            find(&cluster.root.join("nowhere")),
            Ok(Found::Nothing)
        ));
    }
}
