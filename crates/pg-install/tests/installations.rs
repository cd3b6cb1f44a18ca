//! Installations from given data and simulated directories.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pg_install::{
    Installation, InstallationDirectory, InstallationErrorKind, Origin, PgConfig, Program,
    SslEvidence,
};
use tree::{Tree, chain, plain};

fn given(pairs: &[(&str, &str)]) -> Installation {
    Installation::from_pairs(pairs.iter().copied()).unwrap()
}

#[test]
fn only_the_version_is_required() {
    let installation = given(&[("version", "PostgreSQL 9.0devel")]);
    assert_eq!(installation.version_string(), "PostgreSQL 9.0devel");
    assert_eq!(installation.origin(), Origin::Given);
    assert!(
        InstallationDirectory::all().all(|directory| installation.directory(directory).is_none())
    );
    assert!(Program::all().all(|program| installation.program(program).is_none()));
    assert!(!installation.is_server());
    assert_eq!(installation.ssl_evidence(), &SslEvidence::Unknown);

    let error = Installation::new(PgConfig::default()).unwrap_err();
    assert!(matches!(error.kind(), InstallationErrorKind::NoVersion));
    assert_eq!(
        chain(&error),
        "failed to examine the given data as a PostgreSQL installation: the version is missing"
    );
}

#[test]
fn every_directory_has_an_accessor() {
    let pairs =
        InstallationDirectory::all().map(|directory| (directory.key(), format!("/x/{directory}")));
    let config = PgConfig::from_pairs(pairs.chain([("version", "PostgreSQL 16.3".to_owned())]));
    let i = Installation::new(config).unwrap();
    let paths = [
        i.bindir(),
        i.docdir(),
        i.htmldir(),
        i.includedir(),
        i.pkgincludedir(),
        i.includedir_server(),
        i.libdir(),
        i.pkglibdir(),
        i.localedir(),
        i.mandir(),
        i.sharedir(),
        i.sysconfdir(),
        i.pgxs(),
    ];
    assert!(
        paths
            .into_iter()
            .eq(InstallationDirectory::all().map(|directory| i.directory(directory)))
    );
    assert_eq!(i.includedir_server().unwrap(), "/x/includedir_server");
}

#[test]
fn all_programs_of_py_postgresql_are_known() {
    let names = "pg_config psql initdb pg_resetxlog pg_controldata clusterdb pg_ctl pg_dump \
                 pg_dumpall postgres postmaster reindexdb vacuumdb ipcclean createdb ecpg \
                 createuser createlang droplang dropuser pg_restore";
    for name in names.split_whitespace() {
        assert_eq!(name.parse().map(Program::name), Ok(name));
    }
    let error = "mysqld".parse::<Program>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to parse \"mysqld\" as the name of a program"
    );
    for directory in InstallationDirectory::all() {
        assert_eq!(directory.to_string().parse(), Ok(directory));
    }
}

/// Each version has exactly the programs of a complete build, including contrib and ecpg.
#[test]
fn each_major_version_has_its_programs() {
    let programs = |major: &str| {
        let major = major.parse().unwrap();
        Program::all()
            .filter(move |program| program.exists_in(major))
            .map(Program::name)
            .collect::<Vec<_>>()
    };
    for (major, present, absent) in [
        (
            "8.2",
            "ipcclean pg_resetxlog createlang postmaster",
            "pg_basebackup pg_upgrade pg_resetwal",
        ),
        (
            "9.6",
            "pg_resetxlog droplang pg_rewind",
            "ipcclean pg_resetwal pg_waldump",
        ),
        (
            "10",
            "pg_resetwal pg_waldump pg_receivewal",
            "pg_resetxlog createlang pg_checksums",
        ),
        (
            "15",
            "postmaster pg_amcheck pg_verifybackup pg_checksums",
            "pg_walsummary",
        ),
        (
            "17",
            "pg_combinebackup pg_createsubscriber pg_walsummary",
            "postmaster",
        ),
    ] {
        let programs = programs(major);
        assert!(
            present
                .split_whitespace()
                .all(|name| programs.contains(&name)),
            "{major}"
        );
        assert!(
            !absent
                .split_whitespace()
                .any(|name| programs.contains(&name)),
            "{major}"
        );
    }
}

