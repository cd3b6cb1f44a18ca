//! Directories and programs that may lead to an installation.

use camino::{Utf8Path, Utf8PathBuf};

use super::{DiscoveredInstallation, DiscoveryError, Source};
use crate::installation::Installation;
use crate::installation::error::InstallationError;
use crate::installation::{Finder, executable, is_same};
use crate::program::Program;

/// A directory with PostgreSQL's programs, or a `pg_config`, that no program has been asked about.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) source: Source,
    /// The path by which it was found.
    pub(super) path: Utf8PathBuf,
    kind: CandidateKind,
    /// The directory that it most probably leads to, with all links resolved.
    pub(super) identity: Utf8PathBuf,
}

#[derive(Clone, Debug)]
enum CandidateKind {
    /// A `pg_config`, whatever directory it is in.
    PgConfig,
    /// A directory with `postgres` and no `pg_config`.
    Server {
        /// Where `postgres` really is.
        bin: Utf8PathBuf,
    },
    /// A directory with `pg_config`.
    Described {
        pg_config: Utf8PathBuf,
        /// Where the `postgres` in that directory really is.
        server: Option<Utf8PathBuf>,
    },
}

impl Candidate {
    pub(super) fn pg_config(source: Source, path: Utf8PathBuf) -> Self {
        // Which directory it describes is not known before it has been run.
        let identity = path.canonicalize_utf8().unwrap_or_else(|_| path.clone());
        Self {
            source,
            path,
            kind: CandidateKind::PgConfig,
            identity,
        }
    }

    /// None if there is neither `postgres` nor `pg_config` in the directory.
    pub(super) fn directory(source: Source, path: &Utf8Path) -> Option<Self> {
        let pg_config = executable(path, Program::PgConfig);
        let server =
            executable(path, Program::Postgres).map(|postgres| real_directory(&postgres, path));
        let leads_to = server.as_deref().unwrap_or(path);
        let identity = leads_to
            .canonicalize_utf8()
            .unwrap_or_else(|_| leads_to.to_owned());
        let kind = match (pg_config, server) {
            (Some(pg_config), server) => CandidateKind::Described { pg_config, server },
            (None, Some(bin)) => CandidateKind::Server { bin },
            (None, None) => return None,
        };
        Some(Self {
            source,
            path: path.to_owned(),
            kind,
            identity,
        })
    }

    /// Runs what has to be run to know the installation: almost always one program.
    pub(super) fn examine(
        &self,
        finder: &Finder,
    ) -> Vec<Result<DiscoveredInstallation, DiscoveryError>> {
        let examined = match &self.kind {
            CandidateKind::PgConfig => {
                let described = finder.pg_config(&self.path);
                let own = self.server_beside(&described);
                both(described, own.map(|bin| finder.server_only(bin)))
            }
            CandidateKind::Server { bin } => vec![finder.bin_directory(bin)],
            CandidateKind::Described { pg_config, server } => {
                let described = finder.pg_config(pg_config);
                let own = server.as_deref().filter(|bin| !describes(&described, bin));
                let own = own.map(|bin| match pg_config.parent() == Some(bin) {
                    true => finder.server_only(bin),
                    false => finder.bin_directory(bin),
                });
                both(described, own)
            }
        };
        let found = |installation| DiscoveredInstallation {
            installation,
            source: self.source,
            path: self.path.clone(),
        };
        examined
            .into_iter()
            .map(|result| {
                result
                    .map(found)
                    .map_err(|e| DiscoveryError::examine(self.source, e))
            })
            .collect()
    }
}

impl Candidate {
    /// The directory of a `pg_config` that describes no directory, if there is a server in it.
    ///
    /// `PGINSTALLATION` asks for an installation, so there the `pg_config` may fail altogether.
    /// That of nixpkgs does so in a profile, where it asks for another package.
    fn server_beside(&self, described: &Examined) -> Option<&Utf8Path> {
        let is_useless = match described {
            Ok(installation) => installation.bindir().is_none(),
            Err(_) => self.source == Source::Pginstallation,
        };
        let bin = self.path.parent().filter(|_| is_useless)?;
        executable(bin, Program::Postgres).map(|_| bin)
    }
}

type Examined = Result<Installation, InstallationError>;

fn describes(described: &Examined, bin: &Utf8Path) -> bool {
    described
        .as_ref()
        .is_ok_and(|i| i.bindir().is_some_and(|bindir| is_same(bindir, bin)))
}

/// Returns the installations of a directory whose `pg_config` describes another one, and whose
/// `postgres` may be an installation of its own.
///
/// With equal versions it is not: the directory then contains shims for the programs of the other.
fn both(described: Examined, own: Option<Examined>) -> Vec<Examined> {
    match (described, own) {
        (described, None) => vec![described],
        (Ok(described), Some(Ok(own))) if described.bindir().is_none() => vec![Ok(own)],
        (Ok(described), Some(Ok(own)))
            if described.is_server() && described.version() == own.version() =>
        {
            vec![Ok(described)]
        }
        (described, Some(own)) => vec![described, own],
    }
}

/// The directory of a program, or, if it is a symbolic link to a program of the same name, that
/// one's directory: `/usr/bin/postgres` may be all that there is of `/usr/libexec/postgresql16`.
fn real_directory(program: &Utf8Path, directory: &Utf8Path) -> Utf8PathBuf {
    let target = program
        .is_symlink()
        .then(|| program.canonicalize_utf8().ok())
        .flatten()
        .filter(|target| target.file_name() == program.file_name());
    target
        .as_deref()
        .and_then(Utf8Path::parent)
        .unwrap_or(directory)
        .to_owned()
}
