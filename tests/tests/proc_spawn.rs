//! The environment of a started program, and its exit.

mod proc_fixture;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use camino::Utf8Path;
use pg_proc::{
    Account, Command, Deadline, GuardOptions, Log, Ownership, Postmaster, RunErrorKind, Signal,
    SpawnErrorKind, StopPlan, WaitErrorKind,
};
use proc_fixture::{Cluster, Process, account, give_to_account, patience, wait_removed};

fn sh(script: &str) -> Command {
    Command::new("/bin/sh").args(["-c", script])
}

fn text(command: &Command) -> String {
    let output = command.run(patience()).expect("success");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim_end()
        .to_owned()
}

#[test]
fn nothing_of_the_caller_is_inherited() {
    let file = fs::File::open("/dev/zero").expect("open");
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("inheritable");
    // `ls` itself opens the directory as 3.
    assert_eq!(
        text(&Command::new("/bin/ls").arg("/proc/self/fd")),
        "0\n1\n2\n3"
    );

    let status = text(&Command::new("/bin/cat").arg("/proc/self/status"));
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect(field);
        let mask = u64::from_str_radix(line.rsplit('\t').next().expect("mask"), 16).expect("mask");
        // 32 and 33 are reserved by the C library, which does not let programs set them.
        assert_eq!(mask & !(3 << 31), 0, "{line}");
    }
    assert_eq!(text(&sh("umask")), "0077");
    assert_eq!(text(&sh("pwd")), "/");

    // The program has its own session.
    let stat = text(&Command::new("/bin/cat").arg("/proc/self/stat"));
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!(fields[0], fields[5]);
    assert_eq!(fields[6], "0", "no terminal");
}

