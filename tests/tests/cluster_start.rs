//! Starting, waiting, and state: servers of this object, of other objects, of an earlier run.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::{
    Cluster, Log, Ownership, Readiness, Signal, StartErrorKind, StartWait, Started, State, StopPlan,
};
use pg_tests::{Room, ask, child, connect, role, server, servers};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_server_is_known_before_it_writes_its_lock_file() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        assert!(!cluster.is_running().unwrap());
        assert_eq!(cluster.readiness().unwrap(), Readiness::NoServer);
        let error = cluster.wait_until_started(Duration::ZERO).unwrap_err();
        assert!(
            matches!(error.kind(), StartErrorKind::NotRunning),
            "{error:?}"
        );

        let spawned = cluster
            .start(&room.start_options().wait(StartWait::Spawned))
            .unwrap();
        assert_eq!(cluster.pid().unwrap(), Some(spawned.pid()));
        assert!(cluster.is_running().unwrap());
        assert_ne!(cluster.readiness().unwrap(), Readiness::NoServer);
        assert!(
            matches!(cluster.state().unwrap(), State::Starting(pid) | State::Ready(pid)
                if pid == spawned.pid())
        );
        cluster.wait_until_started(PATIENCE).unwrap();
        assert_eq!(cluster.state().unwrap(), State::Ready(spawned.pid()));
        assert!(cluster.uptime().unwrap().unwrap() < PATIENCE);
        assert_eq!(ask(&mut connect(&cluster), "SELECT 1"), "1");
        assert_eq!(cluster.exit_status(), None);

        cluster.stop(&StopPlan::fast()).unwrap();
        assert!(cluster.exit_status().unwrap().success());
        assert!(!cluster.log_tail().unwrap().is_empty());
        let error = cluster.wait_until_started(Duration::ZERO).unwrap_err();
        assert!(
            matches!(error.kind(), StartErrorKind::NotRunning),
            "{error:?}"
        );
    }
}

/// A server stopped in the moment after it was spawned, before it has a lock file.
#[test]
fn a_server_that_was_just_spawned_can_be_stopped() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let spawned = cluster
        .start(&room.start_options().wait(StartWait::Spawned))
        .unwrap();
    let plan = StopPlan::new(Signal::Fast, Duration::from_secs(20))
        .then(Signal::Immediate, Duration::from_secs(20));
    let stopped = cluster.stop(&plan).unwrap();
    assert!(matches!(stopped, pg_cluster::Stopped::By { pid, .. } if pid == spawned.pid()));
    assert_eq!(cluster.pid().unwrap(), None);
}

#[test]
fn values_for_a_start_are_passed_unchanged() {
    let values = [
        "it's", "a b", "$(id)", "`id`", "-x", "--", "\"", "\\", "\\n", "a\nb", "a\tb", " lead",
        "trail ", "=", "a=b", "#", "%", "é", "日本", "'", "''", "\u{1}",
    ];
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let mut options = room.start_options();
        for (n, value) in values.iter().enumerate() {
            options = options.setting(format!("my.v{n}"), *value);
        }
        cluster.start(&options.env("LC_TIME", "C")).unwrap();
        let mut client = connect(&cluster);
        for (n, value) in values.iter().enumerate() {
            assert_eq!(ask(&mut client, &format!("SHOW my.v{n}")), *value);
        }
    }
}

