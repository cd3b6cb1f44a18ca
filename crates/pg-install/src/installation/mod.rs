//! One installation of PostgreSQL.

mod directory;
pub(crate) mod error;
mod finder;
pub(crate) mod layout;
mod library;

use std::fmt;
use std::sync::{Arc, OnceLock};

use camino::{Utf8Path, Utf8PathBuf};

pub use self::directory::InstallationDirectory;
use self::error::{
    InstallationError, InstallationErrorKind, MissingProgramError, MissingProgramErrorKind,
};
pub(crate) use self::finder::{Finder, executable, is_same};
use crate::configure::ConfigureOptions;
use crate::discovery::{Discovery, DiscoveryError};
use crate::major::MajorVersion;
use crate::package::PackageSystem;
use crate::parameter::ServerParameters;
use crate::pg_config::PgConfig;
use crate::program::Program;
use crate::request::Request;
use crate::ssl::{self, SslEvidence};
use crate::version::Version;

/// An installation of PostgreSQL: its version, build options, directories and programs.
///
/// Clones are cheap and share their results. Programs and SSL support are looked up once and
/// cached. Create a new value after packages have been installed or removed.
///
/// ```no_run
/// use pg_install::{Installation, Program};
///
/// let installation = Installation::from_bin_directory("/usr/lib/postgresql/15/bin")?;
/// println!("{} in {}", installation.version(), installation.require(Program::Postgres)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Installation {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    config: PgConfig,
    origin: Origin,
    version: Version,
    configure: ConfigureOptions,
    pub(crate) finder: Finder,
    programs: OnceLock<Vec<Option<Utf8PathBuf>>>,
    ssl: OnceLock<SslEvidence>,
    parameters: OnceLock<ServerParameters>,
}

/// The origin of the data of an [`Installation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A `pg_config` program was run.
    PgConfig,
    /// No `pg_config` describes the server. The server reported the version, the directories were
    /// found in their usual places next to it, and the build options are not known.
    BinDirectory,
    /// The caller provided the data.
    Given,
}

impl Installation {
    /// Creates an installation from the output of `pg_config`, or from data in the same form. Only
    /// the version is required.
    ///
    /// This function does not run a program or read a file.
    ///
    /// ```
    /// use pg_install::{Installation, Origin, PgConfig};
    ///
    /// let config = PgConfig::from_bytes(b"BINDIR = /opt/pg/bin\nVERSION = PostgreSQL 16.3\n");
    /// let installation = Installation::new(config)?;
    /// assert_eq!(installation.version().num(), 160_003);
    /// assert_eq!(installation.bindir().unwrap(), "/opt/pg/bin");
    /// assert_eq!(installation.origin(), Origin::Given);
    /// # Ok::<(), pg_install::InstallationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the `version` is missing or is not a PostgreSQL version.
    pub fn new(config: PgConfig) -> Result<Self, InstallationError> {
        let origin = if config.program().is_some() {
            Origin::PgConfig
        } else {
            Origin::Given
        };
        Self::with_finder(config, origin, Finder::default())
    }

    /// Creates an installation from pairs of keys and values, as [`new`](Self::new) does.
    ///
    /// ```
    /// use pg_install::Installation;
    ///
    /// let installation = Installation::from_pairs([
    ///     ("version", "PostgreSQL 9.0devel"),
    ///     ("configure", "'--enable-debug' '--with-openssl' '--prefix=/src/build/pg90'"),
    /// ])?;
    /// assert_eq!(installation.version_string(), "PostgreSQL 9.0devel");
    /// assert_eq!(installation.configure_options().value("prefix"), Some("/src/build/pg90"));
    /// assert!(installation.ssl());
    /// # Ok::<(), pg_install::InstallationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does.
    pub fn from_pairs<K: AsRef<str>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, InstallationError> {
        Self::new(PgConfig::from_pairs(pairs))
    }

