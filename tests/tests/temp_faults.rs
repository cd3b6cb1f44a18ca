//! Owners of temporary clusters that are killed, at whatever moment.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_fixture::{Storage, TempCluster};
use pg_tests::{Room, Victim, ask, can_mount, is_root, processes_below, server};

fn spawn(room: &Room, mode: &str) -> Victim {
    Victim::spawn(Command::new(program()).args([
        room.join("cache").as_str(),
        room.join("storage").as_str(),
        mode,
    ]))
}

fn program() -> String {
    std::env::var("CARGO_BIN_EXE_temp-owner")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_temp-owner").to_owned())
}

/// A room with storage that the server's account can use, and a template.
fn room() -> Room {
    let room = Room::new();
    room.directory("storage");
    drop(builder(&room).start().unwrap());
    room
}

fn builder(room: &Room) -> pg_fixture::TempClusterBuilder {
    TempCluster::builder()
        .installation(server())
        .cache_directory(room.join("cache"))
        .storage(Storage::Directory(room.join("storage")))
}

/// A process that is killed between making a directory and having a guard for it leaves the
/// directory, which is found by one of the next starts.
fn start_until_swept(room: &Room) {
    let storage = room.join("storage");
    let until = Instant::now() + Duration::from_secs(30);
    let is_empty = || storage.read_dir_utf8().unwrap().next().is_none();
    while !is_empty() && Instant::now() < until {
        drop(builder(room).start().unwrap());
    }
}

/// Waits until the storage is empty and no process works in it.
fn await_nothing_left(room: &Room) {
    let storage = room.join("storage");
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let left: Vec<_> = storage
            .read_dir_utf8()
            .unwrap()
            .map(|entry| entry.unwrap().into_path())
            .collect();
        let processes = processes_below(&storage);
        if left.is_empty() && processes.is_empty() {
            return;
        }
        assert!(
            Instant::now() < until,
            "left behind: {left:?}, processes {processes:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_cluster_of_a_killed_owner_is_removed() {
    let room = room();
    let mut owner = spawn(&room, "temp");
    assert!(!owner.line().is_empty());
    owner.kill();
    await_nothing_left(&room);
}

#[test]
fn clusters_of_owners_killed_at_any_moment_are_removed() {
    let room = room();
    // Spread over the time that a start takes: cloning, starting, serving.
    let mut owner = spawn(&room, "temp");
    let begun = Instant::now();
    owner.line();
    let whole = begun.elapsed();
    owner.kill();
    for step in 0..20 {
        let owner = spawn(&room, "temp");
        std::thread::sleep(whole * step / 16);
        owner.kill();
    }
    start_until_swept(&room);
    await_nothing_left(&room);
}

#[test]
fn clusters_of_three_hundred_killed_owners_are_removed() {
    let room = room();
    for _ in 0..10 {
        let mut owner = spawn(&room, "many");
        for _ in 0..30 {
            assert_eq!(owner.line(), "one more");
        }
        owner.kill();
    }
    start_until_swept(&room);
    await_nothing_left(&room);
}

#[test]
fn clusters_of_owners_killed_during_drop_are_removed() {
    let room = room();
    let mut owner = spawn(&room, "drop");
    assert_eq!(owner.line(), "dropping");
    let begun = Instant::now();
    assert_eq!(owner.line(), "dropped");
    let whole = begun.elapsed();
    for step in 0..16 {
        while owner.line() != "dropping" {}
        std::thread::sleep(whole * step / 16);
        owner.kill();
        owner = spawn(&room, "drop");
    }
    assert_eq!(owner.line(), "dropping");
    owner.kill();
    start_until_swept(&room);
    await_nothing_left(&room);
}

/// With a `/dev/shm` of its own, whose room in bytes promises more than its room for files holds:
/// the clone fails, or the server, and both are made on the disk instead. And with one as small as
/// in a container, which is not even tried.
#[test]
fn the_disk_is_used_if_memory_is_full() {
    if !can_mount() {
        return;
    }
    let room = room();
    let disk = room.join("storage");
    let clone = builder(&room).start().unwrap();
    let files = count(&clone.path().join("data"));
    drop(clone);
    let cases = [
        "size=64m".to_owned(),
        "size=2g,nr_inodes=20".to_owned(),
        format!("size=2g,nr_inodes={}", files / 2),
        format!("size=2g,nr_inodes={}", files - 2),
    ];
    for options in cases {
        // The room may lie in /dev/shm itself, and has to remain where it is.
        let script = r#"set -e
            mount --bind "$1" /mnt
            mount -t tmpfs -o "mode=1777,$2" tmpfs /dev/shm
            mkdir -p "$1"
            mount --move /mnt "$1"
            shift 2
            "$@"
            ! ls /dev/shm | grep ^pgt-....... "#;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([room.path().as_str(), &options, &program()])
            .args([room.join("cache").as_str(), "automatic", "temp"])
            .env("TMPDIR", &disk);
        let mut owner = Victim::spawn(&mut command);
        let line = owner.line();
        assert!(line.starts_with(disk.as_str()), "{options}: {line}");
        let uri = line.split_once(' ').unwrap().1;
        let mut client = postgres::Client::connect(uri, postgres::NoTls).unwrap();
        assert_eq!(ask(&mut client, "SELECT 1"), "1");
        drop(client);
        owner.finish();
        await_nothing_left(&room);
    }
}

/// `/dev/shm` and `TMPDIR` cannot be written, which is no reason to fail as long as `/tmp` can.
#[test]
fn read_only_storage_is_skipped() {
    if !can_mount() {
        // To mount takes root, and `cargo xtask test` runs this as root, too.
        return;
    }
    // Not in memory, which is closed below.
    let room = tempfile::tempdir_in("/var/tmp").unwrap();
    let room = Utf8Path::from_path(room.path()).unwrap();
    let closed = room.join("closed");
    std::fs::create_dir(&closed).unwrap();
    let script = r#"set -e
        mount -t tmpfs -o ro,mode=1777 tmpfs "$1"
        mount --bind "$1" /dev/shm
        shift
        exec "$@" "#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh", closed.as_str()])
        .args([program().as_str(), room.join("cache").as_str()])
        .args(["automatic", "temp"])
        .env("TMPDIR", &closed);
    let mut owner = Victim::spawn(&mut command);
    let line = owner.line();
    assert!(line.starts_with("/tmp/pgt-"), "{line}");
    let (root, uri) = line.split_once(' ').unwrap();
    let mut client = postgres::Client::connect(uri, postgres::NoTls).unwrap();
    assert_eq!(ask(&mut client, "SELECT 1"), "1");
    drop(client);
    owner.finish();
    assert!(!Utf8Path::new(root).exists());
}

