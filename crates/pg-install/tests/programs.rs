//! Programs named `pg_config` and `postgres` that fail or misbehave.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::fs;
use std::time::Duration;

use pg_install::{Installation, InstallationErrorKind, PgConfig, ProgramErrorKind};
use tree::{LONG, Tree, must_end, plain};

fn query_error(tree: &Tree, body: &str) -> pg_install::ProgramError {
    let path = tree.script("/bin/pg_config", body);
    PgConfig::query(path).expect_err("the output should be rejected")
}

#[test]
fn a_missing_program() {
    let tree = Tree::new();
    let error = PgConfig::query(tree.at("/bin/pg_config")).unwrap_err();
    assert!(matches!(error.kind(), ProgramErrorKind::Spawn(_)));
    assert_eq!(
        plain(&error, &tree),
        "failed to run ROOT/bin/pg_config: the program cannot be started: No such file or \
         directory (os error 2)"
    );
}

#[test]
fn a_file_that_is_not_executable() {
    let tree = Tree::new();
    let path = tree.file(
        "/bin/pg_config",
        "#!/bin/sh\necho VERSION = PostgreSQL 16.3\n",
    );
    let error = PgConfig::query(path).unwrap_err();
    assert!(
        matches!(error.kind(), ProgramErrorKind::Spawn(_)),
        "{error:?}"
    );
}

#[test]
fn an_executable_file_that_is_not_a_program() {
    let tree = Tree::new();
    let path = tree.script("/bin/pg_config", "");
    fs::write(&path, [0x7f, b'E', b'L', b'F', 0, 0]).unwrap();
    let error = PgConfig::query(path).unwrap_err();
    assert!(
        matches!(error.kind(), ProgramErrorKind::Spawn(_)),
        "{error:?}"
    );
}

#[test]
fn a_failing_program_is_rejected_despite_its_output() {
    let tree = Tree::new();
    let error = query_error(&tree, "echo VERSION = PostgreSQL 16.3\necho no >&2\nexit 3");
    let ProgramErrorKind::Failed { status, stderr, .. } = error.kind() else {
        panic!("{error:?}")
    };
    assert_eq!((status.code(), &**stderr), (Some(3), "no"));
    assert_eq!(
        plain(&error, &tree),
        "failed to run ROOT/bin/pg_config: the program failed with exit status: 3; stderr: no; \
         stdout: VERSION = PostgreSQL 16.3"
    );
}

#[test]
fn a_program_that_is_killed_by_a_signal() {
    let tree = Tree::new();
    let error = query_error(&tree, "kill -s KILL $$");
    let ProgramErrorKind::Failed { status, .. } = error.kind() else {
        panic!("{error:?}")
    };
    assert_eq!(status.code(), None);
}

#[test]
fn junk() {
    let tree = Tree::new();
    let error = query_error(&tree, "echo hello; printf '\\377\\376\\000=\\n'");
    assert!(
        matches!(error.kind(), ProgramErrorKind::Unexpected { .. }),
        "{error:?}"
    );
}

#[test]
fn a_version_of_another_product() {
    let tree = Tree::new();
    let path = tree.script("/bin/pg_config", "echo 'VERSION = MariaDB'");
    let error = Installation::from_pg_config(path).unwrap_err();
    assert!(matches!(error.kind(), InstallationErrorKind::Version(_)));
    assert_eq!(
        plain(&error, &tree),
        "failed to examine ROOT/bin/pg_config: failed to parse \"MariaDB\" as a \
         PostgreSQL version: the version number is missing"
    );
}

#[test]
fn values_that_are_not_utf8_are_kept() {
    let tree = Tree::new();
    let body = "printf 'CFLAGS = \\351\\nBINDIR = /opt/\\351/bin\\nVERSION = PostgreSQL 16.3\\n'";
    let path = tree.script("/bin/pg_config", body);
    let config = PgConfig::query(&path).unwrap();
    assert_eq!(config.get_bytes("bindir"), Some(&b"/opt/\xe9/bin"[..]));
    assert_eq!((config.get("bindir"), config.get("cflags")), (None, None));
    let error = Installation::from_pg_config(path).unwrap_err();
    assert!(matches!(
        error.kind(),
        InstallationErrorKind::NotUtf8 { key: "bindir", .. }
    ));
}

#[test]
fn unlimited_output() {
    let tree = Tree::new();
    let error = query_error(&tree, "exec yes 'VERSION = PostgreSQL 16.3'");
    assert!(
        matches!(error.kind(), ProgramErrorKind::TooMuchOutput { .. }),
        "{error:?}"
    );
    let error = query_error(&tree, "exec yes >&2");
    assert!(
        matches!(error.kind(), ProgramErrorKind::TooMuchOutput { .. }),
        "{error:?}"
    );
}

/// Both outputs exceed the size of a pipe, so reading them in sequence would block.
#[test]
fn much_output_on_both_pipes() {
    let tree = Tree::new();
    let body = "i=0; while [ $i -lt 3000 ]; do echo \"K$i = 12345678901234567890\"; \
                echo 12345678901234567890123456789012345 >&2; i=$((i+1)); done; \
                echo VERSION = PostgreSQL 16.3";
    let config = PgConfig::query(tree.script("/bin/pg_config", body)).unwrap();
    assert_eq!(config.get("k2999"), Some("12345678901234567890"));
}

