//! What a server says about a configuration that it does not accept.

use std::fmt;

use camino::Utf8PathBuf;
use pg_proc::{ServerMessage, Severity};

/// A complaint of the server about its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigurationProblem {
    /// The file, if the server names one.
    pub file: Option<Utf8PathBuf>,
    /// The line, counted from 1, if the server names one.
    pub line: Option<u32>,
    /// What the server says, in English where it was asked by this library.
    pub message: String,
    /// The server's `DETAIL`.
    pub detail: Option<String>,
    /// The server's `HINT`, such as the units or the values that a setting has.
    pub hint: Option<String>,
}

impl ConfigurationProblem {
    /// Reads the complaints out of what a server wrote to its log or to its standard error, in
    /// whatever form.
    ///
    /// Recognised are the messages of `ParseConfigFp`, `ProcessConfigFileInternal` and
    /// `set_config_option` (src/backend/utils/misc/guc-file.l and guc.c), in English. The closing
    /// `configuration file ... contains errors` is left out, unless nothing else was said.
    pub(crate) fn read_all(output: &str) -> Vec<Self> {
        let (mut problems, mut closing) = (Vec::new(), None);
        for message in ServerMessage::read_all(output) {
            let grave = [
                Severity::Log,
                Severity::Warning,
                Severity::Error,
                Severity::Fatal,
            ];
            if !message
                .severity
                .is_some_and(|severity| grave.contains(&severity))
            {
                continue;
            }
            if message.message.starts_with("configuration file \"") {
                closing = Some(Self::of(message));
            } else if COMPLAINTS
                .iter()
                .any(|words| message.message.contains(words))
            {
                problems.push(Self::of(message));
            }
        }
        if problems.is_empty() {
            problems.extend(closing);
        }
        problems
    }

    /// As [`read_all`](Self::read_all); where nothing is recognised, the gravest message or the
    /// whole output is one complaint.
    pub(crate) fn read_all_or_whole(output: &str) -> Vec<Self> {
        let problems = Self::read_all(output);
        if !problems.is_empty() {
            return problems;
        }
        let messages = ServerMessage::read_all(output);
        vec![match ServerMessage::gravest(&messages) {
            Some(message) => Self::of(message.clone()),
            None => Self {
                message: output.trim().to_owned(),
                ..Self::default()
            },
        }]
    }

    pub(crate) fn of(message: ServerMessage) -> Self {
        let text = &message.message;
        let file = between(text, "file \"", "\"").map(Utf8PathBuf::from);
        let line = between(text, "\" line ", "").and_then(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        Self {
            file,
            line,
            message: message.message,
            detail: message.detail,
            hint: message.hint,
        }
    }
}

/// The hints that the server gives to some problems.
pub(crate) fn hints(problems: &[ConfigurationProblem]) -> Option<String> {
    let mut hints: Vec<&str> = problems
        .iter()
        .filter_map(|problem| problem.hint.as_deref())
        .collect();
    hints.dedup();
    (!hints.is_empty()).then(|| hints.join(" "))
}

/// `file:line: message (detail)`, as far as known, without the place where the message names it
/// itself.
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
        f.write_str(&self.message)?;
        match &self.detail {
            Some(detail) => write!(f, " ({})", detail.trim_end_matches('.')),
            None => Ok(()),
        }
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

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    if after.is_empty() {
        Some(rest)
    } else {
        rest.split_once(after).map(|(inner, _)| inner)
    }
}
