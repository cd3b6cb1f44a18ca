//! Access rules and user name maps of real servers: changed, judged, reloaded, explained.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use camino::Utf8Path;
use pg_cluster::conf::hba::{
    Attempt, Document, EditError, Fact, Facts, Method, Name, NewRule, Place, Server,
};
use pg_cluster::conf::ident;
use pg_cluster::{
    AccessDecision, AccessError, AccessErrorKind, Cluster, FileErrorKind, MappingDecision, StopPlan,
};
use pg_fixture::{Listen, TempCluster};
use pg_tests::{Room, connect, connect_to, give_to_servers, server, servers, stranger};

type Rows = Vec<Vec<Option<String>>>;

/// The rows of a statement, as `Cluster::reload_and_verify` takes them.
fn ask(client: &mut postgres::Client, sql: &str) -> Result<Rows, postgres::Error> {
    let messages = client.simple_query(sql)?;
    let rows = messages.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|n| row.get(n).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    });
    Ok(rows.collect())
}

fn refuse(user: Name) -> impl FnOnce(&mut Document) -> Result<(), EditError> {
    move |document| {
        let first = document.lines().next().map_or(Place::End, Place::Before);
        let rule = NewRule::local(Name::all(), user, Method::Reject);
        document.insert(first, &rule).map(|_| ())
    }
}

/// The error of the server for a user, or "in" if the user is accepted.
fn outcome(cluster: &Cluster, user: &str) -> String {
    let info = cluster.connection_info().unwrap().unwrap();
    let uri = info.with_user(user).with_database("postgres").uri();
    match postgres::Client::connect(&uri, postgres::NoTls) {
        Ok(_) => "in".to_owned(),
        Err(error) => error.as_db_error().unwrap().message().to_owned(),
    }
}

