//! The problems that a server reports with its configuration files.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::server_message::{ServerMessage, Severity};

/// A problem that a server reports with its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ConfigurationProblem {
    /// The file, if the server names one.
    pub file: Option<Utf8PathBuf>,
    /// The line, counted from 1, if the server names one.
    pub line: Option<u32>,
    /// The server's message.
    pub message: String,
    /// The server's `DETAIL`.
    pub detail: Option<String>,
    /// The server's `HINT`, such as the units or the values that a setting takes.
    pub hint: Option<String>,
}

impl ConfigurationProblem {
    /// A problem with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// Adds the file and the line, as far as they are known.
    #[must_use]
    pub fn at(self, file: Option<Utf8PathBuf>, line: Option<u32>) -> Self {
        Self { file, line, ..self }
    }

    /// Reads the problems from a log or from the standard error of `postgres`, in any form of log.
    ///
    /// It recognizes the English messages of `ParseConfigFp`, `ProcessConfigFileInternal` and
    /// `set_config_option` (src/backend/utils/misc/guc-file.l and guc.c). The final `configuration
    /// file ... contains errors` is returned only if there is nothing else.
    pub fn read_all(output: &str) -> Vec<Self> {
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
                closing = Some(Self::from(message));
            } else if COMPLAINTS
                .iter()
                .any(|words| message.message.contains(words))
            {
                problems.push(message.into());
            }
        }
        if problems.is_empty() {
            problems.extend(closing);
        }
        problems
    }

    /// Like [`read_all`](Self::read_all), but returns at least one problem: the gravest message, or
    /// the whole output if no message is recognized.
    pub fn read_all_or_whole(output: &str) -> Vec<Self> {
        let problems = Self::read_all(output);
        if !problems.is_empty() {
            return problems;
        }
        let messages = ServerMessage::read_all(output);
        vec![match ServerMessage::gravest(&messages) {
            Some(message) => message.clone().into(),
            None => Self::new(output.trim()),
        }]
    }

    /// Reads the messages of a log about one of `pg_hba.conf` and `pg_ident.conf`.
    ///
    /// The server names the file and the line in every language (`tokenize_auth_file` and
    /// `parse_hba_line` in src/backend/libpq/hba.c). They are in the context of the message or, if
    /// the context is not recognized in another language, in the line that follows. The final
    /// message about the whole file, which does not name a line, is returned only if there is no
    /// other.
    pub fn read_access_rules(messages: &[ServerMessage], file: &Utf8Path) -> Vec<Self> {
        let number = |text: &str| -> Option<u32> {
            let rest = text.replace(file.as_str(), "");
            let mut words = rest.split(|c: char| !c.is_ascii_digit());
            words.find_map(|digits| digits.parse().ok())
        };
        let problem = |(n, message): (usize, &ServerMessage)| {
            let (line, said) = match &message.context {
                Some(context) if context.contains(file.as_str()) => (number(context), message),
                _ if !message.message.contains(file.as_str()) => return None,
                _ => match number(&message.message) {
                    Some(line) => (Some(line), messages.get(n.checked_sub(1)?)?),
                    None => (None, message),
                },
            };
            Some(Self {
                file: Some(file.to_owned()),
                line,
                ..Self::without_place(said.clone())
            })
        };
        let found = messages.iter().enumerate().filter_map(problem);
        let (with_line, closing): (Vec<_>, Vec<_>) = found.partition(|it| it.line.is_some());
        if with_line.is_empty() {
            closing
        } else {
            with_line
        }
    }

    /// The hints that the server gives to these problems, each once; none if it gives none.
    pub fn hints(problems: &[Self]) -> Option<String> {
        let hints = problems
            .iter()
            .filter_map(|problem| problem.hint.as_deref());
        let mut hints: Vec<&str> = hints.collect();
        hints.dedup();
        (!hints.is_empty()).then(|| hints.join(" "))
    }

    fn without_place(message: ServerMessage) -> Self {
        Self {
            message: message.message,
            detail: message.detail,
            hint: message.hint,
            ..Self::default()
        }
    }
}

/// Takes the file and the line from the words of the message.
impl From<ServerMessage> for ConfigurationProblem {
    fn from(message: ServerMessage) -> Self {
        let text = &message.message;
        let file = between(text, "file \"", "\"").map(Utf8PathBuf::from);
        let line = between(text, "\" line ", "").and_then(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        Self::without_place(message).at(file, line)
    }
}

/// `file:line: message (detail)`, as far as known. The place is left out if the message names it.
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

/// The words of a message about the configuration.
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
