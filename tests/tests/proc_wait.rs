//! Waiting for a status, and asking over the network.

mod proc_fixture;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use pg_proc::{
    Deadline, Endpoint, Found, Ping, Postmaster, Rejection, Signal, SignalErrorKind, Status,
    WaitErrorKind, ping,
};
use pg_tests::put_fifo;
use proc_fixture::{Cluster, account, bin_directories, patience};

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(100))
}

fn find_portably(cluster: &Cluster) -> Postmaster {
    loop {
        match Postmaster::find_portably(&cluster.data).expect("find") {
            Found::Running(found) => return found,
            Found::Nothing => std::thread::yield_now(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn portable_means_see_the_same() {
    let cluster = Cluster::new();
    let server = cluster.spawn();
    let found = find_portably(&cluster);
    assert_eq!(found.wait_ready(patience()).expect("ready"), Status::Ready);
    found.wait_gone(soon()).expect_err("it runs");
    found.send(Signal::Reload).expect("signal");
    found.send(Signal::Fast).expect("signal");
    found.wait_gone(patience()).expect("gone");
    assert!(found.send(Signal::Fast).expect_err("gone").is_gone());
    assert!(
        server
            .wait_gone(patience())
            .expect("gone")
            .expect("status")
            .success()
    );

    let server = cluster.start();
    find_portably(&cluster).kill(patience()).expect("killed");
    drop(server);
    cluster.start();
}

#[test]
fn deadlines_end() {
    let cluster = Cluster::new();
    let server = cluster.start();
    let error = server
        .wait_status(&[Status::Stopping], soon())
        .expect_err("it does not stop");
    assert!(
        matches!(error.kind(), WaitErrorKind::TimedOut(Some(Status::Ready))),
        "{error}"
    );
    assert!(error.waited() >= Duration::from_millis(100));
    server.wait_gone(soon()).expect_err("it runs");
    server.postmaster().wait_gone(soon()).expect_err("it runs");
    // A smart shutdown waits for the client.
    let client = cluster.connect();
    server.send(Signal::Smart).expect("signal");
    server
        .wait_status(&[Status::Stopping], patience())
        .expect("stopping");
    let error = server.wait_ready(soon()).expect_err("it stops");
    assert!(
        matches!(
            error.kind(),
            WaitErrorKind::TimedOut(Some(Status::Stopping))
        ),
        "{error}"
    );
    drop(client);
    server.wait_gone(patience()).expect("gone");
}

/// A server that recovers from an archive waits in `restore_command`, which waits for this test.
#[test]
fn recovery_extends_a_deadline() {
    let cluster = Cluster::new();
    let server = cluster.start();
    server.postmaster().kill(patience()).expect("killed");
    drop(server);

    let gate = cluster.root.join("gate");
    put_fifo(&gate);
    let waiting = format!("test -p {gate} && cat {gate}; false");
    let newest = pg_tests::server();
    let server = if newest.version().major() < 12 {
        let file = cluster.data.join("recovery.conf");
        // The newest timeline is looked for before anything is replayed.
        let text = format!("restore_command = '{waiting}'\nrecovery_target_timeline = 'latest'\n");
        fs::write(&file, text).expect("write");
        proc_fixture::give_to_account(&file);
        cluster.spawn()
    } else {
        let file = cluster.data.join("recovery.signal");
        fs::write(&file, "").expect("write");
        proc_fixture::give_to_account(&file);
        let setting = format!("restore_command={waiting}");
        let command = cluster.command().args(["-c", &setting]);
        command.spawn_server(&cluster.options()).expect("a server")
    };
    // Opening it blocks until another process reads.
    let opened = fs::File::options()
        .write(true)
        .open(&gate)
        .expect("the pipe");

    let at_once = || Deadline::after(Duration::ZERO);
    let extended = Duration::from_millis(300);
    server.wait_ready(at_once()).expect_err("it recovers");
    // It recovers, so the end of the deadline is not the end; nothing moves, so that ends it.
    let patient = at_once().while_recovering(extended);
    let error = server.wait_ready(patient).expect_err("it recovers");
    assert!(error.waited() >= extended, "{error}");

    fs::remove_file(&gate).expect("rm");
    drop(opened);
    server.wait_ready(patience()).expect("ready");
    let patient = at_once().while_recovering(extended);
    server
        .wait_status(&[Status::Stopping], patient)
        .expect_err("it does not stop");
}

/// A server that is stuck before recovery could begin does not extend the deadline.
#[test]
fn only_recovery_extends_a_deadline() {
    let cluster = Cluster::new();
    let control = cluster.data.join("global/pg_control");
    fs::remove_file(&control).expect("rm");
    put_fifo(&control);
    let server = cluster.spawn();
    let patient = Deadline::after(Duration::from_millis(100)).while_recovering(Duration::MAX);
    let error = server.wait_ready(patient).expect_err("it is stuck");
    assert!(
        matches!(error.kind(), WaitErrorKind::TimedOut(_)),
        "{error}"
    );
    server.postmaster().kill(patience()).expect("killed");
}

#[test]
fn standby_and_promotion() {
    let cluster = Cluster::new();
    fs::write(cluster.data.join("standby.signal"), "").expect("write");
    proc_fixture::give_to_account(&cluster.data.join("standby.signal"));
    let command = cluster
        .command()
        .args(["-c", "hot_standby=off", "-c", "restore_command=false"]);
    let server = command.spawn_server(&cluster.options()).expect("spawn");
    assert_eq!(server.wait_ready(patience()).expect("up"), Status::Standby);
    assert!(matches!(
        ping(&cluster.endpoint(), patience()),
        Ping::Rejecting(Rejection::NotAccepting | Rejection::StartingUp)
    ));
    // Opening a pipe for writing blocks until another process reads.
    let request = cluster.data.join("promote");
    put_fifo(&request);
    let error = server.postmaster().promote().expect_err("a pipe");
    assert!(matches!(
        error.kind(),
        SignalErrorKind::RequestFile("promote", _)
    ));
    fs::remove_file(&request).expect("removed");
    server.postmaster().promote().expect("promoted");
    server
        .wait_status(&[Status::Ready], patience())
        .expect("a primary");
    assert!(!request.exists());
}

#[test]
fn answers() {
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        assert!(matches!(
            ping(&cluster.endpoint(), patience()),
            Ping::NoResponse(_)
        ));
        let server = cluster.spawn();
        server
            .postmaster()
            .wait_accepting(&cluster.endpoint(), patience())
            .expect("accepting");
        assert!(ping(&cluster.endpoint(), patience()).is_accepting());
        let stranger = cluster
            .endpoint()
            .user("no such role")
            .database("nor database");
        assert!(ping(&stranger, patience()).is_accepting());

        let client = cluster.connect();
        server.send(Signal::Smart).expect("signal");
        server
            .wait_status(&[Status::Stopping], patience())
            .expect("stopping");
        match ping(&cluster.endpoint(), patience()) {
            Ping::Rejecting(reason) => assert_eq!(reason, Rejection::ShuttingDown),
            other => panic!("{other:?}"),
        }
        drop(client);
        server.wait_gone(patience()).expect("gone");

        // A ping leaves nothing to complain about in the log.
        let log = fs::read_to_string(cluster.log()).expect("log");
        for complaint in ["could not", "incomplete", "invalid", "reset", "unexpected"] {
            assert!(!log.contains(complaint), "{log}");
        }
    }
}

/// Answers one connection with these bytes; what it was sent, until the other side closed.
fn answer(address: &str, bytes: &'static [u8]) -> (Endpoint, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(address).expect("a port");
    let endpoint = Endpoint::tcp(listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().expect("a connection");
        let mut sent = vec![0; 8];
        stream.read_exact(&mut sent).expect("a packet");
        stream.write_all(bytes).expect("an answer");
        // A client that has read enough may have disconnected.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut sent);
        sent
    });
    (endpoint, thread)
}

#[test]
fn protocol() {
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (endpoint, server) = answer(address, PASSWORD);
        assert!(ping(&endpoint, patience()).is_accepting());
        let sent = server.join().expect("no panic");
        assert_eq!(
            sent,
            b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0"
        );
    }
    let (endpoint, server) = answer("127.0.0.1:0", OK);
    assert!(ping(&endpoint, patience()).is_accepting());
    assert!(server.join().expect("no panic").ends_with(b"X\0\0\0\x04"));

    let error = |text: &'static [u8]| {
        let (endpoint, server) = answer("127.0.0.1:0", text);
        let answer = ping(&endpoint, patience());
        server.join().expect("no panic");
        answer
    };
    let french = b"E\0\0\0\x29SFATAL\0C57P03\0Mle syst\xc3\xa8me d\xc3\xa9marre\0\0";
    match error(french) {
        Ping::Rejecting(Rejection::Unspecified(text)) => assert_eq!(text, "le système démarre"),
        other => panic!("{other:?}"),
    }
    assert!(error(b"E\0\0\0\x19SFATAL\0C53300\0Mfull\0\0").is_accepting());
    for nonsense in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"",
        b"E",
        b"E\0\0\0\x03",
        b"R\xff\xff\xff\xff",
        b"Efatal\0",
        b"E\0\0\0\x05\0",
    ] {
        assert!(
            matches!(error(nonsense), Ping::NoResponse(_)),
            "{nonsense:?}"
        );
    }
    // Accepts, and sends nothing.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = Endpoint::tcp(listener.local_addr().expect("an address"));
    match ping(&silent, soon()) {
        Ping::NoResponse(e) => assert_eq!(e.kind(), std::io::ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_names_its_server() {
    let cluster = Cluster::new();
    assert!(cluster.socket().read_lock().expect("no file").is_none());
    let server = cluster.start();
    let lock = cluster
        .socket()
        .read_lock()
        .expect("a lock file")
        .expect("a lock file");
    assert_eq!(lock.pid, server.pid());
    assert_eq!(lock.data_directory.as_ref(), Some(&cluster.data));
    assert_eq!(lock.status, None);
    let opts = pg_proc::PostmasterOpts::read(&cluster.data)
        .expect("file")
        .expect("file");
    assert_eq!(opts.program, cluster.bin.join("postgres"));
    let given: Vec<_> = cluster.command().arguments().to_vec();
    assert!(
        opts.arguments
            .iter()
            .map(std::ffi::OsString::from)
            .eq(given)
    );
    assert!(account().is_none_or(|account| account.uid() != 0));
}