fn problems(error: &AccessError) -> Vec<(Option<usize>, String)> {
    match error.kind() {
        AccessErrorKind::Rejected(problems) => problems
            .iter()
            .map(|problem| (problem.line(), problem.message().to_owned()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn new_rules_hold_once_the_reload_returns() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        client
            .batch_execute("CREATE ROLE staff; CREATE ROLE bob LOGIN IN ROLE staff")
            .unwrap();
        let path = cluster.hba_file();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        assert_eq!(outcome(&cluster, "bob"), "in");

        let hba = cluster.hba();
        let query = |sql: &str| ask(&mut client, sql);
        assert!(
            hba.edit_and_reload(query, refuse(Name::members_of("staff")))
                .unwrap()
        );
        let refused = outcome(&cluster, "bob");
        assert!(
            refused.starts_with("pg_hba.conf rejects connection"),
            "{refused}"
        );
        let after = fs::metadata(&path).unwrap();
        assert_eq!(
            (after.uid(), after.gid(), after.mode()),
            (before.uid(), before.gid(), before.mode())
        );

        // Only the server knows that bob is a member of staff.
        let attempt = Attempt::local("postgres", "bob");
        let AccessDecision::DependsOn(_, fact) =
            hba.explain(&attempt, &hba.facts().unwrap()).unwrap()
        else {
            panic!("a membership is not known");
        };
        assert_eq!(fact, Fact::Membership(b"staff".to_vec()));
        let facts = hba
            .facts_for(&attempt, |sql| ask(&mut client, sql))
            .unwrap();
        let AccessDecision::Rule(rule) = hba.explain(&attempt, &facts).unwrap() else {
            panic!("a rule decides");
        };
        assert_eq!(rule.method(), Method::Reject);
        assert_eq!(rule.line().file(), path);

        // Repeating the same change writes nothing.
        let inode = fs::metadata(&path).unwrap().ino();
        let nothing = |_: &mut Document| Ok(());
        let query = |sql: &str| ask(&mut client, sql);
        assert!(!hba.edit_and_reload(query, nothing).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);

        let line = rule.line().line();
        assert!(hba.edit(|document| document.remove(line)).unwrap());
        assert_eq!(outcome(&cluster, "bob"), refused, "before the reload");
        hba.reload(|sql| ask(&mut client, sql)).unwrap();
        assert_eq!(outcome(&cluster, "bob"), "in");
        cluster.stop(&StopPlan::fast()).unwrap();
    }
}

#[test]
fn a_rejected_change_keeps_file_and_rules() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        let path = cluster.hba_file();
        let before = fs::read(&path).unwrap();
        let major = installation.version().major();

        // The parser rejects it.
        let broken = |document: &mut Document| {
            let text = [document.as_bytes(), b"local all all\n"].concat();
            *document = Document::parse_for(text, major);
            Ok(())
        };
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let message = "end-of-line before authentication method".to_owned();
        let error = cluster.hba().edit(broken).unwrap_err();
        assert_eq!(problems(&error), [(Some(lines + 1), message)]);
        let error = cluster.hba().edit(|document| {
            *document = Document::parse_for("# nothing\n", major);
            Ok(())
        });
        let message = "the file contains no entries".to_owned();
        assert_eq!(problems(&error.unwrap_err()), [(None, message)]);

        // Only the server rejects it: it was built without the feature that the parser was told
        // about.
        let hba = cluster.hba().for_server(Server::new(major).bsd(true));
        let bsd = NewRule::local(Name::all(), Name::all(), Method::Bsd);
        let query = |sql: &str| ask(&mut client, sql);
        let error = hba.edit_and_reload(query, |document| {
            refuse(Name::of("postgres"))(document)?;
            document.insert(Place::End, &bsd).map(|_| ())
        });
        let found = problems(&error.unwrap_err());
        let message = "invalid authentication method \"bsd\": not supported by this build";
        assert_eq!(found, [(Some(lines + 2), message.to_owned())]);
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(outcome(&cluster, "postgres"), "in");

        // Another program wrote the file: nothing is restored, and the server does not reload.
        fs::write(&path, "local all all bsd\n").unwrap();
        let error = hba.reload(|sql| ask(&mut client, sql)).unwrap_err();
        assert_eq!(problems(&error), [(Some(1), message.to_owned())]);
        let error = cluster.hba().validate().unwrap_err();
        assert_eq!(problems(&error), [(Some(1), message.to_owned())]);
        let attempt = Attempt::local("postgres", "postgres");
        let error = cluster.hba().explain(&attempt, &Facts::new()).unwrap_err();
        assert!(matches!(error.kind(), AccessErrorKind::Rejected(_)));
        assert_eq!(outcome(&cluster, "postgres"), "in");
        // An ordinary reload does not make the server use the file either.
        cluster
            .reload_and_verify(|sql| ask(&mut client, sql))
            .unwrap();
        assert_eq!(outcome(&cluster, "postgres"), "in");

        // A query that fails does not count as acceptance.
        fs::write(&path, &before).unwrap();
        let mut calls = 0;
        let query = |sql: &str| {
            calls += 1;
            match calls {
                1 => Ok(ask(&mut client, sql).unwrap()),
                _ => Err("the client is tired"),
            }
        };
        let error = cluster
            .hba()
            .edit_and_reload(query, refuse(Name::of("postgres")));
        assert!(matches!(
            error.unwrap_err().kind(),
            AccessErrorKind::Query(_)
        ));
        assert_eq!(fs::read(&path).unwrap(), before);
        cluster.stop(&StopPlan::fast()).unwrap();
    }
}

#[test]
fn a_rule_that_can_never_match_is_accepted() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        let major = installation.version().major();
        // TLS is off, so the view has an error for this line, and the server accepts it.
        let rule = NewRule::parse("hostssl all all all reject", &Server::new(major)).unwrap();
        let changed = cluster.hba().edit_and_reload(
            |sql| ask(&mut client, sql),
            |document| document.insert(Place::End, &rule).map(|_| ()),
        );
        assert!(changed.unwrap());
        assert_eq!(outcome(&cluster, "postgres"), "in");
        cluster.stop(&StopPlan::fast()).unwrap();
    }
}

