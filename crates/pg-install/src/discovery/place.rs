//! The table of places, and its expansion on a file system.

use std::cmp::Ordering;
use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};

use super::Discovery;
use crate::name::{self, ParseNameError};

/// The source of a place: an environment variable, or a packager. The variants are in the order of
/// the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Source {
    /// The environment variable `PGINSTALLATION`, which py-postgresql introduced.
    Pginstallation,
    /// The environment variable `PG_CONFIG`, which extensions' makefiles use.
    PgConfig,
    /// The directories on `PATH`.
    Path,
    /// Debian, Ubuntu and the PostgreSQL project's packages for them.
    Debian,
    /// Red Hat, Fedora and the PostgreSQL project's packages for them.
    RedHat,
    /// SUSE.
    Suse,
    /// Alpine.
    Alpine,
    /// Arch.
    Arch,
    /// Gentoo.
    Gentoo,
    /// Void.
    Void,
    /// Slackware, by the script of SlackBuilds.org.
    Slackware,
    /// The directories of system programs:
    ///
    /// * `/usr/bin`: Fedora, Arch and others,
    /// * `/usr/local/bin`: FreeBSD, OpenBSD and the container image for Alpine,
    /// * `/usr/pkg/bin`, `/opt/local/bin` on SmartOS, `/opt/pkg/bin` on macOS: pkgsrc.
    System,
    /// Solaris, OpenIndiana and OmniOS.
    Solaris,
    /// Homebrew, on macOS and Linux.
    Homebrew,
    /// Postgres.app.
    PostgresApp,
    /// MacPorts.
    MacPorts,
    /// Nix profiles and NixOS.
    Nix,
    /// Guix profiles and the Guix System.
    Guix,
    /// EnterpriseDB's installers and packages.
    Edb,
    /// Postgres Pro.
    PostgresPro,
    /// Bitnami's container images and machines.
    Bitnami,
    /// Installed from source, with the default prefix.
    SourceBuild,
    /// asdf.
    Asdf,
    /// mise.
    Mise,
    /// cargo-pgrx.
    Pgrx,
    /// The crate postgresql_embedded.
    PostgresqlEmbedded,
}

impl Source {
    /// Returns whether an environment variable names the installation explicitly, so that a failure
    /// ends the search.
    ///
    /// ```
    /// use pg_install::Source;
    ///
    /// assert!(Source::PgConfig.is_explicit());
    /// assert!(!"Postgres.app".parse::<Source>()?.is_explicit());
    /// # Ok::<(), pg_install::ParseNameError>(())
    /// ```
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::Pginstallation | Self::PgConfig)
    }
}

/// Writes the usual name: `PATH`, `Debian`, `Postgres.app`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pginstallation => "PGINSTALLATION",
            Self::PgConfig => "PG_CONFIG",
            Self::Path => "PATH",
            Self::Debian => "Debian",
            Self::RedHat => "Red Hat",
            Self::Suse => "SUSE",
            Self::Alpine => "Alpine",
            Self::Arch => "Arch",
            Self::Gentoo => "Gentoo",
            Self::Void => "Void",
            Self::Slackware => "Slackware",
            Self::Solaris => "Solaris",
            Self::Guix => "Guix",
            Self::Bitnami => "Bitnami",
            Self::Homebrew => "Homebrew",
            Self::PostgresApp => "Postgres.app",
            Self::MacPorts => "MacPorts",
            Self::System => "system",
            Self::Nix => "Nix",
            Self::Edb => "EDB",
            Self::PostgresPro => "Postgres Pro",
            Self::SourceBuild => "source",
            Self::Asdf => "asdf",
            Self::Mise => "mise",
            Self::Pgrx => "pgrx",
            Self::PostgresqlEmbedded => "postgresql_embedded",
        })
    }
}

/// Parses the displayed name: `Postgres.app`.
impl FromStr for Source {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let variables = [Self::Pginstallation, Self::PgConfig, Self::Path];
        let all = variables
            .into_iter()
            .chain(PLACES.iter().map(|(source, _)| *source));
        name::parse(text, "a source", all)
    }
}

