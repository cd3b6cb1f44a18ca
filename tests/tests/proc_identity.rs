//! Whom a lock file means, and whom it does not.

mod proc_fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use camino::Utf8Path;
use pg_proc::{
    Command, FindError, Found, Orphans, Pid, PidFile, Postmaster, Signal, SpawnErrorKind,
    StaleReason, Status, release_shared_memory,
};
use proc_fixture::{Cluster, account, bin_directories, patience};

type Find = fn(&Utf8Path) -> Result<Found, FindError>;

/// The native means, and those of every Unix.
const FINDS: [Find; 2] = [
    |directory| Postmaster::find(directory),
    |directory| Postmaster::find_portably(directory),
];

/// What `postmaster.pid` of a crashed server says, with another number.
fn claim(cluster: &Cluster, pid: i32, start_time: i64) {
    let text = format!(
        "{pid}\n{}\n{start_time}\n5432\n/tmp\n\n  5432001  99999999\nready   \n",
        cluster.data
    );
    fs::write(cluster.data.join(PidFile::NAME), text).expect("a lock file");
}

fn reason(find: Find, cluster: &Cluster) -> StaleReason {
    match find(&cluster.data).expect("find") {
        Found::Stale(stale) => stale.reason,
        other => panic!("{other:?}"),
    }
}

/// The server that is found.
fn running(find: Find, cluster: &Cluster) -> Pid {
    match find(&cluster.data).expect("find") {
        Found::Running(found) => found.pid(),
        other => panic!("{other:?}"),
    }
}

/// Whether `proc-owner` has found this server.
fn is_running(answer: &str, server: Pid) -> bool {
    answer.starts_with("Running") && answer.contains(&format!("pid: Pid({server})"))
}

/// Everything that could hit the process in the lock file, and then a server over it.
fn survives_every_operation(cluster: &Cluster, bystander: &mut Child) {
    for find in FINDS {
        assert!(matches!(find(&cluster.data), Ok(Found::Stale(_))));
    }
    let orphans = Orphans::find(&cluster.data).expect("orphans");
    assert!(orphans.is_empty());
    orphans.kill(patience()).expect("nobody to kill");
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
fn a_sleep_has_the_number() {
    let cluster = Cluster::new();
    // As close to a server as a sleep can be: its user, its directory, its age.
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
fn a_server_of_another_directory_has_the_number() {
    let (other, cluster) = (Cluster::new(), Cluster::new());
    let server = other.start();
    let file = fs::read(other.data.join(PidFile::NAME)).expect("its lock file");
    // The file says whatever that server's says, as after a copy of the whole directory.
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

/// Neither does a name make a server, nor a working directory, nor a lock file.
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
#[test]
fn a_server_under_an_emulator_is_found() {
    let cluster = Cluster::new();
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let loader = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .find(|path| path.contains("/ld"))
        .expect("a dynamic loader");
    let command = Command::new(loader)
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

/// Without `ps` the shared memory is a witness; a process without one is neither the server nor
/// not the server.
#[test]
fn without_ps() {
    let cluster = Cluster::new();
    let ask = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_proc-owner"))
            .args(["find-portably", cluster.data.as_str()])
            .env("PATH", "/nowhere")
            .output()
            .expect("an answer");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    claim(&cluster, 1, 1);
    assert!(ask().starts_with("OtherUsers"), "{}", ask());
    let server = cluster.start();
    assert!(is_running(&ask(), server.pid()), "{}", ask());
    fs::remove_file(cluster.data.join(PidFile::NAME)).expect("rm");
    assert!(is_running(&ask(), server.pid()), "{}", ask());
}

/// As root in a container of Docker's. Takes root.
#[test]
fn without_the_right_to_trace() {
    let Some(servers) = account() else { return };
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        let ask = || {
            let output = pg_tests::with_docker_capabilities()
                .arg(env!("CARGO_BIN_EXE_proc-owner"))
                .args(["find", cluster.data.as_str()])
                .output()
                .expect("setpriv");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg("1000").current_dir(&cluster.data);
        let mut sleep = sleep.uid(servers.uid()).gid(servers.gid()).spawn();
        let sleep = sleep.as_mut().expect("sleep");
        claim(&cluster, sleep.id() as i32, i64::from(u32::MAX));
        assert!(ask().contains("OtherProgram"), "{}", ask());
        let server = cluster.start();
        assert!(is_running(&ask(), server.pid()), "{bin}: {}", ask());
        claim(&cluster, sleep.id() as i32, i64::from(u32::MAX));
        assert!(is_running(&ask(), server.pid()), "{bin}: {}", ask());
        fs::remove_file(cluster.data.join(PidFile::NAME)).expect("rm");
        assert!(is_running(&ask(), server.pid()), "{bin}: {}", ask());
        sleep.kill().expect("kill");
        sleep.wait().expect("wait");
    }
}

/// Takes root, or user namespaces.
#[test]
fn without_proc() {
    if !pg_tests::may_mount() {
        return;
    }
    let cluster = Cluster::new();
    let server = cluster.start();
    let ask = || {
        let output = std::process::Command::new("unshare")
            .args(["--mount", "--user", "--map-root-user"].iter().take(
                // Root keeps its own users.
                if account().is_some() { 1 } else { 3 },
            ))
            .args(["sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_proc-owner"))
            .args(["find", cluster.data.as_str()])
            .output()
            .expect("unshare");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(is_running(&ask(), server.pid()), "{}", ask());
    fs::remove_file(cluster.data.join(PidFile::NAME)).expect("rm");
    assert!(is_running(&ask(), server.pid()), "{}", ask());
}

/// What stays attached to the memory of a killed server counts, with or without its lock file.
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

/// PostgreSQL takes whoever has the number in a socket's lock file for a server.
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
fn the_clock_was_set() {
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
fn a_zombie_has_the_number() {
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
fn numbers_that_are_nobodys() {
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
    // A single-user process that is none.
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

/// Takes two users, and so root.
#[test]
fn another_users_server() {
    let (Some(servers), Some(stranger)) = (account(), pg_tests::stranger()) else {
        return;
    };
    let cluster = Cluster::new();
    let server = cluster.start();
    for open in [
        &cluster.root,
        &cluster.data,
        &cluster.data.join(PidFile::NAME),
    ] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let helper = cluster.root.join("helper");
    fs::copy(env!("CARGO_BIN_EXE_proc-owner"), &helper).expect("cp");
    let ask = || {
        let command = Command::new(&helper).args(["find", cluster.data.as_str()]);
        let output = command
            .account(stranger.clone())
            .run(patience())
            .expect("an answer");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let expected = format!(
        "OtherUsers {{ pid: Pid({}), uid: Some({}) }}\n",
        server.pid(),
        servers.uid()
    );
    assert_eq!(ask(), expected);

    server.postmaster().kill(patience()).expect("killed");
    assert!(ask().starts_with("Stale"), "{}", ask());
    fs::set_permissions(&cluster.data, fs::Permissions::from_mode(0o700)).expect("chmod");
    let command = Command::new(&helper).args(["find", cluster.data.as_str()]);
    command
        .account(stranger)
        .run(patience())
        .expect_err("a directory that it may not read");
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