#[test]
fn the_environment_is_cleaned() {
    let variables = "PGDATA=/x PGOPTIONS=-x PGHOST=y NOTIFY_SOCKET=z LANG=C.UTF-8";
    let env = |command: &str| {
        let mut outer = std::process::Command::new("/usr/bin/env");
        outer
            .args(variables.split(' '))
            .args([env!("CARGO_BIN_EXE_proc-owner"), "env"]);
        let output = outer.arg(command).output().expect("env");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let seen = env("/usr/bin/env");
    assert!(seen.contains("LANG=C.UTF-8\n"), "{seen}");
    assert!(!seen.contains("\nPG") && !seen.starts_with("PG"), "{seen}");
    assert!(!seen.contains("NOTIFY_SOCKET"), "{seen}");

    let set = sh("echo $PGAPPNAME")
        .env("PGAPPNAME", "a b")
        .env("X", "y")
        .env_remove("X");
    assert_eq!(text(&set), "a b");
    assert_eq!(
        text(&sh("echo ${X-unset}").env("X", "y").env_remove("X")),
        "unset"
    );
}

#[test]
fn arguments_are_not_shell_words() {
    let odd = ["a b", "$(id)", "'", "\"", "", "*", "\\"];
    let output = Command::new("/usr/bin/printf")
        .arg("%s\\n")
        .args(odd)
        .run(patience());
    assert_eq!(
        output.expect("printf").stdout,
        format!("{}\n", odd.join("\n")).into_bytes()
    );
    let nul = Command::new("/bin/true")
        .arg("a\0b")
        .run(patience())
        .expect_err("zero byte");
    assert!(
        matches!(nul.kind(), RunErrorKind::Start(e) if matches!(e.kind(), SpawnErrorKind::Nul(_)))
    );
}

#[test]
fn input_and_both_outputs() {
    // More than any pipe holds, both ways at once.
    let input = vec![b'x'; 1 << 20];
    let output = sh("tee /dev/stderr")
        .input(input.clone())
        .run(patience())
        .expect("tee");
    assert!(output.stdout == input && output.stderr == input);
    let output = sh("tee /dev/stderr")
        .input(input)
        .capture_limit(10)
        .run(patience())
        .expect("tee");
    assert_eq!((output.stdout.len(), output.stderr.len()), (10, 10));
    assert_eq!(text(&sh("cat")), "", "no input");
    // The program does not read its input.
    sh("exit 0")
        .input(vec![0; 1 << 20])
        .run(patience())
        .expect("success");
}

#[test]
fn failures_have_a_reason() {
    let error = sh("echo out; echo why >&2; exit 3")
        .run(patience())
        .expect_err("status 3");
    assert_eq!(error.status().and_then(|status| status.code()), Some(3));
    assert_eq!(
        (error.stdout(), error.stderr()),
        (&b"out\n"[..], &b"why\n"[..])
    );
    assert_eq!(
        pg_cluster::Report::new(&error).to_string(),
        "failed to run /bin/sh: the program failed with exit status: 3: why"
    );

    let refused = |command: &Command, is_expected: fn(&SpawnErrorKind) -> bool| match command
        .run(patience())
        .expect_err("no start")
        .kind()
    {
        RunErrorKind::Start(error) => assert!(is_expected(error.kind()), "{error:?}"),
        kind => panic!("{kind:?}"),
    };
    refused(&Command::new("/nowhere"), |kind| {
        matches!(kind, SpawnErrorKind::NotFound(_))
    });
    refused(&Command::new("/etc/passwd"), |kind| {
        matches!(kind, SpawnErrorKind::Execute(_))
    });
    refused(&Command::new("/bin/true").current_dir("/nowhere"), |kind| {
        matches!(kind, SpawnErrorKind::Directory { .. })
    });
}

#[test]
fn processes_left_by_a_program_are_killed() {
    // It holds the output open: who waits for its end waits for long.
    let pid = text(&sh("setsid sleep 1000 & echo $!"));
    assert!(!Utf8Path::new("/proc").join(pid).exists());
}

#[test]
fn a_program_is_killed_when_its_owner_exits() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = Utf8Path::from_path(directory.path()).expect("UTF-8");
    give_to_account(path);
    let root = path.join("root");
    fs::create_dir(&root).expect("mkdir");
    give_to_account(&root);
    fs::write(root.join("marker"), "").expect("write");
    let started = path.join("started");
    pg_tests::put_fifo(&started);
    let script = format!("sleep 1000 & echo $! > {started}; wait");
    let mut owner = std::process::Command::new(env!("CARGO_BIN_EXE_proc-owner"))
        .args(["run", root.as_str(), "/bin/sh", "-c", &script])
        .stdout(Stdio::null())
        .spawn()
        .expect("an owner");
    let child = fs::read_to_string(&started)
        .expect("its child")
        .trim()
        .parse()
        .expect("a number");
    let processes = Process::open_with_parent(child);
    owner.kill().expect("kill");
    owner.wait().expect("wait");
    for process in processes {
        process.wait_gone();
    }
    wait_removed(&root);
}

#[test]
fn a_server_runs_as_its_account() {
    let Some(account) = account() else {
        let waived = std::env::var_os("PG_TESTS_ONE_USER").is_some();
        assert!(
            waived,
            "run this as root, or set PG_TESTS_ONE_USER to do without"
        );
        return;
    };
    let id = |what: &str| {
        text(
            &Command::new("/usr/bin/id")
                .arg(what)
                .account(account.clone()),
        )
    };
    assert_eq!(id("-u"), account.uid().to_string());
    assert_eq!(id("-g"), account.gid().to_string());
    let mut groups: Vec<u32> = id("-G")
        .split(' ')
        .map(|g| g.parse().expect("a number"))
        .collect();
    let mut expected = account.groups().to_vec();
    groups.sort_unstable();
    expected.sort_unstable();
    assert_eq!(groups, expected);
    let variables = text(&sh("echo $HOME $USER $LOGNAME").account(account.clone()));
    let name = account.name().expect("a name");
    assert_eq!(
        variables,
        format!("{} {name} {name}", account.home().expect("a home"))
    );
    // A number that no account has.
    let nobody = Account::by_id(54_321).expect("an account");
    assert_eq!(
        text(&Command::new("/usr/bin/id").arg("-G").account(nobody)),
        "54321"
    );
    // A caller that is not root cannot switch to another account, and reports this.
    let helper = tempfile::tempdir().expect("a directory");
    let helper = Utf8Path::from_path(helper.path())
        .expect("UTF-8")
        .to_owned();
    assert!(
        Account::for_data_directory(&helper)
            .expect("an account")
            .is_some()
    );
}

