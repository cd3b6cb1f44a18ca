//! Names, passwords, values and paths of any letters reach the server as they were given, and
//! clients the server.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::process::Command;

use pg_cluster::{Cluster, ConnectionInfo, Program, StopPlan};
use pg_tests::{Room, ask, complete_server, connect_to, init_options};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// The values of one case.
#[derive(Clone, Debug)]
struct Given {
    user: String,
    password: String,
    database: String,
    data_directory: String,
    socket_directory: String,
    values: Vec<String>,
}

/// Characters that are special in shells, `postgresql.conf`, URIs, keyword strings and command
/// lines, among letters of all kinds.
const TEXT: &str = r#"-{0,2}[a-zA-Z0-9 '"\\$()`#=%&?@:;,+*~<>{}|éßЖ日🐘-]{1,12}"#;

fn given() -> impl Strategy<Value = Given> {
    let name = TEXT;
    let file_name = r#"-{0,2}[a-zA-Z0-9 '"\\$()`#=%&?@:;,+*~éß日-]{1,10}"#;
    // libpq has no syntax for a socket directory with a comma.
    let socket_name = r#"-{0,2}[a-zA-Z0-9 '"\\$()`#=%&?@:;+*~éß日-]{1,10}"#;
    let values = proptest::collection::vec(prop_oneof![TEXT, "[^\0]{0,12}"], 20);
    (name, TEXT, name, file_name, socket_name, values).prop_map(
        |(user, password, database, data, sockets, values)| Given {
            user,
            password,
            database,
            data_directory: format!("{data}d"),
            socket_directory: format!("{sockets}s"),
            values,
        },
    )
}

#[test]
fn special_characters_are_preserved() {
    let config = ProptestConfig {
        cases: pg_tests::rounds("PG_TESTS_LETTERS", 3),
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(&given(), |given| {
            arrive(&given);
            Ok(())
        })
        .unwrap();
}

fn arrive(given: &Given) {
    let room = Room::new();
    let data = room.directory(&given.data_directory).join("data");
    let sockets = room.directory(&given.socket_directory);
    let cluster = Cluster::new(complete_server(), &data).unwrap();
    let options = init_options().user(&given.user).password(&given.password);
    cluster.init(&options).unwrap();
    let (at_start, in_file) = given.values.split_at(given.values.len() / 2);
    let named = |values: &[String], prefix: &str| -> Vec<(String, String)> {
        let numbered = values.iter().enumerate();
        numbered
            .map(|(n, value)| (format!("my.{prefix}{n}"), value.clone()))
            .collect()
    };
    let settings = [named(at_start, "start"), named(in_file, "file")];
    cluster.settings().update(settings[1].clone()).unwrap();
    let options = room
        .start_options()
        .socket_directory(&sockets)
        .settings(settings[0].clone());
    cluster.start(&options).unwrap();

    let address = cluster.connection_info().unwrap().unwrap();
    assert_eq!(address.socket_directory(), Some(sockets.as_path()));
    let address = address
        .with_user(&given.user)
        .with_password(&given.password);
    let mut client = connect_to(&address.clone().with_database("postgres"));
    assert_eq!(ask(&mut client, "SHOW data_directory"), data);
    for (name, value) in settings.iter().flatten() {
        assert_eq!(&ask(&mut client, &format!("SHOW {name}")), value, "{name}");
    }
    let create = format!(
        "CREATE DATABASE \"{}\"",
        given.database.replace('"', "\"\"")
    );
    client.batch_execute(&create).unwrap();
    let address = address.with_database(&given.database);
    let expected = format!("{}\n{}\n", given.user, given.database);
    let clients = [
        asks_where_it_is(&address),
        psql(&cluster, |psql| psql.args(["-d", &address.uri()])),
        psql(&cluster, |psql| psql.args(["-d", &address.keywords()])),
        psql(&cluster, |psql| psql.envs(address.env())),
    ];
    for told in clients {
        assert_eq!(told, expected);
    }
    let wrong = address.with_password(format!("{}x", given.password));
    assert!(postgres::Client::connect(&wrong.uri(), postgres::NoTls).is_err());
    cluster.stop(&StopPlan::fast()).unwrap();
    cluster.remove().unwrap();
    assert!(!data.exists() && sockets.exists());
}

const WHERE: &str = "SELECT current_user || E'\\n' || current_database() || E'\\n'";

/// By a client in Rust, with the keywords: the query before used the URI.
fn asks_where_it_is(address: &ConnectionInfo) -> String {
    let mut client = postgres::Client::connect(&address.keywords(), postgres::NoTls).unwrap();
    ask(&mut client, WHERE)
}

/// By libpq.
fn psql(cluster: &Cluster, told: impl FnOnce(&mut Command) -> &mut Command) -> String {
    let program = cluster.installation().require(Program::Psql).unwrap();
    let mut command = Command::new(program);
    command
        .args(["-XAtw", "-c", WHERE])
        .env("PGCLIENTENCODING", "UTF8");
    let output = told(&mut command).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    // The output after the row.
    String::from_utf8(output.stdout)
        .unwrap()
        .strip_suffix('\n')
        .unwrap()
        .to_owned()
}
