//! Searches of simulated machines: the installations found, and their order.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use pg_install::{DiscoveryErrorKind, SearchOutcome, Source};
use tree::{Tree, find, list, plain};

/// One machine of each documented kind, with a server where its packages install it.
#[test]
fn servers_are_found_on_every_kind_of_machine() {
    let home = [("HOME", "/home/me"), ("USER", "me")];
    for (source, bin) in [
        (Source::Debian, "/usr/lib/postgresql/16/bin"),
        (Source::RedHat, "/usr/pgsql-16/bin"),
        (Source::RedHat, "/opt/rh/rh-postgresql16/root/usr/bin"),
        (Source::RedHat, "/usr/lib64/pgsql/postgresql-16/bin"),
        (Source::Suse, "/usr/lib/postgresql16/bin"),
        (Source::Alpine, "/usr/libexec/postgresql16"),
        (Source::Arch, "/opt/pgsql-16/bin"),
        (Source::Gentoo, "/usr/lib64/postgresql-16/bin"),
        (Source::Gentoo, "/usr/lib/postgresql-16/bin"),
        (Source::Void, "/usr/lib/psql16/bin"),
        (Source::Slackware, "/usr/lib64/postgresql/16/bin"),
        (Source::System, "/usr/bin"),
        (Source::System, "/usr/local/bin"),
        (Source::System, "/usr/pkg/bin"),
        (Source::System, "/opt/local/bin"),
        (Source::System, "/opt/pkg/bin"),
        (Source::Solaris, "/usr/postgres/16/bin"),
        (Source::Solaris, "/opt/ooce/pgsql-16/bin"),
        (Source::Homebrew, "/opt/homebrew/opt/postgresql@16/bin"),
        (Source::Homebrew, "/usr/local/opt/postgresql/bin"),
        (
            Source::Homebrew,
            "/home/linuxbrew/.linuxbrew/opt/postgresql@16/bin",
        ),
        (
            Source::PostgresApp,
            "/Applications/Postgres.app/Contents/Versions/16/bin",
        ),
        (
            Source::PostgresApp,
            "/home/me/Applications/Postgres.app/Contents/Versions/16/bin",
        ),
        (Source::MacPorts, "/opt/local/lib/postgresql16/bin"),
        (Source::Nix, "/home/me/.nix-profile/bin"),
        (Source::Nix, "/home/me/.local/state/nix/profile/bin"),
        (Source::Nix, "/etc/profiles/per-user/me/bin"),
        (Source::Nix, "/run/current-system/sw/bin"),
        (Source::Nix, "/nix/var/nix/profiles/default/bin"),
        (Source::Guix, "/home/me/.guix-profile/bin"),
        (Source::Guix, "/home/me/.guix-home/profile/bin"),
        (Source::Guix, "/run/current-system/profile/bin"),
        (Source::Edb, "/opt/PostgreSQL/16/bin"),
        (Source::Edb, "/Library/PostgreSQL/16/bin"),
        (Source::Edb, "/usr/edb/as16/bin"),
        (Source::Edb, "/usr/edb/pge16/bin"),
        (Source::Edb, "/usr/lib/edb-as/16/bin"),
        (Source::Edb, "/usr/lib/edb-pge/16/bin"),
        (Source::PostgresPro, "/opt/pgpro/std-16/bin"),
        (Source::Bitnami, "/opt/bitnami/postgresql/bin"),
        (Source::SourceBuild, "/usr/local/pgsql/bin"),
        (Source::Asdf, "/home/me/.asdf/installs/postgres/16.3/bin"),
        (
            Source::Mise,
            "/home/me/.local/share/mise/installs/postgres/16.3/bin",
        ),
        (Source::Pgrx, "/home/me/.pgrx/16.3/pgrx-install/bin"),
        (
            Source::PostgresqlEmbedded,
            "/home/me/.theseus/postgresql/16.3.0/bin",
        ),
    ] {
        let tree = Tree::new();
        tree.postgres(bin, "16.3");
        let discovery = tree.discovery(&home);
        let found: Vec<_> = discovery.search().map(Result::unwrap).collect();
        let [found] = &found[..] else {
            panic!("{bin}: {}", discovery.explain())
        };
        assert_eq!(found.source(), source, "{bin}");
        assert_eq!(found.installation().bindir(), Some(&*tree.at(bin)));
        assert!(found.installation().is_server());
    }
}