/// Spaces, quotes, commas, letters beyond ASCII in every path that a start names.
#[test]
fn paths_may_contain_special_characters() {
    for installation in servers() {
        let room = Room::new();
        let odd = room.directory(r#"a b, "é' $(x) \"#);
        let sockets = room.directory(r#"s o, "é' \"#);
        let cluster = Cluster::new(installation, odd.join("da'ta")).unwrap();
        cluster.init(&pg_tests::init_options()).unwrap();
        let options = room
            .start_options()
            .socket_directory(&sockets)
            .log(Log::File(odd.join("the log")));
        cluster.start(&options).unwrap();
        let info = cluster.connection_info().unwrap().unwrap();
        assert_eq!(info.socket_directory(), Some(sockets.as_path()));
        assert!(sockets.join(".s.PGSQL.5432").exists());
        assert!(!cluster.log_tail().unwrap().is_empty());
        cluster.stop(&StopPlan::fast()).unwrap();
        cluster.remove().unwrap();
        assert!(odd.join("the log").exists() && sockets.exists());
    }
}

#[test]
fn a_scoped_server_stops_at_the_end_of_its_scope() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    {
        let running = cluster.run_scoped(&room.start_options()).unwrap();
        assert!(matches!(running.started(), Started::Now(_)));
        assert_eq!(running.cluster().readiness().unwrap(), Readiness::Ready);
    }
    assert!(!cluster.is_running().unwrap());
    let stopped = cluster
        .run_scoped(&room.start_options())
        .unwrap()
        .finish()
        .unwrap();
    assert!(matches!(
        stopped,
        pg_cluster::Stopped::By {
            signal: Signal::Fast,
            ..
        }
    ));
}

/// Two threads with one object, and two objects: one server, which the failure of a thread does not
/// stop.
#[test]
fn one_of_many_concurrent_starts_succeeds() {
    let room = Room::new();
    let one = Arc::new(room.cluster(&server()));
    let objects = [
        Arc::clone(&one),
        Arc::clone(&one),
        Arc::new(Cluster::new(server(), one.data_directory()).unwrap()),
        Arc::new(Cluster::new(server(), one.data_directory()).unwrap()),
    ];
    let options = room.start_options();
    let outcomes = thread::scope(|scope| {
        let threads = objects
            .each_ref()
            .map(|cluster| scope.spawn(|| cluster.start(&options)));
        threads.map(|thread| thread.join().unwrap())
    });
    let pid = one.pid().unwrap().expect("a server");
    let mut winners = 0;
    for outcome in outcomes {
        match outcome {
            Ok(Started::Now(now)) => {
                assert_eq!(now, pid);
                winners += 1;
            }
            Ok(Started::AlreadyRunning(other)) => assert_eq!(other, pid),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(
                    matches!(error.kind(), StartErrorKind::Held(holder) if *holder == pid),
                    "{error:?}"
                );
            }
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(ask(&mut connect(&one), "SELECT 1"), "1");
}

/// The same from independent processes. The losers learn the process ID of the server.
#[test]
fn one_of_many_starting_processes_succeeds() {
    const NAME: &str = "one_of_many_starting_processes_succeeds";
    let line_of_input = || std::io::stdin().read_line(&mut String::new()).unwrap();
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory.join("data")).unwrap();
        let options = pg_cluster::StartOptions::new().socket_only(directory.join("s"));
        println!("\nready");
        line_of_input();
        match cluster.start(&options) {
            Ok(Started::Now(pid)) => println!("won {pid}"),
            Ok(Started::AlreadyRunning(pid)) => println!("running {pid}"),
            Err(error) => match error.kind() {
                StartErrorKind::Held(pid) => println!("held {pid}"),
                _ => println!("failed {error:?}"),
            },
            Ok(other) => println!("failed {other:?}"),
        }
        line_of_input();
        return;
    }
    let room = Room::new();
    room.directory("s");
    let cluster = room.cluster(&server());
    let mut starters: Vec<_> = (0..8)
        .map(|_| {
            let mut starter = child(NAME, room.path().as_str())
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = BufReader::new(starter.stdout.take().unwrap()).lines();
            assert!(output.any(|line| line.unwrap() == "ready"));
            (starter, output)
        })
        .collect();
    let tell = |starter: &mut std::process::Child| {
        starter.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    };
    for (starter, _) in &mut starters {
        tell(starter);
    }
    let outcomes: Vec<String> = starters
        .iter_mut()
        .map(|(_, output)| output.next().unwrap().unwrap())
        .collect();
    let pid = cluster.pid().unwrap().expect("a server").to_string();
    let told = |outcome: &str| outcome.rsplit_once(' ').unwrap().1 == pid;
    assert!(
        outcomes.iter().all(|outcome| told(outcome)),
        "{pid}: {outcomes:?}"
    );
    let won = outcomes
        .iter()
        .filter(|outcome| outcome.starts_with("won "));
    assert_eq!(won.count(), 1, "{outcomes:?}");
    // Without the right to examine processes of other accounts there is nothing to check.
    if std::env::var_os("PG_TESTS_CONFINED").is_none() {
        assert_eq!(postmasters_in(cluster.data_directory()), [pid]);
    }
    assert_eq!(ask(&mut connect(&cluster), "SELECT 1"), "1");
    for (mut starter, _) in starters {
        tell(&mut starter);
        assert!(starter.wait().unwrap().success());
    }
    cluster.wait_until_stopped(PATIENCE).unwrap();
}

