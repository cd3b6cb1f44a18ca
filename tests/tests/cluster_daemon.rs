//! A program that has made itself a daemon: a forked copy lives on, its parent has exited.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pg_cluster::Cluster;
use pg_tests::{Room, connect, server};

/// No process reads the log that the parent kept in memory. The server continues to run as long as
/// the copy does.
#[test]
fn a_server_does_not_wait_for_the_reader_of_its_log() {
    let limit = Duration::from_secs(60);
    let room = Room::new();
    let cluster = room.cluster(&server());
    let mut owner = Command::new(env!("CARGO_BIN_EXE_forking-owner"))
        .args(["lives-on", cluster.data_directory().as_str()])
        .arg(room.directory("sockets"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let copy = owner.stdin.take().unwrap();
    assert!(owner.wait().unwrap().success());

    let cluster = Cluster::new(server(), cluster.data_directory()).unwrap();
    let mut client = connect(&cluster);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let fills_a_pipe = "DO $$ BEGIN FOR n IN 1..4000 LOOP \
                            RAISE LOG '%', repeat('x', 100); END LOOP; END $$";
        let _ = tell.send(client.batch_execute(fills_a_pipe));
    });
    told.recv_timeout(limit).expect("the server hangs").unwrap();
    assert!(cluster.is_running().unwrap());

    drop(copy);
    cluster.wait_until_stopped(limit).unwrap();
}
