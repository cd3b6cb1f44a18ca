//! Connection information: every form of it leads to the server, with any characters.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use pg_cluster::{ConnectionInfo, Host, Program, StopPlan};
use pg_tests::{Room, ask, complete_server, connect, connect_to, server, servers};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// rust-postgres reads back what was given, from the URI and from the keywords.
    #[test]
    fn clients_parse_every_value(
        directory in "/[^,\0]{0,30}",
        user in "[^\0]{1,20}",
        password in "[^\0]{1,20}",
        database in "[^\0]{1,20}",
        port in 1u16..,
    ) {
        let info = ConnectionInfo::socket(&directory, port)
            .with_user(&user).with_password(&password).with_database(&database);
        prop_assert!(info.is_expressible());
        for form in [info.uri(), info.keywords()] {
            let read: postgres::Config = form
                .parse()
                .map_err(|e| TestCaseError::fail(format!("{form}: {e}")))?;
            prop_assert_eq!(read.get_user(), Some(user.as_str()), "{}", &form);
            prop_assert_eq!(read.get_password(), Some(password.as_bytes()), "{}", &form);
            prop_assert_eq!(read.get_dbname(), Some(database.as_str()), "{}", &form);
            prop_assert_eq!(read.get_ports(), &[port][..]);
            let host = postgres::config::Host::Unix(directory.clone().into());
            prop_assert_eq!(read.get_hosts(), &[host][..]);
        }
    }
}

#[test]
fn the_running_server_takes_precedence_over_its_files() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster
            .settings()
            .update([
                ("port", "5499"),
                ("unix_socket_directories", "/nowhere, /else"),
            ])
            .unwrap();
        let info = cluster.connection_info().unwrap().unwrap();
        assert_eq!(
            (info.socket_directory().unwrap().as_str(), info.port()),
            ("/nowhere", 5499)
        );

        let free = std::net::TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        cluster
            .start(
                &room
                    .start_options()
                    .port(free)
                    .listen_addresses(["127.0.0.1"]),
            )
            .unwrap();
        let info = cluster.connection_info().unwrap().unwrap();
        assert_eq!(
            (info.socket_directory().unwrap(), info.port()),
            (room.join("s").as_path(), free)
        );
        assert_eq!(ask(&mut connect(&cluster), "SHOW port"), free.to_string());
        let tcp = cluster.tcp_connection_info().unwrap().unwrap();
        assert_eq!(tcp.host(), &Host::Tcp("127.0.0.1".to_owned()));
        let tcp = tcp.with_user("postgres").with_database("postgres");
        assert_eq!(ask(&mut connect_to(&tcp), "SELECT 1"), "1");
        cluster.stop(&StopPlan::fast()).unwrap();
        assert_eq!(cluster.connection_info().unwrap().unwrap().port(), 5499);
    }
    let room = Room::new();
    let cluster = room.cluster(&server());
    cluster
        .settings()
        .update([("unix_socket_directories", ""), ("listen_addresses", "")])
        .unwrap();
    assert_eq!(cluster.connection_info().unwrap(), None);
}

/// libpq itself, by `psql`: URI, keywords, environment.
#[test]
fn psql_takes_every_form() {
    let installation = complete_server();
    let psql = installation
        .require(Program::Psql)
        .expect("psql in a complete installation")
        .to_owned();
    let room = Room::new();
    let cluster = room.cluster(&installation);
    let sockets = room.directory("it's \"odd\" \\ é %41");
    cluster
        .start(&room.start_options().socket_directory(&sockets))
        .unwrap();
    let (user, database) = ("o'n \"\\ é%20", "d=b' \"\\");
    let mut client = connect(&cluster);
    for sql in [
        format!("CREATE ROLE \"{}\" LOGIN", user.replace('"', "\"\"")),
        format!("CREATE DATABASE \"{}\"", database.replace('"', "\"\"")),
    ] {
        client.batch_execute(&sql).unwrap();
    }
    let info = cluster
        .connection_info()
        .unwrap()
        .unwrap()
        .with_user(user)
        .with_database(database);
    for form in [Some(info.uri()), Some(info.keywords()), None] {
        let mut command = std::process::Command::new(&psql);
        command.args(["-XAtc", "SELECT current_user || '|' || current_database()"]);
        match form {
            Some(form) => command.args(["-d", &form]),
            None => command.envs(info.env()),
        };
        let output = command.env("PGCLIENTENCODING", "UTF8").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            text.trim_end(),
            format!("{user}|{database}"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