fn count(directory: &Utf8Path) -> usize {
    let entries = directory.read_dir_utf8().unwrap();
    let below = |entry: std::io::Result<camino::Utf8DirEntry>| {
        let entry = entry.unwrap();
        let is_directory = entry.file_type().unwrap().is_dir();
        1 + if is_directory { count(entry.path()) } else { 0 }
    };
    entries.map(below).sum()
}

#[test]
fn builders_that_are_killed_at_any_moment_leave_a_cache_that_works() {
    let room = Room::new();
    room.directory("storage");
    let mut owner = spawn(&room, "setup");
    let begun = Instant::now();
    assert_eq!(owner.line(), "building");
    let whole = begun.elapsed();
    owner.kill();
    await_nothing_left(&room);
    for step in 0..6 {
        let owner = spawn(&room, "setup");
        std::thread::sleep(whole * step / 6);
        owner.kill();
    }
    let mut owner = spawn(&room, "setup");
    assert_eq!(owner.line(), "building");
    assert_eq!(owner.finish(), "built\n");
    await_nothing_left(&room);
    let building = room.join("cache/building");
    for entry in building.read_dir_utf8().unwrap() {
        assert_eq!(entry.unwrap().path().read_dir_utf8().unwrap().count(), 0);
    }
}

#[test]
fn a_waiting_builder_takes_over_from_a_killed_one() {
    let room = Room::new();
    room.directory("storage");
    let mut first = spawn(&room, "setup");
    assert_eq!(first.line(), "building");
    let mut second = spawn(&room, "setup");
    first.kill();
    assert_eq!(second.line(), "building");
    second.finish();
    await_nothing_left(&room);
}

