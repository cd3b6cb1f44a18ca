//! What a temporary cluster is to have beyond the defaults: libraries, extensions, a locale, TLS.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use pg_cluster::install::Discovery;
use pg_cluster::{ConnectionInfo, InitErrorKind, Installation, Locale, Program};
use pg_fixture::{Listen, SharedCluster, TempCluster, TempClusterBuilder, TempErrorKind};
use pg_tests::{Room, ask, connect_to, names, server, server_account, servers};

fn builder(room: &Room, installation: &Installation) -> TempClusterBuilder {
    TempCluster::builder()
        .installation(installation.clone())
        .cache_directory(room.join("cache"))
}

/// The servers that have this extension; some have none but PL/pgSQL.
fn servers_with(extension: &str) -> Vec<Installation> {
    let mut servers = servers();
    let control = format!("extension/{extension}.control");
    servers.retain(|server| {
        server
            .sharedir()
            .is_some_and(|share| share.join(&control).exists())
    });
    assert!(
        !servers.is_empty(),
        "a complete installation: run `cargo xtask test`, which fetches one"
    );
    servers
}

fn templates(room: &Room) -> usize {
    names(&room.join("cache/templates")).len()
}

#[test]
fn a_preloaded_library_is_added_to_those_of_the_settings() {
    let room = Room::new();
    for installation in servers_with("pg_stat_statements") {
        let temp = builder(&room, &installation)
            .preload("pg_stat_statements")
            .preload("auto_explain")
            .setting("Shared-Preload-Libraries", "pg_prewarm, auto_explain")
            .extension("pg_stat_statements")
            .start()
            .unwrap();
        let mut client = connect_to(temp.connection_info());
        let loaded = ask(&mut client, "SHOW shared_preload_libraries");
        let plain = loaded.replace(['"', ' '], "");
        assert_eq!(plain, "pg_prewarm,auto_explain,pg_stat_statements");
        ask(&mut client, "SELECT count(*) FROM pg_stat_statements");
    }
}

#[test]
fn extensions_are_in_the_database_before_the_setup_steps() {
    let room = Room::new();
    for installation in servers_with("earthdistance") {
        // It requires `cube`, which the test does not name.
        let make = || {
            builder(&room, &installation)
                .database("my app")
                .extension("earthdistance")
                .extension("plpgsql")
                .setup("uses it", |info: &ConnectionInfo| {
                    let mut client = postgres::Client::connect(&info.uri(), postgres::NoTls)?;
                    client.batch_execute("CREATE TABLE places (place earth)")
                })
        };
        for _ in 0..2 {
            let temp = make().start().unwrap();
            let mut client = connect_to(temp.connection_info());
            let all = "SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension";
            assert_eq!(ask(&mut client, all), "cube earthdistance plpgsql");
            ask(&mut client, "SELECT count(*) FROM places");
        }
        // With a password, by which no setup step of ours could connect, and in a shared server.
        let temp = make().password("s3cret").start().unwrap();
        ask(
            &mut connect_to(temp.connection_info()),
            "SELECT count(*) FROM places",
        );
        let shared: SharedCluster = make().linger(Duration::ZERO).share("equipment").unwrap();
        ask(
            &mut connect_to(shared.connection_info()),
            "SELECT count(*) FROM places",
        );
    }
}

#[test]
fn a_changed_extension_makes_another_template() {
    let room = Room::new();
    let installation = server();
    let sources = room.join("sources");
    fs::create_dir(&sources).unwrap();
    let [control, script] = ["my.control", "my--1.0.sql"].map(|name| sources.join(name));
    fs::write(&control, "default_version = '1.0'\n").unwrap();
    let create = |answer: &str| {
        let function =
            format!("CREATE FUNCTION my_answer() RETURNS int LANGUAGE sql AS 'SELECT {answer}';");
        fs::write(&script, function).unwrap();
        let overlay = installation.overlay(room.join("overlays")).unwrap();
        let overlay = overlay.add([&control, &script]).unwrap();
        let temp = builder(&room, overlay.installation())
            .extension("my")
            .start()
            .unwrap();
        ask(
            &mut connect_to(temp.connection_info()),
            "SELECT my_answer()",
        )
    };
    assert_eq!(create("1"), "1");
    assert_eq!(templates(&room), 1);
    assert_eq!(create("22"), "22");
    assert_eq!(templates(&room), 2);
}

