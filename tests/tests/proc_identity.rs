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

#[test]
fn a_later_postgres_in_the_directory_has_the_number() {
    let cluster = Cluster::new();
    let server = cluster.start();
    // Nothing vouches for it any more but its place and its program; and it began years after this
    // record.
    claim(&cluster, server.pid().as_raw(), 1_000_000_000);
    for find in FINDS {
        assert!(matches!(reason(find, &cluster), StaleReason::BeganLater));
    }
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
    assert!(matches!(refused.kind, SpawnErrorKind::Held(_)));
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
        assert!(matches!(refused.kind, SpawnErrorKind::Running(pid) if pid == server.pid()));
        assert!(Orphans::find(&cluster.data).expect("orphans").is_empty());
        for find in FINDS {
            match find(&cluster.data).expect("find") {
                Found::Running(found) => assert_eq!(found.pid(), server.pid()),
                other => panic!("{other:?}"),
            }
        }
    }
}
