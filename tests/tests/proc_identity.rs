//! Servers are found whatever their lock file contains.

mod identity_fixture;
mod proc_fixture;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use identity_fixture::{FINDS, claim, running};
use pg_proc::{
    Found, Orphans, Pid, PidFile, Postmaster, Signal, SpawnErrorKind, release_shared_memory,
};
use proc_fixture::{Cluster, account, bin_directories, patience};

/// Whatever the file records, the process serves this directory.
#[test]
fn a_server_is_found_whatever_its_lock_file_records() {
    let cluster = Cluster::new();
    let server = cluster.start();
    claim(&cluster, server.pid().as_raw(), 1_000_000_000);
    for find in FINDS {
        assert_eq!(running(find, &cluster), server.pid());
    }
}

#[test]
fn a_server_without_its_lock_file_is_found() {
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        let mut sleep = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let server = cluster.start();
        assert!(!server.postmaster().has_lost_lock_file());
        let file = cluster.data.join(PidFile::NAME);
        let whole = fs::read(&file).expect("file");
        // From PostgreSQL 13 on, every system can look for the shared memory by its key.
        let version = fs::read_to_string(cluster.data.join("PG_VERSION")).expect("PG_VERSION");
        let finds = match version.trim().parse() {
            Ok(13..) => &FINDS[..],
            _ => &FINDS[..1],
        };
        for find in finds {
            fs::remove_file(&file).expect("rm");
            assert_eq!(running(*find, &cluster), server.pid());
            claim(&cluster, sleep.id() as i32, 1);
            assert_eq!(running(*find, &cluster), server.pid());
        }
        let refused = cluster.command().spawn_server(&cluster.options());
        let refused = refused.expect_err("running");
        assert!(
            matches!(refused.kind(), SpawnErrorKind::Running(pid) if *pid == server.pid()),
            "{refused}"
        );
        assert!(server.postmaster().has_lost_lock_file());
        assert!(Orphans::find(&cluster.data).expect("orphans").is_empty());
        release_shared_memory(&cluster.data).expect_err("the memory of a server");
        fs::write(&file, whole).expect("write");
        assert!(!server.postmaster().has_lost_lock_file());
        sleep.kill().expect("kill");
        sleep.wait().expect("wait");
    }
}

/// An emulator, valgrind or the dynamic loader runs the server: the kernel sees their program.
#[cfg(not(target_feature = "crt-static"))]
#[test]
fn a_server_under_an_emulator_is_found() {
    let cluster = Cluster::new();
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let loader = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .find(|path| path.contains("/ld"))
        .expect("a dynamic loader");
    let command = pg_proc::Command::new(loader)
        .arg(cluster.bin.join("postgres"))
        .args(cluster.arguments())
        .account(account());
    let server = command.spawn_server(&cluster.options()).expect("a server");
    server.wait_ready(patience()).expect("ready");
    let file = cluster.data.join(PidFile::NAME);
    let whole = fs::read(&file).expect("file");
    for find in FINDS {
        assert_eq!(running(find, &cluster), server.pid());
        fs::remove_file(&file).expect("rm");
        assert_eq!(running(find, &cluster), server.pid());
        fs::write(&file, &whole).expect("write");
    }
}

/// Processes attached to the memory of a killed server count, with or without its lock file.
#[test]
fn orphans_are_found_without_a_lock_file() {
    let cluster = Cluster::new();
    let detached = cluster.options().ownership(pg_proc::Ownership::Detached);
    let server = cluster.command().spawn_server(&detached).expect("spawn");
    server.wait_ready(patience()).expect("ready");
    let mut client = cluster.connect();
    let backend: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .expect("pid")
        .get(0);
    let signal = |signal| {
        let backend = rustix::process::Pid::from_raw(backend).expect("pid");
        rustix::process::kill_process(backend, signal).expect("signal");
    };
    signal(rustix::process::Signal::STOP);
    server.send(Signal::Kill).expect("signal");
    while server.postmaster().is_alive() {
        std::thread::yield_now();
    }
    fs::remove_file(cluster.data.join(PidFile::NAME)).expect("rm");
    assert!(matches!(
        Postmaster::find(&cluster.data),
        Ok(Found::Nothing)
    ));
    let orphans = Orphans::find(&cluster.data).expect("orphans");
    assert!(
        orphans.pids().contains(&Pid::new(backend).expect("pid")),
        "{orphans:?}"
    );
    orphans.kill(patience()).expect("killed");
    assert!(Orphans::find(&cluster.data).expect("orphans").is_empty());
}