    /// Searches this machine for an installation: [`Discovery::find`] with the environment of this
    /// process.
    ///
    /// ```no_run
    /// use pg_install::{Installation, Request};
    ///
    /// let any = Installation::find(&Request::any())?;
    /// let sixteen = Installation::find(&"16".parse()?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if no server on the machine matches. The error lists the places that were searched.
    pub fn find(request: &Request) -> Result<Self, DiscoveryError> {
        let found = Discovery::new().find(request)?;
        Ok(found.into_installation())
    }

    /// Runs the program `pg_config` at `path`; see [`PgConfig::query`].
    ///
    /// The program may describe an installation in another directory: `/usr/bin/pg_config` of
    /// Debian's libpq-dev describes the newest server.
    ///
    /// # Errors
    ///
    /// Fails if the program fails or does not describe an installation.
    pub fn from_pg_config(path: impl AsRef<Utf8Path>) -> Result<Self, InstallationError> {
        Finder::default().pg_config(path.as_ref())
    }

    /// Examines the installation whose programs are in the directory `path`.
    ///
    /// A `pg_config` in the directory is used if it describes this directory. Otherwise, for
    /// example in packages that contain only the server, `postgres --version` reports the version
    /// (8 ms), and the other directories are searched in their usual places relative to this one.
    ///
    /// # Errors
    ///
    /// Fails if the directory contains neither `postgres` nor such a `pg_config`, or if the program
    /// fails.
    pub fn from_bin_directory(path: impl AsRef<Utf8Path>) -> Result<Self, InstallationError> {
        Finder::default().bin_directory(path.as_ref())
    }

    fn with_finder(
        config: PgConfig,
        origin: Origin,
        finder: Finder,
    ) -> Result<Self, InstallationError> {
        let program = config.program().map(Utf8Path::to_owned);
        let error = |kind| InstallationError::new(program.as_deref(), kind);
        for key in ["version", "bindir"] {
            if config.get_bytes(key).is_some() && config.get(key).is_none() {
                return Err(error(InstallationErrorKind::NotUtf8 { key }));
            }
        }
        let version = config
            .get("version")
            .ok_or_else(|| error(InstallationErrorKind::NoVersion))?;
        let version = version
            .parse()
            .map_err(|e| error(InstallationErrorKind::Version(e)))?;
        let configure = ConfigureOptions::parse(config.get("configure").unwrap_or_default());
        let inner = Inner {
            config,
            origin,
            version,
            configure,
            finder,
            programs: OnceLock::new(),
            ssl: OnceLock::new(),
            parameters: OnceLock::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The version of PostgreSQL.
    pub fn version(&self) -> &Version {
        &self.inner.version
    }

    /// The release series, which is the content of `PG_VERSION` in data directories of this server.
    pub fn major_version(&self) -> MajorVersion {
        self.inner.version.major_version()
    }

    /// The version as `pg_config` prints it: `PostgreSQL 15.18 (Debian 15.18-0+deb12u1)`.
    pub fn version_string(&self) -> &str {
        self.inner.config.get("version").unwrap_or_default()
    }

    /// The origin of the data.
    pub fn origin(&self) -> Origin {
        self.inner.origin
    }

    /// The output of `pg_config`, or the data provided instead.
    pub fn pg_config(&self) -> &PgConfig {
        &self.inner.config
    }

    /// The options of `configure`. Empty for meson builds, and without a `pg_config`.
    pub fn configure_options(&self) -> &ConfigureOptions {
        &self.inner.configure
    }

    /// Returns whether the installation was built with SSL.
    ///
    /// Returns false if this cannot be determined; see [`ssl_evidence`](Self::ssl_evidence).
    pub fn ssl(&self) -> bool {
        self.ssl_evidence().is_enabled()
    }

    /// Returns the evidence for or against SSL support.
    ///
    /// The configure options decide. If they are not known, the libraries, the header `pg_config.h`
    /// and the executable of the server are examined, in this order. This reads up to 10 MB. The
    /// result is cached.
    pub fn ssl_evidence(&self) -> &SslEvidence {
        self.inner.ssl.get_or_init(|| ssl::find_evidence(self))
    }

    /// Returns the absolute path of a directory as `pg_config` reports it, or `None` if it is not
    /// known.
    ///
    /// The directory need not exist: packages for development or documentation may not be
    /// installed. DIFFERENCE: py-postgresql omits directories that do not exist.
    pub fn directory(&self, directory: InstallationDirectory) -> Option<&Utf8Path> {
        let path = Utf8Path::new(self.inner.config.get(directory.key())?);
        // A relative path would depend on the current directory.
        path.is_absolute().then_some(path)
    }

    /// [`InstallationDirectory::Bin`]: the programs.
    pub fn bindir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Bin)
    }