/// A wait for a builder that makes no progress, such as a suspended one, times out.
#[test]
fn a_wait_for_a_hanging_builder_times_out() {
    let room = Room::new();
    room.directory("storage");
    let mut first = spawn(&room, "setup");
    assert_eq!(first.line(), "building");
    let error = builder(&room)
        .setup("slow", |_| Ok::<(), std::io::Error>(()))
        .patience(Duration::from_millis(50))
        .start()
        .unwrap_err();
    assert!(
        matches!(error.kind(), pg_fixture::TempErrorKind::Lock(_)),
        "{error:?}"
    );
    assert_eq!(first.finish().trim_end(), "built");
}

/// Root in an ordinary container has no CAP_SYS_PTRACE, by which it could look at processes of
/// other users.
#[test]
fn setup_steps_need_no_rights_over_processes_of_others() {
    if !is_root() {
        // An ordinary user has none to lose.
        return;
    }
    let room = Room::new();
    room.directory("storage");
    let kept = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,\
                net_raw,sys_chroot,mknod,audit_write,setfcap";
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--bounding-set=-all,+{}", kept.replace(',', ",+")))
        .args([
            program(),
            room.join("cache").into(),
            room.join("storage").into(),
        ])
        .arg("setup");
    let mut builder = Victim::spawn(&mut command);
    assert_eq!(builder.line(), "building");
    assert_eq!(builder.finish().trim_end(), "built");
    await_nothing_left(&room);
}

#[test]
fn users_of_a_shared_server_have_databases_of_their_own() {
    let room = room();
    let shared = builder(&room).database("app").setup("1", |info| {
        postgres::Client::connect(&info.uri(), postgres::NoTls)?
            .batch_execute("CREATE TABLE t (n int)")
    });
    let shared = shared.linger(Duration::from_millis(100));
    let databases: Vec<_> = std::thread::scope(|scope| {
        let users: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| shared.share("k").unwrap()))
            .collect();
        users.into_iter().map(|user| user.join().unwrap()).collect()
    });
    for (n, database) in databases.iter().enumerate() {
        let mut client = postgres::Client::connect(&database.uri(), postgres::NoTls).unwrap();
        assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "0");
        ask(
            &mut client,
            &format!("INSERT INTO t VALUES ({n}) RETURNING n"),
        );
        assert!(database.log_tail().is_some());
    }
    let mut sockets: Vec<_> = databases
        .iter()
        .map(|database| database.env()[0].1.clone())
        .collect();
    sockets.dedup();
    assert_eq!(sockets.len(), 1, "one server for all");
    let last = shared.share("k").unwrap();
    drop(databases);
    let mut client = postgres::Client::connect(&last.uri(), postgres::NoTls).unwrap();
    assert_eq!(ask(&mut client, "SELECT count(*) FROM t"), "0");
    drop(client);
    drop(last);
    await_nothing_left(&room);
    drop(shared.share("k").unwrap());
    await_nothing_left(&room);
}

#[test]
fn a_shared_server_runs_until_its_last_user_exits() {
    let room = room();
    let mut first = spawn(&room, "shared");
    let line = first.line();
    let mut second = spawn(&room, "shared");
    let uri = second.line().split_once(' ').unwrap().1.to_owned();
    assert_eq!(
        line.split_once(' ').unwrap().0,
        uri_socket(&uri),
        "the same server"
    );
    // The one that started it.
    first.kill();
    let mut client = postgres::Client::connect(&uri, postgres::NoTls).unwrap();
    assert_eq!(ask(&mut client, "SELECT 1"), "1");
    let mut third = spawn(&room, "shared");
    assert!(third.line().starts_with(&uri_socket(&uri)));
    second.kill();
    assert_eq!(ask(&mut client, "SELECT 1"), "1");
    third.kill();
    await_nothing_left(&room);
    // The next one starts anew.
    let mut fourth = spawn(&room, "shared");
    assert!(!fourth.line().is_empty());
    fourth.finish();
    await_nothing_left(&room);
}

fn uri_socket(uri: &str) -> String {
    let host = uri.split('@').nth(1).unwrap().split(':').next().unwrap();
    host.replace("%2F", "/")
}