/// What the documentation names as another way than an overlay.
#[test]
fn extensions_are_found_in_extension_control_path() {
    let room = Room::new();
    let directory = room.join("own/extension");
    fs::create_dir_all(&directory).unwrap();
    fs::write(
        directory.join("my.control"),
        "default_version = '1.0'\nmodule_pathname = '$libdir/my'\n",
    )
    .unwrap();
    let script = "CREATE FUNCTION my_init(internal) RETURNS internal
        AS 'MODULE_PATHNAME', 'dsnowball_init' LANGUAGE C STRICT;";
    fs::write(directory.join("my--1.0.sql"), script).unwrap();
    for installation in servers()
        .iter()
        .filter(|server| server.version().major() >= 18)
    {
        let library = installation
            .library_directory()
            .unwrap()
            .join("dict_snowball.so");
        fs::copy(library, room.join("own/my.so")).unwrap();
        let temp = builder(&room, installation)
            .setting(
                "extension_control_path",
                format!("$system:{}", room.join("own")),
            )
            .setting(
                "dynamic_library_path",
                format!("$libdir:{}", room.join("own")),
            )
            .extension("my")
            .start()
            .unwrap();
        let created = "SELECT count(*) FROM pg_proc WHERE proname = 'my_init'";
        assert_eq!(ask(&mut connect_to(temp.connection_info()), created), "1");
    }
}

#[test]
fn a_missing_extension_or_library_is_named_with_its_directory() {
    let room = Room::new();
    for installation in servers() {
        let builder = builder(&room, &installation);
        let error = builder.clone().extension("no_such").start().unwrap_err();
        let TempErrorKind::NoExtension { name, directory } = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(name, "no_such");
        assert_eq!(
            *directory,
            installation.sharedir().unwrap().join("extension")
        );
        let error = builder.clone().preload("no_such").start().unwrap_err();
        let TempErrorKind::NoLibrary { name, directory } = error.kind() else {
            panic!("{error:?}");
        };
        assert_eq!(name, "no_such");
        assert_eq!(Some(directory), installation.library_directory().as_ref());
        assert!(error.hint().is_some());

        for name in ["", "../plpgsql", "a\nb"] {
            let error = builder.clone().extension(name).start().unwrap_err();
            assert!(
                matches!(error.kind(), TempErrorKind::Option(_)),
                "{error:?}"
            );
        }
    }
    assert_eq!(templates(&room), 0);
}

#[test]
fn the_error_of_create_extension_is_returned() {
    let room = Room::new();
    let control = room.join("broken.control");
    let script = room.join("broken--1.sql");
    fs::write(&control, "default_version = '1'\n").unwrap();
    fs::write(&script, "SELECT 1/0;\n").unwrap();
    let overlay = server().overlay(room.join("overlays")).unwrap();
    let overlay = overlay.add([control, script]).unwrap();
    let error = builder(&room, overlay.installation())
        .extension("broken")
        .start()
        .unwrap_err();
    let TempErrorKind::Extension(name, cause) = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(name, "broken");
    assert!(cause.to_string().contains("division by zero"), "{cause}");
    assert_eq!(templates(&room), 0);
}

#[test]
fn the_locale_is_that_of_the_cluster() {
    let room = Room::new();
    let temp = builder(&room, &server())
        .locale(Locale::Named("C.UTF-8".to_owned()))
        .start();
    let temp = temp.unwrap();
    let mut client = connect_to(temp.connection_info());
    let collation = "SELECT datcollate FROM pg_database WHERE datname = 'postgres'";
    assert_eq!(ask(&mut client, collation), "C.UTF-8");
    let unknown = builder(&room, &server())
        .locale(Locale::Named("xx_XX".to_owned()))
        .start();
    let error = unknown.unwrap_err();
    let TempErrorKind::Init(init) = error.kind() else {
        panic!("{error:?}");
    };
    assert!(matches!(init.kind(), InitErrorKind::Program(_)), "{init:?}");
}