#[test]
fn a_program_is_an_executable_file() {
    let tree = Tree::new();
    tree.server("/pg/bin", "16.3");
    tree.file("/pg/bin/initdb", "not executable");
    fs::create_dir(tree.at("/pg/bin/psql")).unwrap();
    tree.link("/pg/bin/pg_ctl", "nowhere");
    tree.link("/pg/bin/pg_dump", "postgres");
    let installation = Installation::from_bin_directory(tree.at("/pg/bin")).unwrap();
    assert_eq!(
        installation.program(Program::Postgres),
        Some(&*tree.at("/pg/bin/postgres"))
    );
    assert_eq!(
        installation.program(Program::PgDump),
        Some(&*tree.at("/pg/bin/pg_dump"))
    );
    for program in [
        Program::Initdb,
        Program::Psql,
        Program::PgCtl,
        Program::Createdb,
    ] {
        assert_eq!(installation.program(program), None, "{program}");
    }
    let missing = installation.missing_programs();
    assert!(missing.contains(&Program::Initdb));
    assert!(!missing.contains(&Program::Postgres));
    assert!(
        !missing.contains(&Program::PgResetxlog),
        "PostgreSQL 16 does not have this program"
    );
}

#[test]
fn a_missing_program_is_explained() {
    let tree = Tree::new();
    tree.server("/pg/bin", "16.3 (Debian 16.3-1)");
    tree.file("/pg/bin/initdb", "not executable");
    tree.file("/etc/os-release", "ID=debian\n");
    let found = tree
        .discovery(&[("PATH", "/pg/bin")])
        .search()
        .next()
        .unwrap()
        .unwrap();
    let require = |program| found.installation().require(program).unwrap_err();
    let error = require(Program::Psql);
    assert_eq!(
        plain(&error, &tree),
        "failed to find psql of PostgreSQL 16.3: ROOT/pg/bin/psql does not exist"
    );
    assert_eq!(
        error.hint().unwrap(),
        "install the package postgresql-client-16, with apt"
    );
    assert_eq!(
        plain(&require(Program::Initdb), &tree),
        "failed to find initdb of PostgreSQL 16.3: ROOT/pg/bin/initdb is not an executable file"
    );
    assert_eq!(
        given(&[("version", "PostgreSQL 16.3")])
            .require(Program::Postgres)
            .map_err(|error| chain(&error))
            .unwrap_err(),
        "failed to find postgres of PostgreSQL 16.3: the bin directory of the installation is not \
         known"
    );
}

#[test]
fn hints_name_the_package_of_the_distribution() {
    let tree = Tree::new();
    tree.pg_config("/pg/bin", "16.3");
    let hint = |os_release: &str| {
        tree.file("/etc/os-release", os_release);
        let found = tree
            .discovery(&[("PATH", "/pg/bin")])
            .search()
            .next()
            .unwrap()
            .unwrap();
        found
            .installation()
            .require(Program::Postgres)
            .unwrap_err()
            .hint()
            .unwrap()
            .into_owned()
    };
    for (os_release, package) in [
        ("ID=ubuntu\nID_LIKE=debian", "postgresql-16, with apt"),
        (
            "ID=fedora",
            "postgresql-server of the distribution, or postgresql16-server of the",
        ),
        ("ID=opensuse-leap", "postgresql16-server, with zypper"),
        ("ID=alpine", "postgresql16, with apk"),
        ("ID=arch", "postgresql, with pacman"),
        ("ID=gentoo", "dev-db/postgresql:16 with USE=server"),
        ("ID=nixos", "postgresql_16"),
        ("ID=freebsd", "postgresql16-server, with pkg"),
    ] {
        assert!(
            hint(os_release).contains(package),
            "{os_release}: {}",
            hint(os_release)
        );
    }
}

#[test]
fn pg_config_is_used_if_it_describes_the_directory() {
    let tree = Tree::new();
    tree.server("/pg/bin", "16.3");
    tree.link("/link", "pg");
    let installation = Installation::from_bin_directory(tree.at("/link/bin")).unwrap();
    assert_eq!(installation.origin(), Origin::PgConfig);
    assert_eq!(
        (
            tree.runs("/pg/bin/pg_config"),
            tree.runs("/pg/bin/postgres")
        ),
        (1, 0)
    );
}

