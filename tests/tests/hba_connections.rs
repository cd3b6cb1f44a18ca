//! Connections to real servers go as the access rules said beforehand.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use camino::Utf8Path;
use pg_cluster::StopPlan;
use pg_tests::{Room, connect, give_to_servers, servers};
use pgconf_parse::hba::{
    Attempt, Decision, Document, Facts, Method, Name, Network, NewRule, Place, Rules, Server,
};
use pgconf_parse::ident::{self, Mappings};

const USERS: [&str; 4] = ["alice", "bob", "carol", "postgres"];
const DATABASES: [&str; 5] = ["app", "staff", "odd name", "bob", "postgres"];

const RULES: &str = "\
local   app         alice       peer map=m
local   app         bob         peer map=other
local   \"odd name\"  +staff      trust
local   sameuser    all         reject
local   all         postgres    trust
host    app         alice       127.0.0.1/32    scram-sha-256
host    app         /^c.*l$     127.0.0.0 255.0.0.0 trust
host    samerole    all         samehost        trust
host    all         bob         .nosuch.example trust
host    bob         carol       127.0.0.1/32    scram-sha-256
host    all         +staff      all             reject
hostssl all         all         all             trust
host    postgres    \"postgres\"  10.0.0.0/8      trust
host    \"all\"       all         all             trust
";

#[test]
fn connections_go_as_was_decided() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let major = installation.version().major();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let options = room
            .start_options()
            .port(port)
            .listen_addresses(["127.0.0.1"]);

        // Roles and databases first, under the rules of initdb.
        cluster.start(&options).unwrap();
        connect(&cluster)
            .batch_execute(
                "SET password_encryption = 'scram-sha-256';
                 CREATE ROLE staff;
                 CREATE ROLE alice LOGIN PASSWORD 'secret';
                 CREATE ROLE bob LOGIN IN ROLE staff;
                 CREATE ROLE carol LOGIN",
            )
            .unwrap();
        for database in DATABASES.iter().filter(|name| **name != "postgres") {
            connect(&cluster)
                .batch_execute(&format!("CREATE DATABASE \"{database}\""))
                .unwrap();
        }
        cluster.stop(&StopPlan::fast()).unwrap();

        let me = me();
        write(
            &cluster.ident_file(),
            &format!("other {me} alice\nm /^({me})$ x\\1\nm {me} alice\n"),
        );
        let mut document = Document::parse_for(RULES, major);
        let all = NewRule::local(Name::of("bob"), Name::of("carol"), Method::Trust);
        document.insert(Place::Before(4), &all).unwrap();
        write(&cluster.hba_file(), &document.to_string());
        cluster.start(&options).unwrap();

        let server = Server::new(major);
        let rules = Rules::read(cluster.hba_file(), &server).unwrap();
        let mappings = Mappings::read(cluster.ident_file(), &server).unwrap();
        assert!(rules.is_accepted() && mappings.is_accepted());
        let mut seen = Vec::new();
        for user in USERS {
            for database in DATABASES {
                for over_tcp in [false, true] {
                    let attempt = if over_tcp {
                        Attempt::host(Ipv4Addr::LOCALHOST, database, user)
                    } else {
                        Attempt::local(database, user)
                    };
                    let expected = expected(&rules, &mappings, &attempt, user, &me);
                    let mut config = postgres::Config::new();
                    config
                        .user(user)
                        .dbname(database)
                        .port(port)
                        .password("secret");
                    if over_tcp {
                        config.host("127.0.0.1");
                    } else {
                        config.host(room.join("s").as_str());
                    }
                    let outcome = match config.connect(postgres::NoTls) {
                        Ok(_) => "in".to_owned(),
                        Err(error) => error
                            .as_db_error()
                            .expect("the server's words")
                            .message()
                            .to_owned(),
                    };
                    assert!(
                        outcome.starts_with(expected),
                        "{user} to {database}, TCP {over_tcp}, on {}: {outcome}, not {expected}",
                        installation.version(),
                    );
                    seen.push(expected);
                }
            }
        }
        // Each outcome was met.
        for outcome in OUTCOMES {
            assert!(
                seen.contains(&outcome),
                "{outcome} on {}",
                installation.version()
            );
        }
        cluster.stop(&StopPlan::fast()).unwrap();
    }
}

const OUTCOMES: [&str; 5] = [
    "in",
    "pg_hba.conf rejects connection",
    "no pg_hba.conf entry",
    "Peer authentication failed",
    "password authentication failed",
];

/// How an attempt ends, by what was decided: for all but alice the password is a wrong one.
fn expected(
    rules: &Rules,
    mappings: &Mappings,
    attempt: &Attempt,
    user: &str,
    me: &str,
) -> &'static str {
    let roles: &[&str] = if user == "bob" { &["staff"] } else { &[] };
    let facts = Facts::new()
        .member_of(roles.iter().copied())
        .host_name("localhost", [Ipv4Addr::LOCALHOST.into()])
        .interfaces(Network::new(
            Ipv4Addr::LOCALHOST.into(),
            Ipv4Addr::new(255, 0, 0, 0).into(),
        ));
    let rule = match rules.decide(attempt, &facts) {
        Decision::Rule(rule) => rule,
        Decision::NoRule => return OUTCOMES[2],
        other => panic!("{other:?}"),
    };
    match rule.method() {
        Method::Trust => "in",
        Method::Reject => OUTCOMES[1],
        Method::ScramSha256 if user == "alice" => "in",
        Method::ScramSha256 => OUTCOMES[4],
        Method::Peer => {
            let map = rule.map().expect("a map");
            match mappings.decide(map, me.as_bytes(), user.as_bytes(), &facts) {
                ident::Decision::Allowed(_) => "in",
                ident::Decision::Refused => OUTCOMES[3],
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other}"),
    }
}

fn write(path: &Utf8Path, text: &str) {
    fs::write(path, text).unwrap();
    give_to_servers(path);
}

/// The user of the operating system that this runs as.
fn me() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
