//! Parsing the names of programs, directories, sources and the like.

use std::fmt::Display;

/// A text that is not one of the names of a program, directory, source, stage or context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse {text:?} as the name of {kind}")]
pub struct ParseNameError {
    text: Box<str>,
    kind: &'static str,
}

impl ParseNameError {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Returns the one of `all` that is displayed as `text`.
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
