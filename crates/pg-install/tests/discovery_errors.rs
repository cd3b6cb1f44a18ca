//! Searches of simulated machines with errors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::time::Duration;

use pg_install::{
    Discovery, DiscoveryErrorKind, InstallationErrorKind, ProgramErrorKind, Request, SearchOutcome,
    Source,
};
use tree::{LONG, Tree, chain, find, list, must_end, plain};

/// A variable names the installation. If it does not lead to one, the search fails, even if there
/// are other installations.
#[test]
fn explicit_errors_end_the_search() {
    let tree = Tree::new();
    tree.server("/usr/lib/postgresql/16/bin", "16.3");
    tree.script("/broken/pg_config", "exit 1");
    tree.file("/not-executable/pg_config", "");
    std::fs::create_dir(tree.at("/empty")).unwrap();
    for variable in ["PGINSTALLATION", "PG_CONFIG"] {
        for value in [
            "/nowhere",
            "/empty",
            "/broken/pg_config",
            "/not-executable/pg_config",
            "/broken",
        ] {
            let discovery = tree.discovery(&[(variable, value)]);
            let error = find(&discovery, "any").unwrap_err();
            assert!(error.is_critical());
            assert_eq!(
                error.hint().unwrap(),
                format!("correct or unset {variable}")
            );
            let mut search = discovery.search();
            assert!(search.next().unwrap().is_err(), "{variable}={value}");
            assert!(search.next().is_none() && search.next().is_none());
        }
    }
    let error = find(
        &tree.discovery(&[("PG_CONFIG", "no_such_program"), ("PATH", "/broken")]),
        "any",
    )
    .unwrap_err();
    assert_eq!(
        plain(&error, &tree),
        "failed to find PostgreSQL via PG_CONFIG: no_such_program does not lead to PostgreSQL"
    );
    let error = find(
        &tree.discovery(&[("PGINSTALLATION", "/broken/pg_config")]),
        "any",
    )
    .unwrap_err();
    assert_eq!(
        plain(&error, &tree),
        "failed to find PostgreSQL via PGINSTALLATION: failed to examine \
         ROOT/broken/pg_config: failed to run ROOT/broken/pg_config: the program failed with exit \
         status: 1"
    );
}

#[test]
fn a_program_name_in_pg_config_is_searched_on_path() {
    let tree = Tree::new();
    tree.server("/a", "15.1");
    tree.server("/b", "16.1");
    std::fs::rename(tree.at("/b/pg_config"), tree.at("/b/pg_config16")).unwrap();
    let discovery = tree.discovery(&[("PATH", "/a:/b"), ("PG_CONFIG", "pg_config16")]);
    assert_eq!(list(&discovery), ["16.1 PG_CONFIG", "15.1 PATH"]);
}

/// An explicit installation of another version is not an error: the request has precedence.
#[test]
fn a_request_has_precedence_over_the_explicit_installation() {
    let tree = Tree::new();
    tree.server("/mine/bin", "15.1");
    tree.server("/usr/lib/postgresql/16/bin", "16.3");
    let discovery = tree.discovery(&[("PGINSTALLATION", "/mine")]);
    assert_eq!(
        find(&discovery, "any").unwrap().source(),
        Source::Pginstallation
    );
    assert_eq!(find(&discovery, "16").unwrap().source(), Source::Debian);
}

#[test]
fn other_errors_are_reported_and_skipped() {
    let tree = Tree::new();
    tree.script("/broken/pg_config", "echo oops >&2; exit 1");
    tree.script("/usr/lib/postgresql/17/bin/postgres", "echo junk");
    tree.server("/usr/lib/postgresql/16/bin", "16.3");
    let discovery = tree.discovery(&[("PATH", "/broken")]);
    let found: Vec<_> = discovery.search().collect();
    let [Err(broken), Err(junk), Ok(server)] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(!broken.is_critical() && !junk.is_critical());
    assert!(chain(junk).ends_with(
        "the program printed unexpected output: no line names PostgreSQL and its version"
    ));
    assert_eq!(broken.origin(), Some(Source::Path));
    assert_eq!(server.installation().version().num(), 160_003);
    assert_eq!(
        find(&discovery, "newest")
            .unwrap()
            .installation()
            .version()
            .num(),
        160_003
    );
    let text = discovery.explain().to_string();
    assert!(
        text.contains("the program failed with exit status: 1; stderr: oops"),
        "{text}"
    );
}

/// A broken `pg_config` does not hide the server beside it.
#[test]
fn a_server_beside_a_broken_pg_config() {
    let tree = Tree::new();
    tree.postgres("/pg", "16.3");
    tree.script("/pg/pg_config", "exit 1");
    let found: Vec<_> = tree.discovery(&[("PATH", "/pg")]).search().collect();
    assert!(
        matches!(&found[..], [Err(_), Ok(server)] if server.installation().is_server()),
        "{found:?}"
    );
}

