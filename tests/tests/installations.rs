//! Real installations, complete and server-only, of all versions that can be had.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{
    Discovery, Installation, InstallationDirectory, Origin, ParameterContext, ParameterKind,
    PgConfig, Program, Source, SslEvidence,
};

/// The `bin` directories to test with: those that `cargo xtask test` has fetched, or else those of
/// this machine.
fn bin_directories() -> Vec<Utf8PathBuf> {
    let given = std::env::var("PG_TESTS_BINDIRS").unwrap_or_default();
    let mut directories: Vec<_> = given
        .split(':')
        .filter(|path| !path.is_empty())
        .map(Utf8PathBuf::from)
        .collect();
    if directories.is_empty() {
        let found = Discovery::new().all().into_iter().filter_map(Result::ok);
        let servers = found
            .map(|found| found.into_installation())
            .filter(Installation::is_server);
        directories = servers
            .filter_map(|server| Some(server.bindir()?.to_owned()))
            .collect();
    }
    assert!(
        !directories.is_empty(),
        "there is no PostgreSQL server to test with: run `cargo xtask postgres fetch`"
    );
    directories
}

fn installations() -> impl Iterator<Item = (Utf8PathBuf, Installation)> {
    bin_directories().into_iter().map(|bin| {
        let installation = Installation::from_bin_directory(&bin);
        let installation = installation.unwrap_or_else(|error| panic!("{bin}: {error:?}"));
        (bin, installation)
    })
}

