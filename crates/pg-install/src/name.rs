//! Parsing of the names of programs, directories, sources, stages and contexts.

use std::fmt::Display;

/// The error of parsing a name: the text does not name a program, directory, source, stage or
/// context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse {text:?} as the name of {kind}")]
pub struct ParseNameError {
    text: Box<str>,
    kind: &'static str,
}

impl ParseNameError {
    /// The text that was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Returns the value of `all` whose `Display` form is `text`.
pub(crate) fn parse<T: Display>(
    text: &str,
    kind: &'static str,
    mut all: impl Iterator<Item = T>,
) -> Result<T, ParseNameError> {
    all.find(|value| value.to_string() == text)
        .ok_or_else(|| ParseNameError {
            text: text.into(),
            kind,
        })
}