#[test]
fn a_pg_config_of_another_directory_is_not_used() {
    let tree = Tree::new();
    tree.pg_config_for("/usr/bin", "/usr/lib/postgresql/16/bin", "16.3");
    let error = Installation::from_bin_directory(tree.at("/usr/bin")).unwrap_err();
    assert_eq!(
        plain(&error, &tree),
        "failed to examine ROOT/usr/bin: the directory contains no postgres, and its pg_config \
         describes /usr/lib/postgresql/16/bin"
    );
    assert_eq!(error.hint().unwrap(), "use /usr/lib/postgresql/16/bin");

    tree.postgres("/usr/bin", "15.1");
    let installation = Installation::from_bin_directory(tree.at("/usr/bin")).unwrap();
    assert_eq!(
        (installation.version().num(), installation.origin()),
        (150_001, Origin::BinDirectory)
    );
    assert_eq!(installation.bindir(), Some(&*tree.at("/usr/bin")));
}

#[test]
fn an_empty_directory() {
    let tree = Tree::new();
    let error = Installation::from_bin_directory(tree.root()).unwrap_err();
    assert!(matches!(error.kind(), InstallationErrorKind::NothingHere));
    assert_eq!(
        plain(&error, &tree),
        "failed to examine ROOT: the directory contains neither postgres nor pg_config"
    );
}

/// The layouts of packagers: the `bin` directory, and the directories of `postgres.bki` and
/// `plpgsql.so`.
#[test]
fn directories_are_found_without_pg_config() {
    for (bin, share, pkglib) in [
        (
            "/native/bin",
            "/native/share/postgresql",
            "/native/lib/postgresql",
        ),
        ("/pginstall/bin", "/pginstall/share", "/pginstall/lib"),
        (
            "/usr/lib/postgresql/16/bin",
            "/usr/share/postgresql/16",
            "/usr/lib/postgresql/16/lib",
        ),
        (
            "/usr/pgsql-16/bin",
            "/usr/pgsql-16/share",
            "/usr/pgsql-16/lib",
        ),
        ("/usr/bin", "/usr/share/pgsql", "/usr/lib64/pgsql"),
        (
            "/usr/lib/postgresql16/bin",
            "/usr/share/postgresql16",
            "/usr/lib/postgresql16/lib64",
        ),
        (
            "/usr/lib64/postgresql-16/bin",
            "/usr/share/postgresql-16",
            "/usr/lib64/postgresql-16/lib64",
        ),
        (
            "/usr/libexec/postgresql16",
            "/usr/share/postgresql16",
            "/usr/lib/postgresql16",
        ),
        (
            "/usr/local/bin",
            "/usr/local/share/postgresql",
            "/usr/local/lib/postgresql",
        ),
    ] {
        let tree = Tree::new();
        tree.postgres(bin, "16.3");
        tree.file(&format!("{share}/postgres.bki"), "");
        tree.file(&format!("{pkglib}/plpgsql.so"), "");
        let installation = Installation::from_bin_directory(tree.at(bin)).unwrap();
        assert_eq!(installation.version_string(), "PostgreSQL 16.3");
        assert_eq!(installation.bindir(), Some(&*tree.at(bin)), "{bin}");
        assert_eq!(installation.sharedir(), Some(&*tree.at(share)), "{bin}");
        assert_eq!(installation.pkglibdir(), Some(&*tree.at(pkglib)), "{bin}");
        assert_eq!(installation.includedir(), None, "{bin}");
        assert!(installation.configure_options().is_empty());
    }
}

#[test]
fn the_vendor_of_the_server_is_kept() {
    for (printed, version_string) in [
        (
            "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
            "PostgreSQL 15.18 (Debian 15.18-0+deb12u1)",
        ),
        ("postgres (EnterpriseDB) 15.2.0", "EnterpriseDB 15.2.0"),
        ("PostgreSQL 9.0devel", "PostgreSQL 9.0devel"),
        ("postgres 9.5.0 (x)", "postgres 9.5.0 (x)"),
    ] {
        let tree = Tree::new();
        tree.script("/bin/postgres", &format!("echo '{printed}'"));
        let installation = Installation::from_bin_directory(tree.at("/bin")).unwrap();
        assert_eq!(installation.version_string(), version_string);
    }
}

