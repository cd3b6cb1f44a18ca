//! An error, its causes and advice as text for a person.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::iter;

use pg_install::{
    DiscoveryError, InstallationError, MissingProgramError, OverlayError, ParseRequestError,
};
use pg_proc::data_directory::{NewDataDirectoryError, RemovalError};
use pg_proc::{
    AccountError, DetachError, FileError, GuardError, LockError, RunError, SharedMemoryError,
    SignalError, SocketPathError, SpawnError,
};
use pgconf_parse::hba::EditError as AccessEditError;
use pgconf_parse::{EditError, SyntaxError, ValueError};

use crate::{
    AccessError, ClusterError, ControlError, InitError, LogError, RemoveError, ReplicationError,
    SettingsError, StartError,
};

/// Prints an error with its causes on one line and, if one of them has a hint, the hint below it.
/// It takes any error, and recognizes those of these crates anywhere among the causes.
///
/// ```
/// use pg_cluster::{Installation, Report};
///
/// fn run() -> Result<(), Box<dyn std::error::Error>> {
///     Installation::find(&"sixteen".parse()?)?;
///     Ok(())
/// }
///
/// if let Err(error) = run() {
///     eprintln!("my-program: {}", Report::new(&*error));
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Report<'e>(&'e (dyn Error + 'static));

impl<'e> Report<'e> {
    /// A report of this error.
    pub fn new(error: &'e (dyn Error + 'static)) -> Self {
        Self(error)
    }

    /// The hint of the error, or of the first of its causes that has one.
    pub fn hint(&self) -> Option<Cow<'e, str>> {
        self.chain().find_map(hint)
    }

    fn chain(self) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
        iter::successors(Some(self.0), |&error| error.source())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.chain().enumerate() {
            let colon = if n > 0 { ": " } else { "" };
            write!(f, "{colon}{error}")?;
        }
        match self.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

fn hint<'e>(error: &'e (dyn Error + 'static)) -> Option<Cow<'e, str>> {
    macro_rules! hint_of_one_of {
        ($($type:ty)*) => {
            None$(.or_else(|| error.downcast_ref::<$type>()?.hint()))*
        };
    }
    hint_of_one_of!(
        ClusterError StartError InitError ControlError AccessError SettingsError RemoveError
        LogError ReplicationError DiscoveryError InstallationError MissingProgramError
        OverlayError ParseRequestError
        SpawnError RunError DetachError SignalError SharedMemoryError AccountError LockError
        GuardError FileError RemovalError NewDataDirectoryError SocketPathError SyntaxError
        ValueError EditError AccessEditError
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Ours(Box<dyn Error>);

    impl fmt::Display for Ours {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no database today")
        }
    }

    impl Error for Ours {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn a_hint_is_found_among_the_causes() {
        let theirs = "sixteen".parse::<pg_install::Request>().map_err(Into::into);
        let error = Ours(theirs.err().unwrap_or_else(|| "no error".into()));
        let report = Report::new(&error).to_string();
        let (causes, hint) = report.split_once("\nhint: ").unwrap_or_default();
        assert!(
            causes.starts_with(r#"no database today: failed to parse "sixteen" as a request"#),
            "{report}"
        );
        assert_eq!(Some(hint), Report::new(&error).hint().as_deref());
        assert_eq!(Report::new(&fmt::Error).hint(), None);
    }
}