#[test]
fn places_that_variables_name() {
    for (source, variable, value, bin) in [
        (
            Source::Homebrew,
            "HOMEBREW_PREFIX",
            "/brew",
            "/brew/opt/postgresql@16/bin",
        ),
        (
            Source::Nix,
            "XDG_STATE_HOME",
            "/state",
            "/state/nix/profile/bin",
        ),
        (
            Source::Asdf,
            "ASDF_DATA_DIR",
            "/asdf",
            "/asdf/installs/postgres/16.3/bin",
        ),
        (
            Source::Mise,
            "MISE_DATA_DIR",
            "/mise",
            "/mise/installs/postgres/16.3/bin",
        ),
        (
            Source::Mise,
            "XDG_DATA_HOME",
            "/data",
            "/data/mise/installs/postgres/16.3/bin",
        ),
        (
            Source::Pgrx,
            "PGRX_HOME",
            "/pgrx",
            "/pgrx/16.3/pgrx-install/bin",
        ),
        (Source::Path, "PATH", "/x:/y", "/y"),
        (
            Source::Pginstallation,
            "PGINSTALLATION",
            "/pg/bin",
            "/pg/bin",
        ),
        (Source::Pginstallation, "PGINSTALLATION", "/pg", "/pg/bin"),
        (
            Source::Pginstallation,
            "PGINSTALLATION",
            "/pg/bin/postgres",
            "/pg/bin",
        ),
    ] {
        let tree = Tree::new();
        tree.postgres(bin, "16.3");
        let found = find(&tree.discovery(&[(variable, value)]), "any").unwrap();
        assert_eq!(
            (found.source(), found.installation().bindir()),
            (source, Some(&*tree.at(bin)))
        );
        assert!(
            find(&tree.discovery(&[(variable, "")]), "any").is_err(),
            "an empty {variable} must be ignored"
        );
    }
}

#[test]
fn the_order_is_as_documented() {
    let tree = Tree::new();
    tree.server("/a/bin", "10.1");
    tree.pg_config("/b/bin", "10.2");
    tree.postgres("/b/bin", "10.2");
    tree.server("/c/bin", "10.3");
    tree.server("/d/bin", "10.4");
    for version in ["9.6", "10", "16", "17"] {
        let release = if version == "9.6" {
            "9.6.24".to_owned()
        } else {
            format!("{version}.9")
        };
        tree.server(&format!("/usr/lib/postgresql/{version}/bin"), &release);
    }
    tree.server("/opt/local/lib/postgresql16/bin", "16.5");
    tree.server("/home/me/.pgrx/16.10/pgrx-install/bin", "16.10");
    tree.server("/home/me/.pgrx/16.2/pgrx-install/bin", "16.2");
    let discovery = tree.discovery(&[
        ("PGINSTALLATION", "/a/bin/pg_config"),
        ("PG_CONFIG", "/b/bin/pg_config"),
        ("PATH", "relative::/c/bin:/nowhere:/d/bin:/c/bin"),
        ("HOME", "/home/me"),
    ]);
    let expected = [
        "10.1 PGINSTALLATION",
        "10.2 PG_CONFIG",
        "10.3 PATH",
        "10.4 PATH",
        "17.9 Debian",
        "16.9 Debian",
        "10.9 Debian",
        "9.6.24 Debian",
        "16.5 MacPorts",
        "16.10 pgrx",
        "16.2 pgrx",
    ];
    assert_eq!(list(&discovery), expected);
}

#[test]
fn programs_are_run_lazily() {
    let tree = Tree::new();
    tree.server("/a", "15.1");
    tree.server("/b", "16.1");
    tree.server("/usr/lib/postgresql/17/bin", "17.1");
    let runs = || {
        [
            "/a/pg_config",
            "/a/postgres",
            "/b/pg_config",
            "/b/postgres",
            "/usr/lib/postgresql/17/bin/pg_config",
        ]
        .map(|path| tree.runs(path))
    };
    let discovery = tree.discovery(&[("PATH", "/a:/b")]);
    let mut search = discovery.search();
    assert_eq!(runs(), [0, 0, 0, 0, 0]);
    search.next().unwrap().unwrap();
    assert_eq!(runs(), [1, 0, 0, 0, 0]);
    find(&discovery, "16").unwrap();
    assert_eq!(runs(), [2, 0, 1, 0, 0]);
    drop(search);
}

