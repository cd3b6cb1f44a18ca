//! Finds the PostgreSQL installations of a machine, identifies them, and explains what is missing.
//!
//! The crate runs `pg_config` and `postgres --version`. It starts no server and touches no data
//! directory. It writes nothing but an [`Overlay`], where the caller wants one. Unix only.
//!
//! ```no_run
//! use pg_install::{Discovery, Program, Request};
//!
//! let request: Request = ">=14".parse()?;
//! let found = Discovery::new().find(&request)?;
//! let installation = found.installation();
//! println!("PostgreSQL {}, found by way of {}", installation.version(), found.source());
//! println!("initdb is {}", installation.require(Program::Initdb)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to begin
//!
//! * [`Discovery`] searches; [`Request`] says for which version; [`DiscoveredInstallation`] is an
//!   installation and what led to it.
//! * [`Installation`] knows version, directories, programs and how it was built, from a
//!   `pg_config`, a `bin` directory, or any data in the form of [`PgConfig`].
//! * [`Overlay`] is a copy of an installation for extensions under test.
//! * [`Version`] and [`MajorVersion`] are PostgreSQL's numbers, of both schemes.
//! * [`ServerParameters`] are what a server's own executable says about its parameters.
//!
//! # Guarantees
//!
//! * No output of a program, value of a variable or content of a directory leads to a panic. Errors
//!   name the program or the place.
//! * Every program has a time limit, after which it is killed together with its children. Its
//!   output is bounded, and its exit status is checked.
//! * Programs do not inherit variables that start with `PG`, and print in English.
//! * Versions come from the program itself, never from a path.
//!
//! # Limitations
//!
//! * A search skips paths and names that are not UTF-8. Elsewhere they are errors.
//! * A `pg_config` describes how PostgreSQL was built. Whether the server beside it comes from the
//!   same package is only known after [`Installation::verify`].
//! * An [`Installation`] looks up its programs once and does not notice later changes.
//! * Children that leave the process group of a program that hangs survive it.
//! * Where the process ignores SIGCHLD, or another thread waits for all children, the exit status
//!   of a program is lost. Its output alone counts then.
//!
//! # Features
//!
//! * `serde`: [`Version`], [`MajorVersion`] and [`Request`] as text, [`PgConfig`] as a map;
//!   [`ServerParameters`], [`Source`], [`Program`] and [`InstallationDirectory`] are text or data
//!   as well.
//!
//! # What is read
//!
//! The environment variables and the places are listed at [`Discovery`] and [`Discovery::places`],
//! and in full in the repository's `docs/platform.md`.

#[cfg(not(unix))]
compile_error!("pg-install supports Unix only");

mod command;
mod configure;
mod discovery;
mod installation;
mod major;
mod name;
mod overlay;
mod package;
mod parameter;
mod pg_config;
mod program;
mod regular_file;
mod request;
#[cfg(feature = "serde")]
mod serde_impls;
mod ssl;
mod version;

pub use camino::{Utf8Path, Utf8PathBuf};

pub use command::{ProgramError, ProgramErrorKind};
pub use configure::ConfigureOptions;
pub use discovery::{
    DiscoveredInstallation, Discovery, DiscoveryError, DiscoveryErrorKind, Search, SearchOutcome,
    SearchedPlace, SearchedPlaces, Source,
};
pub use installation::error::{
    InstallationError, InstallationErrorKind, MissingProgramError, MissingProgramErrorKind,
};
pub use installation::{Installation, InstallationDirectory, Origin};
pub use major::{MajorVersion, PgVersionFileError, PgVersionFileErrorKind};
pub use name::ParseNameError;
pub use overlay::Overlay;
pub use overlay::error::{OverlayError, OverlayErrorKind};
pub use parameter::{
    ParameterContext, ParameterKind, ParseParametersError, ServerParameter, ServerParameters,
};
pub use pg_config::PgConfig;
pub use program::{Component, Program};
pub use request::{ParseRequestError, Request};
pub use ssl::SslEvidence;
pub use version::{ParseVersionError, Stage, Version};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