#[test]
fn maps_are_changed_and_explained() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        cluster.start(&room.start_options()).unwrap();
        let mut client = connect(&cluster);
        let major = installation.version().major();
        let path = cluster.ident_file();
        let before = fs::read(&path).unwrap();
        let add = |text: &'static str| {
            move |document: &mut ident::Document| {
                let text = [document.as_bytes(), text.as_bytes()].concat();
                *document = ident::Document::parse_for(text, major);
                Ok(())
            }
        };
        let ident = cluster.ident();
        let query = |sql: &str| ask(&mut client, sql);
        let changed = ident.edit_and_reload(query, add("m /^(.*)@x$ \\1\n"));
        assert!(changed.unwrap());
        let explain = |user: &str| ident.explain("m", "bob@x", user, &Facts::new()).unwrap();
        let MappingDecision::Allowed(line) = explain("bob") else {
            panic!("a line allows it");
        };
        assert_eq!(line.text(), "m /^(.*)@x$ \\1");
        assert_eq!(line.file(), path);
        assert_eq!(explain("ann"), MappingDecision::Refused);

        let good = fs::read(&path).unwrap();
        assert_ne!(good, before);
        let error = ident.edit(add("m only_two\n")).unwrap_err();
        let message = "missing entry at end of line".to_owned();
        let lines = good.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(problems(&error), [(Some(lines + 1), message)]);
        assert_eq!(fs::read(&path).unwrap(), good);
        ident.validate().unwrap();
        cluster.stop(&StopPlan::fast()).unwrap();
    }
}

#[test]
fn the_configured_file_is_the_one_that_is_changed() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    cluster.start(&room.start_options()).unwrap();
    let mut client = connect(&cluster);
    let other = room.join("other.conf");
    fs::copy(cluster.hba_file(), &other).unwrap();
    give_to_servers(&other);
    cluster.settings().set("hba_file", other.as_str()).unwrap();
    assert_eq!(cluster.hba().path(), other);
    // The server uses the old file until it is restarted.
    let query = |sql: &str| ask(&mut client, sql);
    let error = cluster
        .hba()
        .edit_and_reload(query, refuse(Name::of("bob")));
    let error = error.unwrap_err();
    let AccessErrorKind::OtherFile(used) = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(*used, cluster.data_directory().join("pg_hba.conf"));
    assert!(cluster.hba().edit(refuse(Name::of("bob"))).unwrap());
    assert!(fs::read_to_string(&other).unwrap().contains("bob"));
    assert!(!fs::read_to_string(used).unwrap().contains("bob"));
    cluster.stop(&StopPlan::fast()).unwrap();
}

/// A superuser of the database can set `hba_file` to anything.
#[test]
fn a_setting_does_not_lead_root_to_the_files_of_others() {
    let Some(account) = stranger() else { return };
    let room = Room::new();
    let cluster = room.cluster(&server());
    let theirs = room.join("theirs.conf");
    fs::write(&theirs, "local all all trust\n").unwrap();
    std::os::unix::fs::chown(&theirs, Some(account.uid()), Some(account.gid())).unwrap();
    cluster.settings().set("hba_file", theirs.as_str()).unwrap();
    let error = cluster.hba().edit(refuse(Name::of("bob"))).unwrap_err();
    assert!(
        matches!(error.kind(), AccessErrorKind::File(FileErrorKind::ForeignLink(path))
            if *path == theirs)
    );
    assert_eq!(fs::read(&theirs).unwrap(), b"local all all trust\n");
}

#[test]
fn a_list_that_only_root_can_read_is_ignored_by_the_server() {
    let Some(_) = stranger() else { return };
    let room = Room::new();
    let cluster = room.cluster(&server());
    let list = cluster.data_directory().join("list");
    fs::write(&list, "bob\n").unwrap();
    fs::set_permissions(&list, Permissions::from_mode(0o600)).unwrap();
    let major = cluster.installation().version().major();
    let use_list = |document: &mut Document| {
        *document = Document::parse_for("local @list all trust\n", major);
        Ok(())
    };
    let error = cluster.hba().edit(use_list).unwrap_err();
    let (line, message) = problems(&error).remove(0);
    assert!(message.contains("Permission denied"), "{message}");
    assert_eq!(line, Some(1));
    give_to_servers(&list);
    assert!(cluster.hba().edit(use_list).unwrap());
}

