//! The texts of errors: each provoked, with its causes and its advice.
//!
//! After a change of a text, `PG_UPDATE_TEXTS=1 cargo test -p pg-tests --test texts` writes the
//! snapshot anew.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use camino::Utf8Path;
use pg_cluster::Report;
use pg_proc::{
    Account, Command, Deadline, DirectoryLock, GuardOptions, Log, MAX_SOCKET_PATH, Ownership, Pid,
    PidFile, Postmaster, PostmasterOpts, ServerOptions, Signal, SocketPath, release_shared_memory,
};

/// The chain of an error, one cause a line, and the advice that a user sees.
struct Texts {
    room: tempfile::TempDir,
    text: String,
}

impl Texts {
    fn room(&self) -> &Utf8Path {
        Utf8Path::from_path(self.room.path()).expect("UTF-8")
    }

    #[track_caller]
    fn show<T>(&mut self, result: Result<T, impl Error + 'static>) {
        let Err(error) = result else {
            panic!("no error")
        };
        let mut text = format!("{error}\n");
        let mut above = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let said = cause.to_string();
            assert!(!above.contains(&said), "said twice: {above}: {said}");
            text += &format!("  because {said}\n");
            above = said;
            next = cause.source();
        }
        if let Some(hint) = Report::new(&error).hint() {
            text += &format!("  hint: {hint}\n");
        }
        self.text += &text.replace(self.room().as_str(), "ROOM");
        self.text += "\n";
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

#[test]
fn the_errors_of_pg_proc() {
    let room = tempfile::tempdir().expect("a directory");
    let text = String::new();
    let mut texts = Texts { room, text };
    let data = texts.room().join("data");
    fs::create_dir(&data).expect("a directory");
    let lock_file = data.join(PidFile::NAME);
    let opts_file = data.join(PostmasterOpts::NAME);

    texts.show("-1".parse::<Pid>());
    texts.show(SocketPath::new("x".repeat(200), 5432));

    for content in ["", "12", "x\n", "12\n/d\n1\n70000\n"] {
        texts.show(PidFile::parse(content.as_bytes()));
    }
    texts.show("".parse::<PostmasterOpts>());
    texts.show("postgres \"-D".parse::<PostmasterOpts>());
    for file in [&lock_file, &opts_file] {
        fs::create_dir(file).expect("a directory in the place of the file");
    }
    texts.show(PidFile::read(&data));
    texts.show(PostmasterOpts::read(&data));
    for file in [&lock_file, &opts_file] {
        fs::remove_dir(file).expect("removed");
        fs::write(file, "x".repeat((8 << 20) + 1)).expect("a long file");
    }
    texts.show(PidFile::read(&data));
    texts.show(PostmasterOpts::read(&data));
    for file in [&lock_file, &opts_file] {
        fs::remove_file(file).expect("removed");
        symlink(file, file).expect("a link to itself");
    }
    texts.show(PidFile::read(&data));
    texts.show(PostmasterOpts::read(&data));
    texts.show(Postmaster::find(&data));
    texts.show(release_shared_memory(&data));
    texts.show(Postmaster::find("/dev/null"));
    fs::remove_file(&lock_file).expect("removed");

    texts.show(Account::by_name("no-such-account"));
    texts.show(DirectoryLock::acquire("/nowhere", soon()));
    let held = DirectoryLock::acquire(&data, soon()).expect("a lock");
    let busy = DirectoryLock::acquire(&data, Deadline::after(Duration::ZERO));
    texts.show(busy);
    drop(held);
    texts.show(GuardOptions::new().remove("/dev/null").guard());
    texts.show(GuardOptions::new().remove("/nowhere/data").guard());
    texts.show(
        GuardOptions::new()
            .remove_marked(data.clone(), "a/b")
            .guard(),
    );

    let sh = |script: &str| Command::new("/bin/sh").args(["-c", script]);
    texts.show(sh("exit 3").run(soon()));
    texts.show(sh("echo 'x: error: no' >&2; echo 'x: hint: try' >&2; exit 1").run(soon()));
    texts.show(sh("exec sleep 60").run(Duration::from_millis(50)));
    texts.show(Command::new("/nowhere").run(soon()));
    texts.show(Command::new("/etc/passwd").run(soon()));
    texts.show(sh("").current_dir("/nowhere").run(soon()));
    texts.show(sh("a\0b").run(soon()));

    let options = ServerOptions::new(data.clone());
    let in_memory = options.clone().log(Log::Tail(100));
    let log = options.clone().log(Log::File("/nowhere/log".into()));
    texts.show(sh("exit 1").spawn_server(&log));
    let detached = in_memory.clone().ownership(Ownership::Detached);
    texts.show(sh("exit 1").spawn_server(&detached));
    let mut server = sh("exit 1").spawn_server(&in_memory).expect("a program");
    let pid = server.pid().to_string();
    let before = std::mem::take(&mut texts.text);
    texts.show(server.detach());
    texts.show(server.wait_ready(soon()));
    server.wait_gone(soon()).expect("its exit");
    texts.show(server.send(Signal::Fast));
    texts.show(server.postmaster().promote());
    let after = without_times(&texts.text.replace(&pid, "PID"));
    // Its own process holds the lock where the system names one.
    let own = format!("process {}", Pid::current());
    let text = before.replace(&own, "process PID") + &after;
    // Other systems allow other lengths.
    let text = text.replace(&format!("more than {MAX_SOCKET_PATH}"), "more than MAX");
    compare("pg-proc", &text);
}

/// The time that a wait has taken is another one each time.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once(" after ") {
        Some((begin, _)) if line.starts_with("failed to wait") => format!("{begin} after TIME"),
        _ => line.to_owned(),
    };
    text.lines().map(|it| line(it) + "\n").collect()
}

fn compare(name: &str, text: &str) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/texts/");
    let path = format!("{directory}{name}.txt");
    if std::env::var_os("PG_UPDATE_TEXTS").is_some() {
        fs::create_dir_all(directory).expect("a writable checkout");
        fs::write(&path, text).expect("a writable checkout");
    }
    let expected = fs::read_to_string(&path).expect("the snapshot");
    assert_eq!(text, expected, "{path}");
}