#[test]
fn servers_with_tls_accept_it_and_servers_built_without_it_are_refused() {
    let room = Room::new();
    for installation in servers() {
        let builder = builder(&room, &installation).tls();
        if !installation.ssl() {
            let error = builder.start().unwrap_err();
            let TempErrorKind::NoTls(directory) = error.kind() else {
                panic!("{error:?}");
            };
            assert_eq!(Some(&**directory), installation.bindir());
            continue;
        }
        let temp = builder.start().unwrap();
        assert!(speaks_tls(temp.port()), "{}", installation.version());
        let certificate = temp.root_certificate().unwrap();
        assert!(certificate.starts_with(temp.path()));
        let key = fs::metadata(certificate.with_file_name("server.key")).unwrap();
        assert_eq!(key.mode() & 0o777, 0o600);
        let owner =
            server_account().map_or(fs::metadata("/proc/self").unwrap().uid(), |it| it.uid());
        assert_eq!(key.uid(), owner);
        // Clients that want none are served as before.
        assert_eq!(
            ask(&mut connect_to(temp.connection_info()), "SHOW ssl"),
            "on"
        );
    }
    let plain = builder(&room, &server())
        .listen(Listen::Loopback)
        .start()
        .unwrap();
    assert!(!speaks_tls(plain.port()));
    assert_eq!(plain.root_certificate(), None);
    assert_eq!(plain.verified_connection_info(), None);
    let error = builder(&room, &server())
        .tls()
        .listen(Listen::SocketOnly)
        .start()
        .unwrap_err();
    let kind = error.kind();
    assert!(
        matches!(kind, TempErrorKind::Option(_) | TempErrorKind::NoTls(_)),
        "{kind:?}"
    );
}

/// Asks as a client does before the handshake (PostgreSQL manual, "SSL Session Encryption").
fn speaks_tls(port: u16) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    answer == *b"S"
}

/// A `psql` with TLS: of the servers under test, or else of this machine.
fn psql() -> Installation {
    let has_psql = |installation: &Installation| {
        installation.program(Program::Psql).is_some() && installation.ssl()
    };
    let of_machine = Discovery::new().all().into_iter().flatten();
    servers()
        .into_iter()
        .chain(of_machine.map(|found| found.into_installation()))
        .find(has_psql)
        .expect("a psql with TLS: install the client programs of PostgreSQL")
}

#[test]
fn a_client_verifies_the_server_and_its_name() {
    let room = Room::new();
    let psql = psql();
    let ask = |info: &ConnectionInfo, more: &[(&str, &str)]| {
        let output = Command::new(psql.program(Program::Psql).unwrap())
            .env_clear()
            .env("LC_ALL", "C")
            .envs(info.env())
            .envs(more.iter().copied())
            .args([
                "-XAtc",
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            ])
            .output()
            .unwrap();
        let said = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };
        String::from_utf8(said).unwrap().trim().to_owned()
    };
    for installation in servers().iter().filter(|server| server.ssl()) {
        let temp = builder(&room, installation)
            .tls()
            .hba("hostssl all all 127.0.0.1/32 trust\n")
            .start()
            .unwrap();
        let info = temp.verified_connection_info().unwrap();
        assert_eq!(ask(&info, &[]), "t");
        // As a URI, too.
        let uri = info.uri();
        assert!(
            uri.contains("@localhost:") && uri.contains("sslmode=verify-full"),
            "{uri}"
        );

        let other_name = [("PGHOST", "db.example"), ("PGHOSTADDR", "127.0.0.1")];
        let said = ask(&info, &other_name);
        assert!(said.contains("does not match host name"), "{said}");
        let unsigned = room.join("other.crt");
        fs::write(&unsigned, STRANGER).unwrap();
        let said = ask(&info, &[("PGSSLROOTCERT", unsigned.as_str())]);
        assert!(said.contains("certificate verify failed"), "{said}");
    }
}

/// The certificate of another authority.
const STRANGER: &str = include_str!("temp_equipment/stranger.crt");