/// docs/platform.md contains this table. A test compares the two.
#[rustfmt::skip]
pub(super) const PLACES: [(Source, &str); 51] = [
    (Source::Debian, "/usr/lib/postgresql/*/bin"),
    (Source::RedHat, "/usr/pgsql-*/bin"),
    (Source::RedHat, "/usr/lib64/pgsql/postgresql-*/bin"),
    (Source::RedHat, "/opt/rh/rh-postgresql*/root/usr/bin"),
    (Source::Suse, "/usr/lib/postgresql??/bin"),
    (Source::Alpine, "/usr/libexec/postgresql*"),
    (Source::Arch, "/opt/pgsql-*/bin"),
    (Source::Gentoo, "/usr/lib64/postgresql-*/bin"),
    (Source::Gentoo, "/usr/lib/postgresql-*/bin"),
    (Source::Void, "/usr/lib/psql*/bin"),
    // SlackBuildsOrg/slackbuilds, system/postgresql/postgresql.SlackBuild: --prefix. The directory
    // without "64" is the same as Debian's.
    (Source::Slackware, "/usr/lib64/postgresql/*/bin"),
    (Source::System, "/usr/bin"),
    (Source::System, "/usr/local/bin"),
    (Source::System, "/usr/pkg/bin"),
    // netbsd.org/~bacon/joyent-pkgsrc: PREFIX for SunOS and for Darwin.
    (Source::System, "/opt/local/bin"),
    (Source::System, "/opt/pkg/bin"),
    // OpenIndiana/oi-userland, components/database/postgresql-16/Makefile: --bindir of 64 bits.
    (Source::Solaris, "/usr/postgres/*/bin"),
    // omniosorg/omnios-extra, build/postgresql/build-16.sh: PREFIX.
    (Source::Solaris, "/opt/ooce/pgsql-*/bin"),
    (Source::Homebrew, "$HOMEBREW_PREFIX/opt/postgresql*/bin"),
    (Source::Homebrew, "/opt/homebrew/opt/postgresql*/bin"),
    (Source::Homebrew, "/usr/local/opt/postgresql*/bin"),
    (Source::Homebrew, "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin"),
    (Source::PostgresApp, "/Applications/Postgres.app/Contents/Versions/*/bin"),
    (Source::PostgresApp, "~/Applications/Postgres.app/Contents/Versions/*/bin"),
    (Source::MacPorts, "/opt/local/lib/postgresql*/bin"),
    (Source::Nix, "~/.nix-profile/bin"),
    (Source::Nix, "$XDG_STATE_HOME/nix/profile/bin"),
    (Source::Nix, "~/.local/state/nix/profile/bin"),
    (Source::Nix, "/etc/profiles/per-user/$USER/bin"),
    (Source::Nix, "/run/current-system/sw/bin"),
    (Source::Nix, "/nix/var/nix/profiles/default/bin"),
    // Guix manual, "Features" and "Getting Started with the System".
    (Source::Guix, "~/.guix-profile/bin"),
    (Source::Guix, "~/.guix-home/profile/bin"),
    (Source::Guix, "/run/current-system/profile/bin"),
    (Source::Edb, "/opt/PostgreSQL/*/bin"),
    (Source::Edb, "/Library/PostgreSQL/*/bin"),
    (Source::Edb, "/usr/edb/as*/bin"),
    (Source::Edb, "/usr/edb/pge*/bin"),
    // EDB's documentation of its packages for Debian: PG_BINDIR in the quick start of Postgres
    // Distributed, and its container images.
    (Source::Edb, "/usr/lib/edb-as/*/bin"),
    (Source::Edb, "/usr/lib/edb-pge/*/bin"),
    (Source::PostgresPro, "/opt/pgpro/*/bin"),
    // bitnami/containers: PATH of the images.
    (Source::Bitnami, "/opt/bitnami/postgresql/bin"),
    (Source::SourceBuild, "/usr/local/pgsql/bin"),
    (Source::Asdf, "$ASDF_DATA_DIR/installs/postgres/*/bin"),
    (Source::Asdf, "~/.asdf/installs/postgres/*/bin"),
    (Source::Mise, "$MISE_DATA_DIR/installs/postgres/*/bin"),
    (Source::Mise, "$XDG_DATA_HOME/mise/installs/postgres/*/bin"),
    (Source::Mise, "~/.local/share/mise/installs/postgres/*/bin"),
    (Source::Pgrx, "$PGRX_HOME/*/pgrx-install/bin"),
    (Source::Pgrx, "~/.pgrx/*/pgrx-install/bin"),
    (Source::PostgresqlEmbedded, "~/.theseus/postgresql/*/bin"),
];