/// The pipe named `alive` reaches its end when all processes that have it open have exited.
#[test]
fn a_hanging_program_is_killed_with_its_children() {
    let tree = Tree::new();
    let alive = tree.fifo("/alive");
    let path = tree.script(
        "/bin/pg_config",
        &format!("exec 3> {alive}\necho early\nsh -c 'while :; do sleep 60; done' &\nwait"),
    );
    let query = std::thread::spawn(move || {
        PgConfig::query_within(path, Duration::from_secs(2)).unwrap_err()
    });
    must_end(move || fs::read(alive).unwrap());
    let error = query.join().unwrap();
    let ProgramErrorKind::TimedOut { stdout, .. } = error.kind() else {
        panic!("{error:?}")
    };
    assert_eq!(&**stdout, "early");
}

#[test]
fn a_program_that_closes_its_output_and_hangs() {
    let tree = Tree::new();
    let path = tree.script(
        "/bin/pg_config",
        "exec >&- 2>&-\nwhile :; do sleep 60; done",
    );
    let error = PgConfig::query_within(path, Duration::from_millis(100)).unwrap_err();
    assert!(
        matches!(error.kind(), ProgramErrorKind::TimedOut { .. }),
        "{error:?}"
    );
}

/// The background process keeps the pipes open until the end of the test, so waiting for the end of
/// the pipes would fail.
#[test]
fn a_background_process_that_keeps_the_pipes_is_not_awaited() {
    let tree = Tree::new();
    let go = tree.fifo("/go");
    let body = format!("echo VERSION = PostgreSQL 16.3\n(read line < {go}) &\nexit 0");
    let path = tree.script("/bin/pg_config", &body);
    let config = PgConfig::query_within(path, LONG).expect("the program should exit");
    assert_eq!(config.get("version"), Some("PostgreSQL 16.3"));
    must_end(move || fs::write(go, "").unwrap());
}

#[test]
fn the_environment_is_cleaned() {
    let tree = Tree::new();
    tree.script(
        "/bin/pg_config",
        "echo VERSION = PostgreSQL 16.3\n\
         echo \"BINDIR = $HOME/$PGDATA$PGHOST$PG_CONFIG$LANGUAGE/$LC_ALL\"",
    );
    let variables = [
        ("PG_CONFIG", "/bin/pg_config"),
        ("PGDATA", "data"),
        ("PGHOST", "host"),
        ("LANGUAGE", "de"),
        ("LC_ALL", "de_DE.UTF-8"),
        ("HOME", "/home/me"),
    ];
    let found = tree.discovery(&variables).search().next().unwrap().unwrap();
    assert_eq!(found.installation().bindir().unwrap(), "/home/me//C");
}

/// `pg_config` of 8.0 fails without arguments, and prints the value of each option.
const OLD: &str = r#"
case "$1" in
--help) cat <<'EOF'
pg_config provides information about the installed version of PostgreSQL.

Usage:
  pg_config OPTION...

Options:
  --bindir              show location of user executables
  --includedir          show location of C header files of the client
                        interfaces
  --includedir-server   show location of C header files for the server
  --libdir              show location of object code libraries
  --pkglibdir           show location of dynamically loadable modules
  --pgxs                show location of extension makefile
  --configure           show options given to 'configure' script when
                        PostgreSQL was built
  --version             show the PostgreSQL version

Report bugs to <pgsql-bugs@postgresql.org>.
EOF
;;
--bindir) echo /opt/pg80/bin ;;
--includedir) echo /opt/pg80/include ;;
--includedir-server) echo /opt/pg80/include/server ;;
--libdir) echo /opt/pg80/lib ;;
--pkglibdir) echo /opt/pg80/lib/postgresql ;;
--configure) echo "'--prefix=/opt/pg80' '--with-openssl'" ;;
--version) echo PostgreSQL 8.0.26 ;;
--pgxs) echo 'pg_config: not configured' >&2; exit 1 ;;
*) echo 'pg_config: argument required' >&2; exit 1 ;;
esac"#;

#[test]
fn the_protocol_of_8_0() {
    let tree = Tree::new();
    let installation = Installation::from_pg_config(tree.script("/bin/pg_config", OLD)).unwrap();
    assert_eq!(installation.version_string(), "PostgreSQL 8.0.26");
    assert_eq!(installation.version().num(), 80_026);
    assert_eq!(installation.bindir().unwrap(), "/opt/pg80/bin");
    assert_eq!(
        installation.includedir_server().unwrap(),
        "/opt/pg80/include/server"
    );
    assert_eq!(installation.pgxs(), None);
    assert!(installation.ssl());
}

/// The error is that of the first run, and not that of `--help`.
#[test]
fn a_failing_program_with_help_is_not_an_old_pg_config() {
    let tree = Tree::new();
    let error = query_error(
        &tree,
        "[ \"$1\" = --help ] && { echo --bindir; exit; }\nexit 4",
    );
    assert!(error.arguments().is_empty());
    assert!(
        matches!(error.kind(), ProgramErrorKind::Failed { status, .. } if status.code() == Some(4))
    );
}
