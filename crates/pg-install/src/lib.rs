#![doc = "Finds PostgreSQL installations, reads pg_config, parses versions."]

mod command;
mod configure;
mod directory;
mod discovery;
mod error;
mod installation;
mod layout;
mod major;
mod package;
mod parameter;
mod pg_config;
mod program;
mod request;
#[cfg(feature = "serde")]
mod serde_impls;
mod ssl;
mod version;

pub use command::{ProgramError, ProgramErrorKind};
pub use configure::ConfigureOptions;
pub use directory::Directory;
pub use discovery::{
    Discovery, DiscoveryError, DiscoveryErrorKind, Explanation, Found, Outcome, Search, Searched,
    Source,
};
pub use error::{InstallationError, InstallationErrorKind, MissingProgramError};
pub use installation::{Installation, Origin};
pub use major::{MajorVersion, PgVersionFileError, PgVersionFileErrorKind};
pub use parameter::{
    ParameterContext, ParameterKind, ParseParametersError, ServerParameter, ServerParameters,
};
pub use pg_config::PgConfig;
pub use program::{Component, Program};
pub use request::{ParseRequestError, Request};
pub use ssl::SslEvidence;
pub use version::{ParseVersionError, Stage, Version};