#[test]
fn a_hanging_program_does_not_block_the_search() {
    let tree = Tree::new();
    tree.script("/hangs/pg_config", &tree.hang());
    tree.server("/works", "16.3");
    let discovery = tree
        .discovery(&[("PATH", "/hangs:/works")])
        .timeout(Duration::from_secs(3));
    let found: Vec<_> = discovery.search().collect();
    let [Err(error), Ok(_)] = &found[..] else {
        panic!("{found:?}")
    };
    let DiscoveryErrorKind::Examine(error) = error.kind() else {
        panic!("{error:?}")
    };
    let InstallationErrorKind::Program(error) = error.kind() else {
        panic!("{error:?}")
    };
    assert!(matches!(error.kind(), ProgramErrorKind::TimedOut { .. }));
}

#[test]
fn not_found_lists_the_searched_places() {
    let tree = Tree::new();
    std::fs::create_dir_all(tree.at("/usr/bin")).unwrap();
    tree.file("/etc/os-release", "ID=ubuntu\n");
    let error = find(&tree.discovery(&[("PATH", "/usr/bin:/sbin")]), ">=16").unwrap_err();
    assert!(error.is_critical());
    assert_eq!(
        error.hint().unwrap(),
        "install the package postgresql-16, with apt, or set PGINSTALLATION to a directory \
         that contains bin/postgres"
    );
    // Without a series, the hint names the package of the distribution first.
    let any = find(&tree.discovery(&[("PATH", "/usr/bin:/sbin")]), "any").unwrap_err();
    assert!(
        any.hint().unwrap().starts_with(
            "install the package postgresql of the distribution, or postgresql-16 of the \
             PostgreSQL project's repository, with apt"
        ),
        "{any:?}"
    );
    let text = plain(&error, &tree);
    assert!(
        text.starts_with(
            "failed to find PostgreSQL: no server matches the request >=16\nnothing at: \
         PGINSTALLATION; PG_CONFIG; PATH: /usr/bin, /sbin; Debian: /usr/lib/postgresql/*/bin; Red \
         Hat:"
        ),
        "{text}"
    );
    for (source, pattern) in Discovery::places() {
        assert!(
            text.contains(pattern) && text.contains(&source.to_string()),
            "{pattern}"
        );
    }
    let explanation = error.explanation().unwrap();
    let has = |place: &str| {
        let mut searched = explanation.searched().iter();
        searched
            .find(|searched| searched.place() == place)
            .unwrap()
            .outcomes()
    };
    assert!(matches!(has("PG_CONFIG"), [SearchOutcome::NotSet(_)]));
    assert!(matches!(has("/usr/bin"), [SearchOutcome::NoPrograms(_)]) && has("/sbin").is_empty());
}

/// Each error is reported once. The order does not depend on concurrency.
#[test]
fn errors_are_reported_in_the_order_of_the_search() {
    let tree = Tree::new();
    tree.server("/first", "15.1");
    tree.script("/broken/pg_config", "exit 1");
    tree.link("/same", "broken");
    // Root can read every directory, but not a link to itself.
    tree.link("/usr/lib/postgresql", "postgresql");
    tree.server("/usr/pgsql-16/bin", "16.3");
    let discovery = tree.discovery(&[("PATH", "/first:/broken:/same")]);
    let list = list(&discovery);
    let [first, broken, unreadable, last] = &list[..] else {
        panic!("{list:?}")
    };
    assert_eq!(
        (first.as_str(), last.as_str()),
        ("15.1 PATH", "16.3 Red Hat")
    );
    assert!(broken.contains("via PATH: failed to examine"), "{broken}");
    assert!(
        unreadable.starts_with("failed to find PostgreSQL via Debian: the directory "),
        "{unreadable}"
    );
    assert!(
        unreadable.contains("/usr/lib/postgresql cannot be read: "),
        "{unreadable}"
    );
    assert_eq!(
        find(&discovery, "newest")
            .unwrap()
            .installation()
            .version()
            .num(),
        160_003
    );
}

/// Each program waits until another one has started, which never happens in sequence.
#[test]
fn programs_are_run_concurrently() {
    let tree = Tree::new();
    for major in 10..14 {
        let body = format!(
            "echo >> {started}\nwhile [ $(wc -l < {started}) -lt 2 ]; do sleep 0.01; done\n\
             echo 'postgres (PostgreSQL) {major}.1'",
            started = tree.at("/started")
        );
        tree.script(&format!("/usr/lib/postgresql/{major}/bin/postgres"), &body);
    }
    let found: Vec<_> = tree
        .discovery(&[])
        .timeout(LONG)
        .all()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let majors: Vec<_> = found
        .iter()
        .map(|found| found.installation().version().major())
        .collect();
    assert_eq!(majors, [13, 12, 11, 10]);
}