#[test]
fn the_log_goes_where_it_should() {
    let cluster = Cluster::new();
    fs::write(cluster.log(), "of an earlier start\n").expect("write");
    give_to_account(&cluster.log());
    let server = cluster.start();
    let log = String::from_utf8(server.log_tail(1 << 20).expect("log")).expect("UTF-8");
    assert!(log.contains("ready to accept connections"), "{log}");
    assert!(!log.contains("earlier"), "{log}");
    assert_eq!(server.log_tail(7).expect("log").len(), 7);
    drop(server);
    let all = fs::read_to_string(cluster.log()).expect("log");
    assert!(all.starts_with("of an earlier start\n"), "{all}");

    let server = cluster
        .command()
        .spawn_server(&cluster.options().log(Log::Tail(100)))
        .expect("spawn");
    server.wait_ready(patience()).expect("ready");
    assert_eq!(server.log_tail(1000).expect("log").len(), 100);
    // Far more than a pipe holds.
    let mut client = cluster.connect();
    client
        .batch_execute("DO $$ BEGIN FOR i IN 1..20000 LOOP RAISE LOG 'a message'; END LOOP; END $$")
        .expect("DO");
    let mut server = server;
    server.detach().expect_err("its log needs a reader");
    drop(server);

    let unwritable = cluster.options().log(Log::File("/nowhere/log".into()));
    let error = cluster
        .command()
        .spawn_server(&unwritable)
        .expect_err("no such directory");
    assert!(
        matches!(error.kind(), SpawnErrorKind::Log { .. }),
        "{error}"
    );
}

#[test]
fn a_detached_server_cannot_log_to_memory() {
    let cluster = Cluster::new();
    let options = cluster
        .options()
        .ownership(Ownership::Detached)
        .log(Log::Tail(1024));
    let error = cluster.command().spawn_server(&options).expect_err("a log");
    assert!(
        matches!(error.kind(), SpawnErrorKind::DetachedTail),
        "{error}"
    );
}

#[test]
fn a_detached_server_outlives_its_owner() {
    let cluster = Cluster::new();
    for early in [true, false] {
        let mut options = cluster.options();
        if early {
            options = options.ownership(Ownership::Detached);
        }
        let mut server = cluster.command().spawn_server(&options).expect("spawn");
        server.wait_ready(patience()).expect("ready");
        server.detach().expect("a log in a file");
        let pid = server.pid();
        drop(server);
        let Ok(pg_proc::Found::Running(found)) = Postmaster::find(&cluster.data) else {
            panic!("it has ended")
        };
        assert_eq!(found.pid(), pid);
        found
            .wait_gone(Duration::from_millis(300))
            .expect_err("it lives on");
        cluster
            .connect()
            .query_one("SELECT 1", &[])
            .expect("SELECT");
        found.send(Signal::Fast).expect("signal");
        found.wait_gone(patience()).expect("gone");
    }
}

#[test]
fn a_failed_start_ends_the_wait() {
    let cluster = Cluster::new();
    let command = cluster.command().args(["-c", "no_such_parameter=1"]);
    let server = command.spawn_server(&cluster.options()).expect("spawn");
    let error = server
        .wait_ready(Deadline::never())
        .expect_err("a wrong parameter");
    assert!(
        matches!(error.kind(), WaitErrorKind::Exited(Some(status)) if status.code() == Some(1))
    );
    let log = String::from_utf8(server.log_tail(4096).expect("log")).expect("UTF-8");
    assert!(log.contains("no_such_parameter"), "{log}");
}

#[test]
fn plans_escalate() {
    let cluster = Cluster::new();
    // A smart shutdown waits for this client for ever.
    let plan = StopPlan::new(Signal::Smart, Duration::from_millis(50));
    let bound = cluster.options().ownership(Ownership::Bound(plan));
    let server = cluster.command().spawn_server(&bound).expect("spawn");
    server.wait_ready(patience()).expect("ready");
    let client = cluster.connect();
    let postmaster = Process::open(server.pid()).expect("alive");
    drop(server);
    assert!(postmaster.has_ended());
    drop(client);
    cluster.start();
}