    /// [`InstallationDirectory::Doc`]: the documentation.
    pub fn docdir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Doc)
    }

    /// [`InstallationDirectory::Html`]: the documentation as HTML.
    pub fn htmldir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Html)
    }

    /// [`InstallationDirectory::Include`]: headers of the client interfaces.
    pub fn includedir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Include)
    }

    /// [`InstallationDirectory::PkgInclude`]: other headers.
    pub fn pkgincludedir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::PkgInclude)
    }

    /// [`InstallationDirectory::IncludeServer`]: headers for building extensions.
    pub fn includedir_server(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::IncludeServer)
    }

    /// [`InstallationDirectory::Lib`]: libraries to link with, such as libpq.
    pub fn libdir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Lib)
    }

    /// [`InstallationDirectory::PkgLib`]: modules that the server loads.
    pub fn pkglibdir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::PkgLib)
    }

    /// [`InstallationDirectory::Locale`]: message catalogs.
    pub fn localedir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Locale)
    }

    /// [`InstallationDirectory::Man`]: manual pages.
    pub fn mandir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Man)
    }

    /// [`InstallationDirectory::Share`]: architecture-independent files, such as `postgres.bki` and
    /// sample files.
    pub fn sharedir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Share)
    }

    /// [`InstallationDirectory::SysConf`]: system-wide configuration of clients.
    pub fn sysconfdir(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::SysConf)
    }

    /// [`InstallationDirectory::Pgxs`]: the makefile for building extensions.
    pub fn pgxs(&self) -> Option<&Utf8Path> {
        self.directory(InstallationDirectory::Pgxs)
    }

    /// Returns the absolute path of a program, or `None` if the `bin` directory does not contain an
    /// executable file of this name.
    ///
    /// The first call looks up all programs, which takes about 50 µs.
    pub fn program(&self, program: Program) -> Option<&Utf8Path> {
        let programs = self.inner.programs.get_or_init(|| {
            let look_up = |program| self.bindir().and_then(|bin| executable(bin, program));
            Program::all().map(look_up).collect()
        });
        programs.get(program.index())?.as_deref()
    }

    /// Returns the absolute path of a program that the caller needs.
    ///
    /// ```
    /// use std::error::Error as _;
    /// use pg_install::{Installation, Program};
    ///
    /// let installation = Installation::from_pairs([
    ///     ("version", "PostgreSQL 16.3"),
    ///     ("bindir", "/missing/bin"),
    /// ])?;
    /// let error = installation.require(Program::PgDump).unwrap_err();
    /// assert_eq!(error.to_string(), "failed to find pg_dump of PostgreSQL 16.3");
    /// assert_eq!(error.source().unwrap().to_string(), "/missing/bin/pg_dump does not exist");
    /// assert!(error.hint().is_some());
    /// # Ok::<(), pg_install::InstallationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the program is missing. The hint of the error names the package that contains it.
    pub fn require(&self, program: Program) -> Result<&Utf8Path, MissingProgramError> {
        self.program(program).ok_or_else(|| {
            let kind = match self.bindir().map(|bin| bin.join(program.name())) {
                None => MissingProgramErrorKind::NoBinDirectory,
                Some(path) if path.exists() => MissingProgramErrorKind::NotExecutable { path },
                Some(path) => MissingProgramErrorKind::NotFound { path },
            };
            let packages = PackageSystem::read(self.inner.finder.root.as_deref());
            let hint = packages.hint(program.component(), Some(self.major_version()));
            MissingProgramError::new(program, self.version().without_vendor(), kind, hint)
        })
    }

    /// Returns the programs that this version of PostgreSQL has and the installation lacks.
    ///
    /// ```
    /// use pg_install::{Installation, Program};
    ///
    /// let pairs = [("version", "PostgreSQL 16.3"), ("bindir", "/missing/bin")];
    /// let installation = Installation::from_pairs(pairs)?;
    /// let missing = installation.missing_programs();
    /// assert!(missing.contains(&Program::PgWaldump));
    /// assert!(!missing.contains(&Program::Postmaster)); // not part of PostgreSQL 16
    /// assert!(!installation.is_server());
    /// # Ok::<(), pg_install::InstallationError>(())
    /// ```
    pub fn missing_programs(&self) -> Vec<Program> {
        let major = self.major_version();
        Program::all()
            .filter(|program| program.exists_in(major) && self.program(*program).is_none())
            .collect()
    }

    /// Returns whether the installation contains a server, which is the program `postgres`.
    ///
    /// If it does not, only the packages for clients or for development are installed.
    pub fn is_server(&self) -> bool {
        self.program(Program::Postgres).is_some()
    }

    /// Compares the version that `pg_config` reports with that of the server. Runs
    /// `postgres --version` (8 ms).
    ///
    /// The two may be in different packages that were updated at different times.
    ///
    /// ```no_run
    /// use pg_install::Installation;
    ///
    /// let installation = Installation::from_pg_config("/usr/bin/pg_config")?;
    /// installation.verify()?;
    /// println!("the server is {}", installation.version());
    /// # Ok::<(), pg_install::InstallationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the versions differ, or if the server is missing or cannot be run.
    pub fn verify(&self) -> Result<(), InstallationError> {
        let error = |kind| InstallationError::new(self.bindir(), kind);
        let postgres = self
            .require(Program::Postgres)
            .map_err(|e| error(InstallationErrorKind::MissingProgram(e)))?;
        let said = self.inner.finder.server_version(postgres)?;
        let server: Version = said
            .parse()
            .map_err(|e| error(InstallationErrorKind::Version(e)))?;
        if server == *self.version() {
            return Ok(());
        }
        let pg_config = self.version().clone();
        Err(error(InstallationErrorKind::Inconsistent {
            pg_config,
            server,
        }))
    }

    /// Returns the parameters of the server, from `postgres --describe-config`.
    ///
    /// The first call runs the program, which takes about 10 ms. The result is cached. The program
    /// does not need a data directory, and root may run it.
    ///
    /// ```no_run
    /// use pg_install::{Installation, Request};
    ///
    /// let installation = Installation::find(&Request::any())?;
    /// let parameters = installation.server_parameters()?;
    /// if let Some(nearest) = parameters.nearest("work_men") {
    ///     println!("did you mean {}?", nearest.name());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the server is missing, exits with an error, or prints unexpected output.
    pub fn server_parameters(&self) -> Result<&ServerParameters, InstallationError> {
        if let Some(parameters) = self.inner.parameters.get() {
            return Ok(parameters);
        }
        let error = |kind| InstallationError::new(self.bindir(), kind);
        let postgres = self
            .require(Program::Postgres)
            .map_err(|e| error(InstallationErrorKind::MissingProgram(e)))?;
        let parameters = ServerParameters::query(postgres, &self.inner.finder.runner)
            .map_err(|e| error(InstallationErrorKind::Program(e)))?;
        Ok(self.inner.parameters.get_or_init(|| parameters))
    }
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation")
            .field("version", self.version())
            .field("bindir", &self.bindir())
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}