#[test]
fn temporary_clusters_use_the_given_rules() {
    let me = me();
    for installation in servers() {
        let builder = TempCluster::builder()
            .installation(installation.clone())
            .setup("roles of access tests", |info| {
                connect_to(info).batch_execute(
                    "SET password_encryption = 'scram-sha-256';
                     CREATE ROLE alice LOGIN PASSWORD 'secret';
                     CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN",
                )
            })
            .hba(
                "local all alice scram-sha-256\n\
                 local all bob reject\n\
                 local all all peer map=test\n",
            )
            .ident(format!("test {me} carol\n"));
        let temp = builder.start().unwrap();
        // The superuser gets in, which the rules alone would not allow.
        let user = |client: &mut postgres::Client| -> String {
            client
                .query_one("SELECT current_user::text", &[])
                .unwrap()
                .get(0)
        };
        assert_eq!(user(&mut connect_to(temp.connection_info())), "postgres");
        let attempt = |name: &str, password: &str| {
            let info = temp.connection_info().clone().with_user(name);
            let uri = info.with_password(password).uri();
            match postgres::Client::connect(&uri, postgres::NoTls) {
                Ok(mut client) => user(&mut client),
                Err(error) => error.as_db_error().unwrap().message().to_owned(),
            }
        };
        assert_eq!(attempt("alice", "secret"), "alice");
        let message = attempt("alice", "wrong");
        assert!(
            message.starts_with("password authentication failed"),
            "{message}"
        );
        let message = attempt("bob", "secret");
        assert!(
            message.starts_with("pg_hba.conf rejects connection"),
            "{message}"
        );
        assert_eq!(attempt("carol", ""), "carol");

        // Another cluster of the same template has the rules of `initdb`.
        let plain = TempCluster::builder()
            .installation(installation)
            .start()
            .unwrap();
        let text = fs::read_to_string(plain.cluster().hba_file()).unwrap();
        assert!(
            text.starts_with("# PostgreSQL Client Authentication"),
            "{text}"
        );
    }
}

#[test]
fn the_superuser_of_a_temporary_cluster_can_connect_over_tcp() {
    let builder = TempCluster::builder()
        .listen(Listen::Loopback)
        .password("secret")
        .hba("host all all all reject\n");
    let temp = builder.start().unwrap();
    connect_to(temp.connection_info());
    let error = TempCluster::builder()
        .hba("local all\n")
        .start()
        .unwrap_err();
    let report = pg_tests::report(&error);
    assert!(
        report.contains("end-of-line before role specification"),
        "{report}"
    );
}

/// Rules with `samehost` and `samenet` need only facts of this machine.
#[test]
fn the_addresses_of_this_machine_are_known() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let hba = cluster.hba();
    hba.edit(|document| {
        let text = "host all all samehost trust\n";
        *document = Document::parse_for(text, hba.server().major());
        Ok(())
    })
    .unwrap();
    let decide = |address: Ipv4Addr| {
        let attempt = Attempt::host(address, "postgres", "bob");
        hba.explain(&attempt, &hba.facts().unwrap()).unwrap()
    };
    // Bound to it means that it is an address of this machine.
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    assert!(matches!(
        decide(Ipv4Addr::LOCALHOST),
        AccessDecision::Rule(_)
    ));
    // TEST-NET-1 is not assigned to any host.
    let documentation = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(decide(documentation), AccessDecision::NoRule);
}

/// The user of the operating system that this runs as.
fn me() -> String {
    let output = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_link_is_followed_as_for_settings() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let path = cluster.hba_file();
    let target = room.join("rules.conf");
    fs::rename(&path, &target).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert!(cluster.hba().edit(refuse(Name::of("bob"))).unwrap());
    assert!(Utf8Path::is_symlink(&path));
    assert!(fs::read_to_string(&target).unwrap().contains("bob"));
}

/// Without setup steps the server starts while its databases are being written.
#[test]
fn shared_servers_have_the_rules_of_their_builders() {
    let directory = |rules: &str| -> String {
        let shared = TempCluster::builder()
            .hba(rules)
            .share("access rules")
            .unwrap();
        let mut client = connect_to(shared.connection_info());
        let text = client
            .query_one("SELECT pg_read_file('pg_hba.conf')", &[])
            .unwrap();
        assert!(text.get::<_, String>(0).ends_with(rules));
        client.query_one("SHOW data_directory", &[]).unwrap().get(0)
    };
    let one = directory("local all all reject\n");
    assert_ne!(one, directory("local all bob reject\n"));
    assert_eq!(one, directory("local all all reject\n"));
}