#[test]
fn an_installation_is_found_once() {
    let tree = Tree::new();
    tree.server("/usr/lib/postgresql/16/bin", "16.3");
    // Links as Homebrew, Alpine and mise create them.
    tree.link(
        "/usr/local/bin/postgres",
        "../../lib/postgresql/16/bin/postgres",
    );
    tree.link(
        "/opt/homebrew/opt/postgresql",
        "../../../usr/lib/postgresql/16",
    );
    tree.link(
        "/Applications/Postgres.app/Contents/Versions/latest",
        "../../../../usr/lib/postgresql/16",
    );
    tree.link("/bin", "usr/lib/postgresql/16/bin");
    // The `pg_config` of Debian's libpq-dev.
    tree.pg_config_for(
        "/usr/bin",
        tree.at("/usr/lib/postgresql/16/bin").as_str(),
        "16.3",
    );
    let discovery = tree.discovery(&[("PATH", "/bin:/usr/local/bin:/usr/bin")]);
    assert_eq!(list(&discovery), ["16.3 PATH"]);
    let again = discovery
        .explain()
        .searched()
        .iter()
        .flat_map(|searched| searched.outcomes())
        .filter(|outcome| matches!(outcome, SearchOutcome::Duplicate(_)))
        .count();
    assert_eq!(again, 7, "{}", discovery.explain());
    // If a link leads to the program, the installation is in the directory of the program.
    let discovery = tree.discovery(&[("PATH", "/usr/local/bin")]);
    let bindir = discovery
        .search()
        .next()
        .unwrap()
        .unwrap()
        .into_installation()
        .bindir()
        .unwrap()
        .to_owned();
    assert_eq!(bindir, tree.at("/usr/lib/postgresql/16/bin"));
}

/// Red Hat's server in `/usr/bin`, in one directory with the `pg_config` of another version.
#[test]
fn a_directory_may_lead_to_two_installations() {
    let tree = Tree::new();
    tree.postgres("/usr/bin", "13.20");
    tree.pg_config_for("/usr/bin", tree.at("/usr/pgsql-16/bin").as_str(), "16.3");
    tree.server("/usr/pgsql-16/bin", "16.3");
    let discovery = tree.discovery(&[("PATH", "/usr/bin")]);
    assert_eq!(list(&discovery), ["16.3 PATH", "13.20 PATH"]);
}

/// Tools such as asdf have directories of scripts that start the programs of the installation.
#[test]
fn shims_are_not_an_installation() {
    let tree = Tree::new();
    tree.server("/home/me/.asdf/installs/postgres/16.3/bin", "16.3");
    let real = tree.at("/home/me/.asdf/installs/postgres/16.3/bin");
    for program in ["pg_config", "postgres"] {
        tree.script(
            &format!("/home/me/.asdf/shims/{program}"),
            &format!("exec {real}/{program} \"$@\""),
        );
    }
    let discovery = tree.discovery(&[("PATH", "/home/me/.asdf/shims"), ("HOME", "/home/me")]);
    assert_eq!(list(&discovery), ["16.3 PATH"]);
    let found = discovery.search().next().unwrap().unwrap();
    assert_eq!(found.installation().bindir(), Some(&*real));
    assert_eq!(found.path(), tree.at("/home/me/.asdf/shims"));
}

#[test]
fn development_packages_are_recognized_and_skipped() {
    let tree = Tree::new();
    tree.pg_config_for(
        "/usr/bin",
        "/usr/lib/postgresql/17/bin",
        "17.2 (Debian 17.2-1)",
    );
    tree.server("/opt/PostgreSQL/15/bin", "15.1");
    let discovery = tree.discovery(&[("PATH", "/usr/bin")]);
    let first = discovery.search().next().unwrap().unwrap();
    assert!(!first.installation().is_server());
    assert_eq!(
        find(&discovery, "any")
            .unwrap()
            .installation()
            .version()
            .num(),
        150_001
    );
    let error = find(&discovery, "17").unwrap_err();
    assert!(plain(&error, &tree).contains(
        "PATH: /usr/bin: PostgreSQL 17.2 (Debian 17.2-1) without a server, in \
         /usr/lib/postgresql/17/bin\n"
    ));
}