#[test]
fn names_that_are_not_utf8_are_skipped() {
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::new();
    let directory = tree.at("/usr/lib/postgresql").into_std_path_buf();
    std::fs::create_dir_all(directory.join(std::ffi::OsStr::from_bytes(b"\xff16/bin"))).unwrap();
    tree.server("/usr/lib/postgresql/15/bin", "15.1");
    assert_eq!(list(&tree.discovery(&[])), ["15.1 Debian"]);
    assert_eq!(
        find(&tree.discovery(&[]), "any")
            .unwrap()
            .into_installation()
            .version()
            .num(),
        150_001
    );
    let not_utf8 = std::ffi::OsStr::from_bytes(b"/\xff").to_owned();
    let discovery = Discovery::new()
        .root(tree.root())
        .environment([("PGINSTALLATION", not_utf8)]);
    assert!(discovery.find(&Request::any()).unwrap_err().is_critical());
}

/// A program such as `createdb` must not be run: without arguments it creates a database.
#[test]
fn other_programs_are_not_run_as_pg_config() {
    let tree = Tree::new();
    for program in ["psql", "initdb", "createdb", "psql-16"] {
        tree.script(
            &format!("/pg/bin/{program}"),
            "echo run >> \"$0.log\"; echo 'VERSION = PostgreSQL 16.3'",
        );
    }
    tree.link("/link", "pg/bin/createdb");
    for value in [
        "/pg/bin/psql",
        "/pg/bin/initdb",
        "/pg/bin/psql-16",
        "/link",
        "psql",
    ] {
        for variable in ["PG_CONFIG", "PGINSTALLATION"] {
            let discovery = tree.discovery(&[(variable, value), ("PATH", "/pg/bin")]);
            let error = find(&discovery, "any").unwrap_err();
            assert!(error.is_critical(), "{variable}={value}");
        }
    }
    let error = find(&tree.discovery(&[("PG_CONFIG", "/pg/bin/psql")]), "any").unwrap_err();
    assert_eq!(
        plain(&error, &tree),
        "failed to find PostgreSQL via PG_CONFIG: failed to examine ROOT/pg/bin/psql: \
         failed to run ROOT/pg/bin/psql: psql is another program of PostgreSQL, not pg_config"
    );
    for program in ["psql", "initdb", "createdb", "psql-16"] {
        assert_eq!(tree.runs(&format!("/pg/bin/{program}")), 0, "{program}");
    }
    // By another name it is run, and rejected because of its help.
    tree.script(
        "/pg/bin/client",
        "case $1 in --help) echo --version;; --version) echo psql \\(PostgreSQL\\) 16.3;; \
         *) exit 2;; esac",
    );
    assert!(find(&tree.discovery(&[("PG_CONFIG", "/pg/bin/client")]), "any").is_err());
}

/// The search waits for the first program that hangs. Each of the other programs waits for the
/// next one, so only the last would be found if they were examined in sequence.
#[test]
fn programs_that_hang_do_not_stop_the_search() {
    let tree = Tree::new();
    let hang = tree.hang();
    tree.script("/a/pg_config", &hang);
    let (first, second) = (tree.fifo("/first"), tree.fifo("/second"));
    let meet = |own: &str, other: &str| format!("echo > {own} & read line < {other}; wait; {hang}");
    tree.script("/b/pg_config", &meet(first.as_str(), second.as_str()));
    tree.script(
        "/c/pg_config",
        &format!(
            "read line < {first}; echo > {second}; echo 'VERSION = PostgreSQL 16.3'; \
             echo \"BINDIR = ${{0%/*}}\""
        ),
    );
    tree.postgres("/c", "16.3");
    let discovery = tree
        .discovery(&[("PATH", "/a:/b:/c")])
        .timeout(Duration::MAX);
    let version = must_end(move || {
        let found = find(&discovery, "any").unwrap();
        found.installation().version().num()
    });
    assert_eq!(version, 160_003);
}

/// A slow program is examined if no other installation matches.
#[test]
fn a_slow_program_is_examined_again() {
    let tree = Tree::new();
    tree.script(
        "/slow/postgres",
        &format!(
            "[ -e \"$0.log\" ] || {{ echo run >> \"$0.log\"; {}; }}\n\
             echo 'postgres (PostgreSQL) 16.3'",
            tree.hang()
        ),
    );
    tree.postgres("/other", "15.1");
    let discovery = tree.discovery(&[("PATH", "/slow:/other")]);
    let found = must_end(move || find(&discovery, "16").unwrap());
    assert_eq!(found.installation().version().num(), 160_003);
}

#[test]
fn errors_name_programs_that_hang() {
    let tree = Tree::new();
    tree.script("/hanging/pg_config", &tree.hang());
    let discovery = tree
        .discovery(&[("PATH", "/hanging")])
        .timeout(Duration::from_millis(100));
    let error = find(&discovery, "any").unwrap_err();
    let text = plain(&error, &tree);
    assert_eq!(
        text.matches("ROOT/hanging/pg_config: the program did not exit within 100ms")
            .count(),
        1,
        "{text}"
    );
}