#[test]
fn guards_remove_only_the_named_directories() {
    let parent = tempfile::tempdir().expect("a directory");
    let parent = Utf8Path::from_path(parent.path()).expect("UTF-8");
    let outside = parent.join("outside");
    fs::create_dir(&outside).expect("mkdir");
    fs::write(outside.join("file"), "").expect("write");
    let make = |name: &str| {
        let root = parent.join(name);
        fs::create_dir_all(root.join("a/b/c")).expect("mkdir");
        for number in 0..100 {
            fs::write(root.join(format!("a/b/{number}")), "").expect("write");
        }
        fs::write(root.join("marker"), "").expect("write");
        std::os::unix::fs::symlink(&outside, root.join("a/link")).expect("ln");
        root
    };
    let guard = |root: &Utf8Path| {
        GuardOptions::new()
            .remove_marked(root, "marker")
            .guard()
            .expect("a guard")
    };

    let removed = make("removed");
    assert!(guard(&removed).remove(patience()));
    assert!(!removed.exists());

    let released = make("released");
    guard(&released).release();
    assert!(released.join("a/b/0").exists());

    let unmarked = make("unmarked");
    fs::remove_file(unmarked.join("marker")).expect("rm");
    drop(guard(&unmarked));
    assert!(unmarked.join("a/b/0").exists());

    let replaced = make("replaced");
    let waiting = guard(&replaced);
    fs::rename(&replaced, parent.join("moved")).expect("mv");
    let replacement = make("replaced");
    drop(waiting);
    assert!(replacement.join("a/b/0").exists() && parent.join("moved/a/b/0").exists());

    let linked = make("linked");
    let waiting = guard(&linked);
    fs::rename(&linked, parent.join("target")).expect("mv");
    std::os::unix::fs::symlink(parent.join("target"), &linked).expect("ln");
    drop(waiting);
    assert!(parent.join("target/a/b/0").exists());

    assert!(outside.join("file").exists());
    GuardOptions::new()
        .remove(parent.join("nowhere"))
        .guard()
        .expect_err("no such directory");
}

#[test]
fn a_guard_waits_for_what_it_guards() {
    let parent = tempfile::tempdir().expect("a directory");
    let root = Utf8Path::from_path(parent.path())
        .expect("UTF-8")
        .join("root");
    fs::create_dir(&root).expect("mkdir");
    let guard = GuardOptions::new().remove(&root).guard().expect("a guard");
    let options = pg_proc::ServerOptions::new(&root).ownership(Ownership::Detached);
    let program = sh("echo; sleep 1000").guarded_by(&guard);
    let server = program.spawn_server(&options).expect("spawn");
    assert!(!guard.remove(Deadline::after(Duration::from_millis(100))));
    assert!(root.exists());
    server.send(Signal::Kill).expect("signal");
    wait_removed(&root);
}

/// A caller that reads the output of an owner sees its end when the owner ends, not when the server
/// does.
#[test]
fn the_owners_output_is_not_held_open() {
    let cluster = Cluster::new();
    fs::write(cluster.root.join("marker"), "").expect("marker");
    let command = cluster.command();
    let mut owner = std::process::Command::new(env!("CARGO_BIN_EXE_proc-owner"))
        .args(["detach", cluster.root.as_str(), command.program().as_str()])
        .args(command.arguments())
        .stdout(Stdio::piped())
        .spawn()
        .expect("an owner");
    let mut output = BufReader::new(owner.stdout.take().expect("stdout"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a number");
    assert!(owner.wait().expect("wait").success());
    output.read_to_end(&mut Vec::new()).expect("the end");
    let Ok(pg_proc::Found::Running(found)) = Postmaster::find(&cluster.data) else {
        panic!("it has ended")
    };
    found.kill(patience()).expect("killed");
}