/// The processes that run PostgreSQL in this directory, without the children of one that does.
fn postmasters_in(directory: &Utf8Path) -> Vec<String> {
    let is_server = |pid: &str| {
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
        link("cwd") == directory && link("exe").ends_with("postgres")
    };
    let parent = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
        fields.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let all = fs::read_dir("/proc").unwrap();
    all.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|pid| is_server(pid) && !is_server(&parent(pid)))
        .collect()
}

/// The server of another program, which has exited: found, examined, signalled, stopped.
#[test]
fn a_detached_server_outlives_its_program() {
    const NAME: &str = "a_detached_server_outlives_its_program";
    let options = |room: &Utf8Path| {
        pg_cluster::StartOptions::new()
            .socket_directory(room.join("s"))
            .listen_addresses::<&str>([])
            .ownership(Ownership::Detached)
    };
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory.join("data")).unwrap();
        cluster.start(&options(&directory)).unwrap();
        return;
    }
    let room = Room::new();
    room.directory("s");
    let cluster = room.cluster(&server());
    assert!(
        child(NAME, room.path().as_str())
            .status()
            .unwrap()
            .success()
    );

    let pid = cluster.pid().unwrap().expect("the server lives on");
    assert_eq!(cluster.state().unwrap(), State::Ready(pid));
    assert_eq!(
        cluster.start(&options(room.path())).unwrap(),
        Started::AlreadyRunning(pid)
    );
    assert_eq!(cluster.exit_status(), None);
    assert!(
        cluster.log_tail().unwrap().contains(&pid.to_string())
            || !cluster.log_tail().unwrap().is_empty()
    );
    assert_eq!(cluster.reload().unwrap(), pid);
    assert_eq!(ask(&mut connect(&cluster), "SELECT 1"), "1");
    drop(Cluster::new(server(), cluster.data_directory()).unwrap());
    assert!(
        cluster.is_running().unwrap(),
        "another object's end means nothing to it"
    );
    cluster.stop(&StopPlan::fast()).unwrap();
    assert_eq!(cluster.pid().unwrap(), None);
}

/// A bound server exits with its program, however the program exits.
#[test]
fn a_bound_server_exits_with_its_program() {
    const NAME: &str = "a_bound_server_exits_with_its_program";
    if let Some(directory) = role() {
        let cluster = Cluster::new(server(), directory.join("data")).unwrap();
        let options = pg_cluster::StartOptions::new()
            .socket_directory(directory.join("s"))
            .listen_addresses::<&str>([]);
        cluster.start(&options).unwrap();
        println!("\nready");
        loop {
            thread::park();
        }
    }
    let room = Room::new();
    room.directory("s");
    let cluster = room.cluster(&server());
    let mut owner = child(NAME, room.path().as_str()).spawn().unwrap();
    let mut output = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(output.any(|line| line.unwrap() == "ready"));
    assert!(cluster.is_running().unwrap());
    owner.kill().unwrap();
    owner.wait().unwrap();
    cluster.wait_until_stopped(PATIENCE).unwrap();
    assert_eq!(cluster.state().unwrap(), State::Stopped);
}

#[test]
fn a_server_is_started_again_while_it_stops() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let first = cluster.start(&room.start_options()).unwrap();
    cluster.signal(Signal::Fast).unwrap();
    let second = cluster.start(&room.start_options()).unwrap();
    // The old server is reported as running only until it begins to stop.
    if second != Started::AlreadyRunning(first.pid()) {
        assert!(matches!(second, Started::Now(pid) if pid != first.pid()));
        assert_eq!(ask(&mut connect(&cluster), "SELECT 1"), "1");
    }
}
