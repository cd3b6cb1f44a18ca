//! Waiting for a lock. One test, alone in its process, so that threads can be counted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::Utf8Path;
use pg_proc::{Deadline, DirectoryLock, LockErrorKind, TryLock};

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_lock_names_its_holder_and_leaves_no_thread() {
    let room = tempfile::tempdir().unwrap();
    let room = Utf8Path::from_path(room.path()).unwrap();
    let before = threads();

    // Another process: `flock` of util-linux holds it until it is killed.
    let mut holder = Command::new("flock")
        .args(["-o", room.as_str(), "sh", "-c", "echo locked; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its child process outlives it, and exits at the end of its input.
    let _input = holder.stdin.take().unwrap();
    let mut output = holder.stdout.take().unwrap();
    std::io::Read::read_exact(&mut output, &mut [0; 7]).unwrap();
    assert!(matches!(
        DirectoryLock::try_acquire(room).unwrap(),
        TryLock::Busy
    ));
    for _ in 0..10 {
        let error = DirectoryLock::acquire(room, Duration::from_millis(1)).unwrap_err();
        let LockErrorKind::Busy { holder: Some(pid) } = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(pid.as_raw(), i32::try_from(holder.id()).unwrap());
        assert!(error.hint().unwrap().contains(&holder.id().to_string()));
    }
    assert_eq!(threads(), before);

    // A waiting process acquires the lock when the holder is killed.
    let lock = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| DirectoryLock::acquire(room, Deadline::never()));
        holder.kill().unwrap();
        holder.wait().unwrap();
        waiter.join().unwrap().unwrap()
    });
    let error = DirectoryLock::acquire(room, Duration::ZERO).unwrap_err();
    assert!(
        matches!(error.kind(), LockErrorKind::Busy { holder: Some(pid) }
            if u32::try_from(pid.as_raw()) == Ok(std::process::id())),
        "{error:?}"
    );
    drop(lock);
    DirectoryLock::acquire(room, Duration::ZERO).unwrap();
}
