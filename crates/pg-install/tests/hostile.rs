//! Hostile contents of a directory on `PATH` or of a data directory. They must not make a search
//! exceed its time limit, read without a limit, or run another program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use pg_install::{
    Installation, InstallationDirectory, MajorVersion, PgConfig, PgVersionFileErrorKind, Program,
    ProgramErrorKind, SslEvidence,
};
use tree::{Tree, list, must_end};

#[test]
fn files_on_path_that_are_not_programs() {
    let tree = Tree::new();
    fs::create_dir_all(tree.at("/directory/pg_config")).unwrap();
    fs::create_dir_all(tree.at("/directory/postgres")).unwrap();
    tree.link("/dangling/pg_config", "nowhere");
    tree.link("/ring/pg_config", "pg_config");
    tree.link("/device/postgres", "/dev/zero");
    fs::create_dir(tree.at("/pipe")).unwrap();
    for program in ["pg_config", "postgres"] {
        let pipe = tree.fifo(&format!("/pipe/{program}"));
        fs::set_permissions(pipe, PermissionsExt::from_mode(0o755)).unwrap();
    }
    tree.file("/file", "");
    tree.server("/good", "16.3");
    tree.server("/relative", "17.1");

    let up = "../".repeat(std::env::current_dir().unwrap().components().count());
    let relative = tree.at("/relative");
    let directories = [
        "",
        ".",
        &format!("{up}{relative}"),
        "/directory",
        "/dangling",
        "/ring",
        "/device",
        "/pipe",
        "/file",
        "/nowhere",
        "/good",
        "/good/../good/.",
    ];
    let mut path = directories.join(":").into_bytes();
    path.extend(b":/\xff:/nul\x01\n");
    let discovery = tree
        .discovery(&[])
        .environment([("PATH", OsString::from_vec(path))]);
    assert_eq!(must_end(move || list(&discovery)), ["16.3 PATH"]);
    assert_eq!(tree.runs("/relative/pg_config"), 0);
}

/// A relative directory would lead to programs in the current directory.
#[test]
fn relative_directories_are_ignored() {
    let installation = Installation::from_pairs([
        ("version", "PostgreSQL 16.3"),
        ("bindir", "bin"),
        ("sharedir", "./share"),
    ]);
    let installation = installation.unwrap();
    assert!(
        InstallationDirectory::all().all(|directory| installation.directory(directory).is_none())
    );
    assert_eq!(installation.program(Program::Postgres), None);

    let tree = Tree::new();
    tree.pg_config_for("/bin", ".", "15.1");
    tree.postgres("/bin", "16.3");
    let installation = Installation::from_bin_directory(tree.at("/bin")).unwrap();
    assert_eq!(installation.bindir(), Some(&*tree.at("/bin")));
    assert_eq!(installation.version().num(), 160_003);
}

#[test]
fn pg_version_is_not_a_regular_file() {
    let tree = Tree::new();
    tree.fifo("/pipe");
    tree.link("/endless", "/dev/zero");
    fs::create_dir(tree.at("/directory")).unwrap();
    tree.link("/ring", "ring");
    for name in ["/pipe", "/endless", "/directory", "/ring"] {
        let path = tree.at(name);
        let error = must_end(move || MajorVersion::from_pg_version_file(path)).unwrap_err();
        assert!(
            matches!(error.kind(), PgVersionFileErrorKind::Read(_)),
            "{name}"
        );
    }
    let large = tree.at("/large");
    File::create(&large).unwrap().set_len(1 << 30).unwrap();
    let error = must_end(move || MajorVersion::from_pg_version_file(large)).unwrap_err();
    assert!(matches!(error.kind(), PgVersionFileErrorKind::Parse(_)));
}

#[test]
fn a_header_that_is_a_pipe() {
    let tree = Tree::new();
    fs::create_dir(tree.at("/include")).unwrap();
    tree.fifo("/include/pg_config.h");
    let pairs = [
        ("version", "PostgreSQL 16.3".to_owned()),
        ("includedir", tree.at("/include").into_string()),
    ];
    let installation = Installation::from_pairs(pairs).unwrap();
    let evidence = must_end(move || installation.ssl_evidence().clone());
    assert_eq!(evidence, SslEvidence::Unknown);
}

/// The oldest protocol runs the program with each option that its help lists.
#[test]
fn a_program_with_thousands_of_options() {
    let tree = Tree::new();
    let letters = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    let path = tree.script(
        "/bin/pg_config",
        &format!(
            "[ $# = 0 ] && exit 1\n[ \"$1\" != --help ] && {{ echo run >> \"$0.log\"; exit; \
             }}\nfor a in {letters}; do for b in {letters}; do for c in {letters}; do echo \
             \"--$a$b$c\"; done; done; done"
        ),
    );
    let error = PgConfig::query_within(&path, Duration::from_secs(1)).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ProgramErrorKind::Failed { .. } | ProgramErrorKind::TimedOut { .. }
        ),
        "{error:?}"
    );
    assert!(tree.runs("/bin/pg_config") < 26 * 26 * 26);
}

#[test]
fn a_time_limit_beyond_the_range_of_the_clock() {
    let tree = Tree::new();
    let path = tree.pg_config("/bin", "16.3");
    PgConfig::query_within(&path, Duration::MAX).unwrap();
    let discovery = tree
        .discovery(&[("PG_CONFIG", "/bin/pg_config")])
        .timeout(Duration::MAX);
    assert_eq!(list(&discovery), ["16.3 PG_CONFIG"]);
}