/// The first line of what a program prints, by the shortest way there is.
fn print(program: &Utf8Path, argument: &str) -> String {
    let output = Command::new(program)
        .arg(argument)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {argument}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_version_is_that_of_the_server() {
    for (bin, installation) in installations() {
        let line = print(&bin.join("postgres"), "--version");
        let version = installation.version();
        assert_eq!(line, format!("postgres (PostgreSQL) {version}"), "{bin}");
        assert_eq!(
            installation.version_string(),
            format!("PostgreSQL {version}")
        );
        installation.verify().unwrap();
    }
}

/// `initdb` looks at the same line: the file belongs to one major version.
#[test]
fn the_shared_directory_belongs_to_the_major_version() {
    for (bin, installation) in installations() {
        let share = installation
            .sharedir()
            .unwrap_or_else(|| panic!("{bin}: no sharedir"));
        let bki = fs::read_to_string(share.join("postgres.bki")).unwrap();
        let major = bki
            .lines()
            .next()
            .unwrap()
            .strip_prefix("# PostgreSQL ")
            .unwrap();
        assert_eq!(major.parse(), Ok(installation.major_version()), "{bin}");
    }
}

#[test]
fn server_programs_are_there() {
    for (bin, installation) in installations() {
        assert!(installation.is_server());
        let missing = installation.missing_programs();
        for program in [Program::Postgres, Program::Initdb, Program::PgCtl] {
            assert_eq!(
                installation.require(program).unwrap(),
                bin.join(program.name())
            );
            assert!(!missing.contains(&program));
        }
        for program in Program::all().filter(|program| bin.join(program.name()).exists()) {
            assert!(
                program.exists_in(installation.major_version()),
                "{bin}: {program}"
            );
            assert!(installation.program(program).is_some() && !missing.contains(&program));
        }
    }
}

#[test]
fn pg_config_says_the_same_all_at_once_and_one_by_one() {
    for (bin, installation) in installations() {
        let Some(program) = installation.program(Program::PgConfig) else {
            assert_eq!(installation.origin(), Origin::BinDirectory, "{bin}");
            continue;
        };
        let config = PgConfig::query(program).unwrap();
        assert_eq!(config.program(), Some(program));
        for directory in InstallationDirectory::all() {
            let option = format!("--{}", directory.key().replace('_', "-"));
            assert_eq!(
                config.get(directory.key()),
                Some(&*print(program, &option)),
                "{bin}: {option}"
            );
        }
        let installation = Installation::new(config).unwrap();
        assert_eq!(installation.origin(), Origin::PgConfig);
        assert_eq!(installation.version_string(), print(program, "--version"));
        let words = print(program, "--configure");
        assert_eq!(
            installation.configure_options().words().len(),
            words.split("' '").count(),
            "{words}"
        );
    }
}

/// What the executable says about SSL is what the options of configure say, where both are there.
#[test]
fn ssl_is_told_from_the_executable_as_from_the_options() {
    for (bin, installation) in installations() {
        let blind = Installation::from_pairs([
            ("version", installation.version_string()),
            ("bindir", bin.as_str()),
        ])
        .unwrap();
        assert!(
            matches!(blind.ssl_evidence(), SslEvidence::Server { .. }),
            "{bin}"
        );
        assert_eq!(
            blind.ssl(),
            installation.ssl(),
            "{bin}: {:?}",
            installation.ssl_evidence()
        );
        if installation.origin() == Origin::PgConfig {
            assert!(matches!(
                installation.ssl_evidence(),
                SslEvidence::ConfigureOption { .. } | SslEvidence::NotConfigured
            ));
        }
    }
}

/// The sample file has every parameter that is listed, commented out, and the directives for files.
#[test]
fn the_parameters_are_those_of_the_sample_file() {
    for (bin, installation) in installations() {
        let parameters = installation.server_parameters().unwrap();
        let sample = installation
            .sharedir()
            .unwrap()
            .join("postgresql.conf.sample");
        let sample = fs::read_to_string(sample).unwrap();
        let assigned: Vec<_> = sample
            .lines()
            .filter_map(|line| line.strip_prefix('#')?.split_once(" = "))
            .map(|(name, _)| name)
            .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            .filter(|name| !["include", "include_dir", "include_if_exists"].contains(name))
            .collect();
        assert!(assigned.len() > 200, "{bin}: {}", assigned.len());
        for name in assigned {
            assert!(parameters.get(name).is_some(), "{bin}: {name}");
        }
    }
}

#[test]
fn well_known_parameters_are_described() {
    for (bin, installation) in installations() {
        let parameters = installation.server_parameters().unwrap();
        let port = parameters.get("Port").unwrap();
        assert_eq!(
            (port.kind(), port.context()),
            (ParameterKind::Integer, ParameterContext::Postmaster)
        );
        assert_eq!(
            (port.minimum(), port.maximum()),
            (Some(1.0), Some(65_535.0)),
            "{bin}"
        );
        assert_eq!(port.boot_value(), None);
        let wal_level = parameters.get("wal_level").unwrap();
        assert_eq!(
            (wal_level.kind(), wal_level.boot_value()),
            (ParameterKind::Enum, Some("replica"))
        );
        assert_eq!(
            parameters.get("fsync").unwrap().kind(),
            ParameterKind::Boolean
        );
        assert_eq!(
            parameters.get("random_page_cost").unwrap().kind(),
            ParameterKind::Real
        );
        assert_eq!(parameters.get("timezone").unwrap().name(), "TimeZone");
        // Known to every server, and listed by none.
        assert_eq!(parameters.get("zero_damaged_pages"), None);
    }
}

#[test]
fn discovery_finds_what_the_environment_names() {
    for (bin, installation) in installations() {
        for (variable, source) in [
            ("PGINSTALLATION", Source::Pginstallation),
            ("PATH", Source::Path),
        ] {
            let discovery = Discovery::new().environment([(variable, bin.as_str())]);
            let found = discovery.search().next().unwrap().unwrap();
            assert_eq!(found.source(), source);
            assert_eq!(found.installation().version(), installation.version());
            let same = |path: &Utf8Path| path.canonicalize_utf8().unwrap();
            assert_eq!(same(found.installation().bindir().unwrap()), same(&bin));
        }
    }
}