#[test]
fn a_request_finds_the_first_or_the_newest_installation() {
    let tree = Tree::new();
    tree.server("/path", "14.5");
    for (major, version) in [
        ("9.6", "9.6.24"),
        ("15", "15.18"),
        ("16", "16.3"),
        ("17", "17.1"),
        ("18", "18beta1"),
    ] {
        tree.server(&format!("/usr/lib/postgresql/{major}/bin"), version);
    }
    tree.server("/opt/PostgreSQL/16/bin", "16.9");
    let discovery = tree.discovery(&[("PATH", "/path")]);
    for (request, version) in [
        ("any", "14.5"),
        ("newest", "17.1"),
        ("16", "16.3"),
        ("16,newest", "16.9"),
        ("16.9", "16.9"),
        ("9.6", "9.6.24"),
        ("<14", "9.6.24"),
        ("<17,newest", "16.9"),
        (">=15", "18beta1"),
        (">17,newest", "18beta1"),
    ] {
        let found = find(&discovery, request).unwrap_or_else(|error| panic!("{request}: {error}"));
        assert_eq!(
            found.installation().version().to_string(),
            version,
            "{request}"
        );
    }
    for request in ["10", "16.4", ">18", "<9.6"] {
        let error = find(&discovery, request).unwrap_err();
        assert!(
            matches!(error.kind(), DiscoveryErrorKind::NotFound { .. }),
            "{request}"
        );
    }
}

#[test]
fn a_server_beside_a_pg_config_without_a_directory() {
    for bindir in ["", "bin", "."] {
        let tree = Tree::new();
        tree.pg_config_for("/pg/bin", bindir, "16.3");
        tree.postgres("/pg/bin", "16.3");
        for (variable, value, source) in [
            ("PATH", "/pg/bin", Source::Path),
            ("PG_CONFIG", "/pg/bin/pg_config", Source::PgConfig),
            (
                "PGINSTALLATION",
                "/pg/bin/pg_config",
                Source::Pginstallation,
            ),
            ("PGINSTALLATION", "/pg", Source::Pginstallation),
        ] {
            let discovery = tree.discovery(&[(variable, value)]);
            assert_eq!(list(&discovery), [format!("16.3 {source}")], "{variable}");
            let found = find(&discovery, "any").unwrap();
            assert_eq!(
                found.installation().bindir(),
                Some(&*tree.at("/pg/bin")),
                "{variable}, BINDIR = {bindir}"
            );
        }
    }
}

/// In a Nix profile, `pg_config` only prints that it is in another package.
#[test]
fn a_server_beside_a_pg_config_that_fails() {
    let tree = Tree::new();
    tree.postgres("/profile/bin", "16.3");
    tree.script(
        "/profile/bin/pg_config",
        "echo 'no pg_config here' >&2; exit 1",
    );
    for value in ["/profile", "/profile/bin", "/profile/bin/pg_config"] {
        let discovery = tree.discovery(&[("PGINSTALLATION", value)]);
        assert_eq!(list(&discovery), ["16.3 PGINSTALLATION"], "{value}");
        let text = discovery.explain().to_string();
        assert!(text.contains("stderr: no pg_config here\n"), "{text}");
    }
    // If `PG_CONFIG` names the program, its failure is an error.
    let discovery = tree.discovery(&[("PG_CONFIG", "/profile/bin/pg_config")]);
    assert!(find(&discovery, "any").unwrap_err().is_critical());
}

#[test]
fn the_version_is_read_from_the_line_that_names_postgresql() {
    let tree = Tree::new();
    tree.script(
        "/pg/bin/postgres",
        "echo 'Loading module 3 of 4'; printf '\\377 5\\n'; echo PostgreSQL; echo 12; \
         echo 'postgres (PostgreSQL) 16.3mybuild'; echo 'PostgreSQL 4.5'",
    );
    let found = find(&tree.discovery(&[("PATH", "/pg/bin")]), "any").unwrap();
    assert_eq!(
        found.installation().version_string(),
        "PostgreSQL 16.3mybuild"
    );
}
