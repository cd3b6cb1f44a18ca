//! Assignments that stand in comments.

use std::ops::Range;

use crate::scan::{self, Line};

/// A commented-out assignment, as offsets into the source.
#[derive(Debug)]
pub(crate) struct Commented {
    /// The `#` and the blank after it, if any: what has to go to bring the assignment to life.
    pub(crate) marker: Range<usize>,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// The assignment on the line at `start..end`, if it is a comment that would be one without its
/// `#`.
pub(crate) fn find(source: &[u8], start: usize, end: usize) -> Option<Commented> {
    let source = &source[..end];
    let line = &source[start..];
    let indent = line
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let marker = start + indent;
    if source.get(marker) != Some(&b'#') {
        return None;
    }
    let text = match source.get(marker + 1) {
        Some(b' ' | b'\t') => marker + 2,
        _ => marker + 1,
    };
    // Deeper indented text is an example or prose: in the file of `initdb`, the line
    // `#   name = value` explains the format.
    if !source
        .get(text)
        .is_some_and(|&byte| byte == b'_' || byte >= 0x80 || byte.is_ascii_alphabetic())
    {
        return None;
    }
    match scan::line(&source[..end], text).0 {
        Line::Assignment {
            name,
            value,
            equals: true,
        } => Some(Commented {
            marker: marker..text,
            name,
            value,
        }),
        _ => None,
    }
}
