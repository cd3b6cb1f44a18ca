//! Reading an installation from the file system.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::error::{InstallationError, InstallationErrorKind};
use super::{Installation, Origin, layout};
use crate::command::ProgramError;
use crate::command::{ProgramErrorKind, Runner};
use crate::pg_config::PgConfig;
use crate::program::Program;
use crate::version::Version;

/// Examines installations with a runner, and reads files below a root directory.
#[derive(Clone, Default)]
pub(crate) struct Finder {
    pub(crate) runner: Runner,
    pub(crate) root: Option<Utf8PathBuf>,
}

impl Finder {
    pub(crate) fn pg_config(&self, path: &Utf8Path) -> Result<Installation, InstallationError> {
        let path = absolute(path);
        let config = PgConfig::query_with(&path, &self.runner)
            .map_err(|e| InstallationError::new(Some(&path), InstallationErrorKind::Program(e)))?;
        Installation::with_finder(config, Origin::PgConfig, self.clone())
    }

    pub(crate) fn bin_directory(&self, path: &Utf8Path) -> Result<Installation, InstallationError> {
        let bin = absolute(path);
        let described = executable(&bin, Program::PgConfig).map(|path| self.pg_config(&path));
        let belongs = |i: &Installation| i.bindir().is_some_and(|other| is_same(other, &bin));
        match described {
            Some(Ok(installation)) if belongs(&installation) => Ok(installation),
            _ if executable(&bin, Program::Postgres).is_some() => self.server_only(&bin),
            Some(Ok(installation)) => {
                let elsewhere = installation.bindir().map(Utf8Path::to_owned);
                let kind = InstallationErrorKind::NotHere { elsewhere };
                Err(InstallationError::new(Some(&bin), kind))
            }
            Some(error) => error,
            None => Err(InstallationError::new(
                Some(&bin),
                InstallationErrorKind::NothingHere,
            )),
        }
    }

    /// Examines the installation of a `postgres` program that is not described by a `pg_config`.
    pub(crate) fn server_only(&self, bin: &Utf8Path) -> Result<Installation, InstallationError> {
        let postgres = bin.join(Program::Postgres.name());
        let version = self.server_version(&postgres)?;
        let directories = layout::derive(bin);
        let directories = directories
            .into_iter()
            .map(|(d, path)| (d.key(), path.into_string()));
        let config = PgConfig::from_pairs(directories.chain([("version", version)]));
        Installation::with_finder(config, Origin::BinDirectory, self.clone())
            .map_err(|error| error.at(&postgres))
    }

    /// Returns the version of the server in the form that `pg_config` prints. The server prints the
    /// name of the program first, and the name of the product in parentheses.
    pub(crate) fn server_version(&self, postgres: &Utf8Path) -> Result<String, InstallationError> {
        let arguments = ["--version"];
        let error = |e| InstallationError::new(Some(postgres), InstallationErrorKind::Program(e));
        let printed = self.runner.run(postgres, &arguments).map_err(error)?;
        // Modules and wrappers may print other lines.
        let mut lines = printed
            .split(|&byte| byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok())
            .map(str::trim);
        let line = lines.find(|line| names_server(line)).ok_or_else(|| {
            let reason = "no line names PostgreSQL and its version";
            let kind = ProgramErrorKind::unexpected(reason, &printed);
            error(ProgramError::new(postgres, &arguments, kind))
        })?;
        // `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
        let product_and_version = line
            .split_once(" (")
            .filter(|(program, _)| !program.contains(|c: char| c == ' ' || c.is_ascii_digit()))
            .and_then(|(_, rest)| rest.split_once(')'));
        Ok(match product_and_version {
            Some((product, version)) => format!("{product}{version}"),
            None => line.to_owned(),
        })
    }
}

/// Returns whether a line is the output of `postgres --version`: `PG_BACKEND_VERSIONSTR` of
/// src/include/port.h, with a vendor's product name.
fn names_server(line: &str) -> bool {
    let names = ["postgres ", "edb-postgres ", "PostgreSQL ", "EnterpriseDB "];
    names.iter().any(|name| line.starts_with(name)) && line.parse::<Version>().is_ok()
}

/// Returns the path of a program in a directory if it is an executable file.
pub(crate) fn executable(bin: &Utf8Path, program: Program) -> Option<Utf8PathBuf> {
    let path = bin.join(program.name());
    let metadata = fs::metadata(&path).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
}

/// Returns whether two paths lead to the same directory.
pub(crate) fn is_same(one: &Utf8Path, other: &Utf8Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn absolute(path: &Utf8Path) -> Utf8PathBuf {
    // Fails for an empty path, or without a current directory. Then the path is kept, so that the
    // error of using it contains it.
    let absolute = std::path::absolute(path).ok();
    absolute
        .and_then(|path| Utf8PathBuf::try_from(path).ok())
        .unwrap_or_else(|| path.to_owned())
}
