//! Finds the PostgreSQL installations of a machine and describes them: version, directories,
//! programs and build options.
//!
//! The crate runs `pg_config` and `postgres --version`. It does not start servers, does not access
//! data directories, and writes files only if the caller creates an [`Overlay`]. It supports Unix
//! only.
//!
//! ```no_run
//! use pg_install::{Discovery, Program, Request};
//!
//! let request: Request = ">=14".parse()?;
//! let found = Discovery::new().find(&request)?;
//! let installation = found.installation();
//! println!("PostgreSQL {}, found via {}", installation.version(), found.source());
//! println!("initdb is {}", installation.require(Program::Initdb)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Overview
//!
//! * [`Discovery`] searches the machine. A [`Request`] selects the version. A
//!   [`DiscoveredInstallation`] is an installation and the place where it was found.
//! * [`Installation`] describes an installation. It is read from a `pg_config`, from a `bin`
//!   directory, or from data in the form of [`PgConfig`].
//! * [`Overlay`] is a copy of an installation for extensions under test.
//! * [`Version`] and [`MajorVersion`] are PostgreSQL's version numbers, of both numbering schemes.
//! * [`ServerParameters`] are the parameters of a server, as `postgres --describe-config` prints
//!   them.
//!
//! # Guarantees
//!
//! * No output of a program, value of a variable or content of a directory causes a panic. Errors
//!   name the program or the place.
//! * Each program has a time limit, after which it is killed together with its children. Its
//!   output is limited, and its exit status is checked.
//! * Programs do not inherit variables that start with `PG`, and print their messages in English.
//! * Versions are reported by a program and never derived from a path.
//!
//! # Limits
//!
//! * A search skips paths and names that are not UTF-8. Elsewhere they are errors.
//! * A `pg_config` describes how PostgreSQL was built. The server in the same directory may be from
//!   another package; [`Installation::verify`] compares the versions.
//! * An [`Installation`] looks up its programs once and does not notice later changes.
//! * If a program is killed, child processes that have left its process group survive.
//! * If the process ignores SIGCHLD, or if another thread waits for all children, the exit status
//!   of a program is lost. The crate then judges a program by its output.
//!
//! # Features
//!
//! * `serde`: [`Version`], [`MajorVersion`], [`Request`], [`Program`], [`Source`] and
//!   [`InstallationDirectory`] are serialized as text, [`PgConfig`] as a map, and
//!   [`ServerParameters`] as a sequence.
//!
//! # Environment
//!
//! [`Discovery`] lists the environment variables that are read, and [`Discovery::places`] the
//! directories. `docs/platform.md` in the repository contains the complete list.

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
