//! Asking the server's own programs about settings.

use std::time::Duration;

use camino::Utf8Path;
use pg_install::{ParameterContext, Program, ServerParameters};

use super::{SettingsError, SettingsErrorKind, preload};
use crate::{Cluster, ConfigurationProblem};

/// What [`Settings::check`](super::Settings::check) found out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingCheck {
    /// What is wrong with the name or the value; none if the server would take them.
    pub problem: Option<SettingProblem>,
    /// Whether a running server takes a change only when it is started again. False for a name that
    /// is not known.
    pub needs_restart: bool,
}

/// Why a server would not take a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting `{name}` {kind}")]
#[non_exhaustive]
pub struct SettingProblem {
    /// The setting.
    pub name: String,
    /// What is wrong.
    pub kind: SettingProblemKind,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingProblemKind {
    /// This version of the server knows no such setting.
    Unknown {
        /// The known name that differs least, if one is close.
        nearest: Option<String>,
    },
    /// It reports a property of the server and cannot be set.
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

impl std::fmt::Display for SettingProblemKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown { nearest: None } => f.write_str("is unknown to this server"),
            Self::Unknown {
                nearest: Some(name),
            } => {
                write!(
                    f,
                    "is unknown to this server; the nearest known one is `{name}`"
                )
            }
            Self::ReadOnly => f.write_str("cannot be set, it only tells"),
            Self::OutOfRange { message } | Self::Invalid { message } => {
                write!(f, "is rejected by the server: {message}")
            }
        }
    }
}

/// It takes some 15 ms where nothing is wrong with the machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

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
    // The server judges the value: it alone knows units, ranges and what else has to hold.
    let assignment = format!("{name}={value}");
    let verdict_of_server =
        ask(cluster, &["-c", "config_file=/dev/null", "-c", &assignment]).map_err(failed)?;
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
    // `--describe-config` does not list what only tells.
    if message.contains("cannot be changed") && parameter.is_none() {
        return Ok(verdict(SettingProblemKind::ReadOnly));
    }
    // An unknown name with a dot in it is a placeholder for an extension's setting, which the
    // server accepts.
    if message.contains("unrecognized configuration parameter") {
        let nearest = nearest(parameters, name);
        return Ok(verdict(SettingProblemKind::Unknown { nearest }));
    }
    Ok(verdict(if message.contains("outside the valid range") {
        SettingProblemKind::OutOfRange { message }
    } else {
        SettingProblemKind::Invalid { message }
    }))
}

/// Has the server read the file `staged` in the place of `path`, and returns its complaints; none
/// if it accepts everything.
pub(super) fn read_by_server(
    cluster: &Cluster,
    staged: &Utf8Path,
    path: &Utf8Path,
) -> Result<Vec<ConfigurationProblem>, SettingsError> {
    let config_file = format!("config_file={staged}");
    let verdict = ask(cluster, &["-c", &config_file])
        .map_err(|kind| SettingsError::new(path.to_owned(), kind))?;
    let problems = |complaint: &str| {
        ConfigurationProblem::read_all_or_whole(&complaint.replace(staged.as_str(), path.as_str()))
    };
    match verdict {
        Some(complaint) => Ok(problems(&complaint)),
        None => preload::unloadable(cluster, staged)
            .map_err(|kind| SettingsError::new(path.to_owned(), kind)),
    }
}

/// Starts `postgres -C`, which reads a whole configuration, says what it thinks of it in English,
/// and ends. None if it is content.
fn ask(cluster: &Cluster, settings: &[&str]) -> Result<Option<String>, SettingsErrorKind> {
    // Which directory it is matters not, but it has to be one, and the cluster need not exist yet.
    let directory = match cluster.data_directory().is_dir() {
        true => cluster.data_directory(),
        false => Utf8Path::new("/"),
    };
    let asked = cluster
        .english_command(Program::Postgres)
        .map_err(|error| SettingsErrorKind::Installation(Box::new(error)))?
        .args([
            "-D",
            directory.as_str(),
            "-C",
            "port",
            "-c",
            "lc_messages=C",
        ])
        .args(settings)
        .run(PATIENCE);
    match asked {
        Ok(_) => Ok(None),
        Err(error) if error.status().is_some() => {
            Ok(Some(String::from_utf8_lossy(error.stderr()).into_owned()))
        }
        Err(error) => Err(SettingsErrorKind::Program(error)),
    }
}

/// The known name with the smallest edit distance, if fewer than half of the letters differ.
fn nearest(parameters: &ServerParameters, name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    parameters
        .iter()
        .map(|parameter| (edit_distance(parameter.name(), &name), parameter.name()))
        .min()
        .filter(|(distance, _)| *distance * 2 < name.len().max(2))
        .map(|(_, known)| known.to_owned())
}

/// Levenshtein's distance, row by row.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x.to_ascii_lowercase() != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #[test]
    fn edit_distance_counts_single_letters() {
        use super::edit_distance;
        assert_eq!(edit_distance("work_mem", "work_mem"), 0);
        assert_eq!(edit_distance("work_mem", "wrk_men"), 2);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
