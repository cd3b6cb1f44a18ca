//! Asking the server's own programs about settings.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use camino::Utf8Path;
use pg_install::{ParameterContext, Program};
use pg_proc::{ConfigurationProblem, Output, RunError};
use pgconf_parse::{Problem, ProblemKind};

use super::{SettingsError, SettingsErrorKind, preload, read_effective};
use crate::Cluster;

/// The outcome of [`Settings::check`](super::Settings::check).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingCheck {
    /// The problem with the name or the value; none if the server would accept them.
    pub problem: Option<SettingProblem>,
    /// True if a change takes effect only at the next start of the server. False for an unknown
    /// name.
    pub needs_restart: bool,
}

/// The reason why a server would reject a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingProblem {
    /// The setting.
    pub name: String,
    /// The reason.
    pub kind: SettingProblemKind,
}

/// The reason of a [`SettingProblem`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingProblemKind {
    /// This version of the server does not have such a setting.
    Unknown {
        /// The known name that differs least, if one is close.
        nearest: Option<String>,
    },
    /// The setting reports a property of the server and cannot be set.
    ReadOnly,
    /// The value is outside the setting's range.
    OutOfRange {
        /// The server's message, which names the range with its unit.
        message: String,
    },
    /// The value is of the wrong type, or the server rejects it for another reason.
    Invalid {
        /// The server's message.
        message: String,
    },
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting `{}` {}", self.name, self.kind)
    }
}

impl fmt::Display for SettingProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { nearest: None } => f.write_str("is unknown to this server"),
            Self::Unknown {
                nearest: Some(name),
            } => write!(
                f,
                "is unknown to this server; the nearest known one is `{name}`"
            ),
            Self::ReadOnly => f.write_str("is read-only"),
            Self::OutOfRange { message } | Self::Invalid { message } => {
                write!(f, "is rejected by the server: {message}")
            }
        }
    }
}

/// The program takes some 15 ms on a machine in good order.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn check(
    cluster: &Cluster,
    path: &Utf8Path,
    name: &str,
    value: &str,
) -> Result<SettingCheck, SettingsError> {
    let failed = |kind| SettingsError::new(path.to_owned(), kind);
    let parameters = cluster
        .installation()
        .server_parameters()
        .map_err(|error| failed(SettingsErrorKind::Installation(Box::new(error))))?;
    let parameter = parameters.get(name);
    let context = parameter.map(pg_install::ServerParameter::context);
    let needs_restart = context == Some(ParameterContext::Postmaster);
    let verdict = |kind| SettingCheck {
        problem: Some(SettingProblem {
            name: name.to_owned(),
            kind,
        }),
        needs_restart,
    };
    if context == Some(ParameterContext::Internal) {
        return Ok(verdict(SettingProblemKind::ReadOnly));
    }
    // Only the server has the rules for units, ranges and everything else.
    let assignment = format!("{name}={value}");
    // The check runs in another directory: here `postgresql.auto.conf` may have errors of its own.
    let settings = ["config_file=/dev/null", &assignment];
    let verdict_of_server = judge(cluster, Utf8Path::new("/"), &settings).map_err(failed)?;
    let Some(complaint) = verdict_of_server else {
        return Ok(SettingCheck {
            problem: None,
            needs_restart,
        });
    };
    let problem = ConfigurationProblem::read_all_or_whole(&complaint).swap_remove(0);
    let message = match &problem.hint {
        Some(hint) => format!("{problem} (hint: {hint})"),
        None => problem.to_string(),
    };
    // `--describe-config` does not list read-only settings.
    if message.contains("cannot be changed") && parameter.is_none() {
        return Ok(verdict(SettingProblemKind::ReadOnly));
    }
    // An unknown name with a dot in it is a placeholder for an extension's setting, which the
    // server accepts.
    if message.contains("unrecognized configuration parameter") {
        let nearest = parameters.nearest(name);
        let nearest = nearest.map(|known| known.name().to_owned());
        return Ok(verdict(SettingProblemKind::Unknown { nearest }));
    }
    Ok(verdict(if message.contains("outside the valid range") {
        SettingProblemKind::OutOfRange { message }
    } else {
        SettingProblemKind::Invalid { message }
    }))
}

/// Has the server read the file `staged` in the place of `path`, and returns the problems that it
/// reports.
pub(super) fn read_by_server(
    cluster: &Cluster,
    staged: &Utf8Path,
    path: &Utf8Path,
) -> Result<Vec<ConfigurationProblem>, SettingsError> {
    let failed = |kind| SettingsError::new(path.to_owned(), kind);
    let in_place = |text: String| text.replace(staged.as_str(), path.as_str());
    // The server would wait for another process to open a pipe in the place of a file.
    let effective = read_effective(cluster, staged)?;
    let mut problems = effective.problems();
    let is_no_file = |problem: &&Problem| {
        let ProblemKind::Read { error } = problem.kind() else {
            return false;
        };
        *error == ErrorKind::InvalidInput
    };
    if let Some(problem) = problems.find(is_no_file) {
        let problem = ConfigurationProblem::new(in_place(format!("{problem}: not a regular file")));
        return Ok(vec![problem]);
    }
    let config_file = format!("config_file={staged}");
    match judge(cluster, cluster.data_directory(), &[&config_file]).map_err(failed)? {
        Some(complaint) => Ok(ConfigurationProblem::read_all_or_whole(&in_place(
            complaint,
        ))),
        None => preload::unloadable(cluster, staged).map_err(failed),
    }
}

/// Has the server judge a whole configuration; none if it accepts the configuration.
fn judge(
    cluster: &Cluster,
    data_directory: &Utf8Path,
    settings: &[&str],
) -> Result<Option<String>, SettingsErrorKind> {
    match ask(cluster, data_directory, "port", settings)? {
        Ok(_) => Ok(None),
        Err(error) if error.status().is_some() => {
            Ok(Some(String::from_utf8_lossy(error.stderr()).into_owned()))
        }
        Err(error) => Err(SettingsErrorKind::Program(error)),
    }
}

/// Runs `postgres -C`, which reads a whole configuration and prints one setting.
pub(super) fn ask(
    cluster: &Cluster,
    data_directory: &Utf8Path,
    name: &str,
    settings: &[&str],
) -> Result<Result<Output, RunError>, SettingsErrorKind> {
    let command = cluster
        .english_command(Program::Postgres)
        .map_err(|error| SettingsErrorKind::Installation(Box::new(error)))?
        .args([
            "-D",
            data_directory.as_str(),
            "-C",
            name,
            "-c",
            "lc_messages=C",
        ])
        .args(settings.iter().flat_map(|setting| ["-c", setting]));
    Ok(command.run(TIMEOUT))
}