#[test]
fn a_stopped_server_is_seen() {
    let cluster = Cluster::new();
    let server = cluster.start();
    let signal = |signal| {
        let pid = rustix::process::Pid::from_raw(server.pid().as_raw()).expect("pid");
        rustix::process::kill_process(pid, signal).expect("signal");
    };
    assert!(!server.postmaster().is_suspended());
    signal(rustix::process::Signal::STOP);
    while !server.postmaster().is_suspended() {
        std::thread::yield_now();
    }
    signal(rustix::process::Signal::CONT);
    while server.postmaster().is_suspended() {
        std::thread::yield_now();
    }
}

/// SIGHUP and SIGUSR1 end a process that has not installed its handlers yet.
#[test]
fn a_server_survives_signals_right_after_its_start() {
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        for round in 0..20 {
            let server = cluster.spawn();
            server.send(Signal::Reload).expect("sent");
            server.send(Signal::CheckRequests).expect("sent");
            let ready = server.wait_ready(patience());
            assert!(ready.is_ok(), "{bin}, round {round}: {ready:?}");
        }
    }
}

#[test]
fn a_killed_server_leaves_no_socket() {
    let cluster = Cluster::new();
    let server = cluster.start();
    assert!(cluster.socket().socket().exists());
    server.postmaster().kill(patience()).expect("killed");
    assert!(!cluster.socket().socket().exists());
    assert!(!cluster.socket().lock_file().exists());

    // Another server's is left alone.
    let server = cluster.start();
    let lock = cluster.socket().lock_file();
    let text = fs::read_to_string(&lock).expect("lock");
    let pid = server.pid().to_string();
    fs::write(&lock, text.replacen(&pid, "1", 1)).expect("write");
    server.postmaster().kill(patience()).expect("killed");
    assert!(cluster.socket().socket().exists());
    assert!(lock.exists());
}

#[test]
fn a_half_written_file_does_not_hide_a_server() {
    let cluster = Cluster::new();
    let server = cluster.start();
    let path = cluster.data.join(PidFile::NAME);
    let whole = fs::read(&path).expect("file");
    for content in [&b""[..], b"1", b"garbage\n"] {
        fs::write(&path, content).expect("write");
        match Postmaster::find(&cluster.data).expect("find") {
            Found::Running(found) => assert_eq!(found.pid(), server.pid()),
            other => panic!("{content:?}: {other:?}"),
        }
    }
    fs::write(&path, whole).expect("write");
}

#[test]
fn single_user_mode() {
    let cluster = Cluster::new();
    let mut command = std::process::Command::new(cluster.bin.join("postgres"));
    command.args(["--single", "-D", cluster.data.as_str(), "postgres"]);
    if let Some(account) = account() {
        command.uid(account.uid()).gid(account.gid());
    }
    let mut single = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres");
    // The prompt.
    let mut byte = [0];
    std::io::Read::read_exact(single.stdout.as_mut().expect("stdout"), &mut byte)
        .expect("a prompt");
    for find in FINDS {
        match find(&cluster.data).expect("find") {
            Found::SingleUser(pid) => assert_eq!(pid.as_raw(), single.id() as i32),
            other => panic!("{other:?}"),
        }
    }
    let refused = cluster
        .command()
        .spawn_server(&cluster.options())
        .expect_err("held");
    assert!(matches!(refused.kind(), SpawnErrorKind::Held(_)));
    drop(single.stdin.take());
    single.wait().expect("wait");
    for find in FINDS {
        assert!(matches!(find(&cluster.data), Ok(Found::Nothing)));
    }
}

#[test]
fn a_running_server_is_not_started_again() {
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        let server = cluster.start();
        let refused = cluster
            .command()
            .spawn_server(&cluster.options())
            .expect_err("running");
        assert!(matches!(refused.kind(), SpawnErrorKind::Running(pid) if *pid == server.pid()));
        assert!(Orphans::find(&cluster.data).expect("orphans").is_empty());
        for find in FINDS {
            match find(&cluster.data).expect("find") {
                Found::Running(found) => assert_eq!(found.pid(), server.pid()),
                other => panic!("{other:?}"),
            }
        }
    }
}