/// The result of expanding a pattern.
pub(super) enum Expansion {
    /// The named variable is not set.
    NotSet(&'static str),
    /// The directories that exist, and those that could not be read.
    Directories(Vec<Utf8PathBuf>, Vec<(Utf8PathBuf, io::Error)>),
}

/// Returns the directories that match a pattern, the highest version first.
pub(super) fn expand(pattern: &'static str, discovery: &Discovery) -> Expansion {
    // Variables occur only before the first wildcard.
    let wildcard = pattern.find(['*', '?']).unwrap_or(pattern.len());
    let end = match wildcard == pattern.len() {
        true => wildcard,
        false => pattern[..wildcard].rfind('/').unwrap_or_default(),
    };
    let (fixed, variable) = pattern.split_at(end);
    let start = match substitute(fixed, discovery) {
        Ok(start) => discovery.rooted(&start),
        Err(variable) => return Expansion::NotSet(variable),
    };
    let mut directories = vec![start];
    let mut errors = Vec::new();
    for part in variable.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?']) {
            directories
                .iter_mut()
                .for_each(|directory| directory.push(part));
            continue;
        }
        for directory in std::mem::take(&mut directories) {
            match matches(&directory, part) {
                Ok(names) => directories.extend(names.iter().map(|name| directory.join(name))),
                Err(error) if is_absence(&error) => {}
                Err(error) => errors.push((directory, error)),
            }
        }
    }
    directories.retain(|directory| directory.is_dir());
    Expansion::Directories(directories, errors)
}

/// Replaces the variables by their values. Fails with the name of a variable that is not set or not
/// UTF-8.
fn substitute(pattern: &'static str, discovery: &Discovery) -> Result<Utf8PathBuf, &'static str> {
    let mut path = Utf8PathBuf::new();
    for part in pattern.split('/') {
        let variable = if part == "~" {
            Some("HOME")
        } else {
            part.strip_prefix('$')
        };
        match variable {
            Some(name) => {
                path.push(
                    discovery
                        .variable(name)
                        .and_then(|v| v.to_str())
                        .ok_or(name)?,
                );
            }
            None if part.is_empty() => path.push("/"),
            None => path.push(part),
        }
    }
    Ok(path)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Returns the names in a directory that match a pattern, the highest version first. Names that are
/// not UTF-8 never match.
fn matches(directory: &Utf8Path, pattern: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string() {
            if !name.starts_with('.') && fits(pattern.as_bytes(), name.as_bytes()) {
                names.push(name);
            }
        }
    }
    names.sort_unstable_by(|a, b| by_version(b, a));
    Ok(names)
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        ([b'?', pattern @ ..], [_, name @ ..]) => fits(pattern, name),
        ([p, pattern @ ..], [n, name @ ..]) => p == n && fits(pattern, name),
        _ => false,
    }
}

/// Orders names by the numbers in them: `latest < 9.6 < 10 < 16.2 < 16.10`.
fn by_version(one: &str, other: &str) -> Ordering {
    let numbers = |name: &str| {
        name.split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse::<u64>().ok())
            .collect::<Vec<_>>()
    };
    numbers(one)
        .cmp(&numbers(other))
        .then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_their_numbers() {
        let mut names = ["16.2", "latest", "9.6", "16.10", "10", "16.2-beta1"];
        names.sort_by(|a, b| by_version(a, b));
        assert_eq!(
            names,
            ["latest", "9.6", "10", "16.2", "16.2-beta1", "16.10"]
        );
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        assert!(fits(b"postgresql*", b"postgresql@16"));
        assert!(fits(b"postgresql*", b"postgresql"));
        assert!(fits(b"rh-postgresql*-x", b"rh-postgresql-x-x"));
        assert!(!fits(b"pgsql-*", b"my-pgsql-16"));
        assert!(fits(b"postgresql??", b"postgresql16"));
        assert!(!fits(b"postgresql??", b"postgresql-16"));
    }
}
