//! What a server says about a configuration that it does not accept.

use std::fmt;

use camino::Utf8PathBuf;

/// A complaint of the server about its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigurationProblem {
    /// The file, if the server names one.
    pub file: Option<Utf8PathBuf>,
    /// The line, counted from 1, if the server names one.
    pub line: Option<u32>,
    /// What the server says, in English where it was asked by this library.
    pub message: String,
}

impl ConfigurationProblem {
    /// Reads the complaints out of what a server wrote to its log or to its standard error, under
    /// whatever `log_line_prefix`.
    ///
    /// Recognised are the messages of `ParseConfigFp`, `ProcessConfigFileInternal` and
    /// `set_config_option` (src/backend/utils/misc/guc-file.l and guc.c), in English. The closing
    /// `configuration file ... contains errors` is left out, unless nothing else was said.
    pub(crate) fn read_all(output: &str) -> Vec<Self> {
        let (mut problems, mut closing) = (Vec::new(), None);
        for line in output.lines() {
            let Some(message) = message(line) else {
                continue;
            };
            let problem = Self::of(message);
            if message.starts_with("configuration file \"") {
                closing = Some(problem);
            } else if COMPLAINTS.iter().any(|words| message.contains(words)) {
                problems.push(problem);
            }
        }
        if problems.is_empty() {
            problems.extend(closing);
        }
        problems
    }

    /// As [`read_all`](Self::read_all); where nothing is recognised, the whole output is one
    /// complaint.
    pub(crate) fn read_all_or_whole(output: &str) -> Vec<Self> {
        let mut problems = Self::read_all(output);
        if problems.is_empty() {
            problems.push(Self {
                file: None,
                line: None,
                message: output.trim().to_owned(),
            });
        }
        problems
    }

    fn of(message: &str) -> Self {
        let file = between(message, "file \"", "\"").map(Utf8PathBuf::from);
        let line = between(message, "\" line ", "").and_then(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        Self {
            file,
            line,
            message: message.to_owned(),
        }
    }
}

/// `file:line: message`, as far as known, and the message alone where it names its place itself.
impl fmt::Display for ConfigurationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref();
        if let Some(file) = file.filter(|file| !self.message.contains(file.as_str())) {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

/// Words by which a complaint about the configuration is told from other messages.
const COMPLAINTS: [&str; 12] = [
    "syntax error in file \"",
    "unrecognized configuration parameter \"",
    "invalid value for parameter \"",
    "is outside the valid range for parameter \"",
    "requires a Boolean value",
    "requires a numeric value",
    "could not open configuration file \"",
    "could not open configuration directory \"",
    "maximum nesting depth exceeded",
    "configuration file recursion in \"",
    "too many syntax errors found",
    "cannot be changed",
];

/// The text after the severity of a message that means that something is wrong.
fn message(line: &str) -> Option<&str> {
    let found = |severity: &str| {
        line.split_once(severity)
            .map(|(_, message)| message.trim_start())
    };
    found("LOG:  ")
        .or_else(|| found("FATAL:  "))
        .or_else(|| found("ERROR:  "))
        .or_else(|| found("WARNING:  "))
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    if after.is_empty() {
        Some(rest)
    } else {
        rest.split_once(after).map(|(inner, _)| inner)
    }
}