#[test]
fn pg_config_and_server_are_compared() {
    let tree = Tree::new();
    tree.pg_config("/bin", "16.3 (Debian 16.3-1)");
    let installation = Installation::from_bin_directory(tree.at("/bin")).unwrap();
    let error = installation.verify().unwrap_err();
    assert!(matches!(
        error.kind(),
        InstallationErrorKind::MissingProgram(_)
    ));

    tree.postgres("/bin", "16.3");
    Installation::from_bin_directory(tree.at("/bin"))
        .unwrap()
        .verify()
        .unwrap();

    tree.postgres("/bin", "16.2");
    let installation = Installation::from_bin_directory(tree.at("/bin")).unwrap();
    let error = installation.verify().unwrap_err();
    assert_eq!(
        plain(&error, &tree),
        "failed to examine ROOT/bin: pg_config reports version 16.3 (Debian 16.3-1), but \
         postgres reports 16.2"
    );
}

#[test]
fn ssl_is_decided_by_the_first_evidence() {
    let tree = Tree::new();
    let bin = tree.at("/bin");
    let evidence = |pairs: &[(&str, &str)]| {
        let common = [
            ("version", "PostgreSQL 16.3"),
            ("bindir", bin.as_str()),
            ("includedir_server", tree.at("/h").as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let installation = Installation::from_pairs(common.into_iter().chain(pairs)).unwrap();
        let evidence = installation.ssl_evidence().clone();
        assert_eq!(installation.ssl(), evidence.is_enabled());
        (
            evidence.is_enabled(),
            format!("{evidence:?}")
                .split([' ', '{'])
                .next()
                .unwrap()
                .to_owned(),
        )
    };
    let is = |enabled, kind: &str| (enabled, kind.to_owned());

    assert_eq!(
        evidence(&[("configure", "'--with-openssl'")]),
        is(true, "ConfigureOption")
    );
    assert_eq!(
        evidence(&[("configure", "'--with-ssl=openssl'")]),
        is(true, "ConfigureOption")
    );
    assert_eq!(
        evidence(&[("configure", "--with-ssl=openssl --without-ssl")]),
        is(false, "ConfigureOption")
    );
    assert_eq!(
        evidence(&[("configure", "--with-openssl=no")]),
        is(false, "ConfigureOption")
    );
    assert_eq!(
        evidence(&[("configure", "'--prefix=/x'"), ("libs", "-lssl")]),
        is(false, "NotConfigured")
    );
    assert_eq!(
        evidence(&[("configure", ""), ("libs", "-lz -lssl -lm")]),
        is(true, "LinkOption")
    );

    assert_eq!(evidence(&[]), is(false, "Unknown"));
    tree.script("/bin/postgres", "exec /elsewhere/postgres # libssl.so");
    assert_eq!(
        evidence(&[]),
        is(false, "Unknown"),
        "a wrapper script is not evidence"
    );
    let server = |content: &[u8]| {
        fs::write(bin.join("postgres"), content).unwrap();
        fs::set_permissions(bin.join("postgres"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    server(b"\x7fELF libpq libz.so");
    assert_eq!(evidence(&[]), is(false, "Server"));
    server(b"\x7fELF\0libssl.so.3\0");
    assert_eq!(evidence(&[]), is(true, "Server"));
    server(b"\x7fELF\0be-secure-openssl.c\0");
    assert_eq!(evidence(&[]), is(true, "Server"));

    tree.file("/h/pg_config.h", "#include \"pg_config_x86_64.h\"\n");
    assert_eq!(
        evidence(&[]),
        is(true, "Server"),
        "a header that only includes another is not evidence"
    );
    tree.file(
        "/h/pg_config.h",
        "#define PG_VERSION_NUM 160003\n/* #undef USE_OPENSSL */\n",
    );
    assert_eq!(evidence(&[]), is(false, "Header"));
    tree.file(
        "/h/pg_config.h",
        "#define PG_VERSION_NUM 160003\n#define USE_OPENSSL 1\n",
    );
    assert_eq!(evidence(&[]), is(true, "Header"));
}

#[test]
fn installations_can_be_sent_and_shared() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug + 'static>() {}
    check::<Installation>();
    check::<pg_install::DiscoveredInstallation>();
    check::<pg_install::Discovery>();
}
