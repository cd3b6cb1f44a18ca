//! Commented-out assignments.

use std::ops::Range;

use crate::syntax::scan::{self, Line};

/// A commented-out assignment, as offsets into the source.
#[derive(Clone, Debug)]
pub(crate) struct Commented {
    /// The `#` and the blank after it, if any. Removing this range activates the assignment.
    pub(crate) marker: Range<usize>,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
    /// The number of `#`.
    pub(crate) depth: usize,
}

/// Returns the assignment on the line `start..end`, if the line is a comment that would be an
/// assignment without its `#`.
///
/// After a single `#` an equals sign is required, because the comment could be prose. A comment
/// with two or more `#` was written by this crate; see [`depth`].
pub(crate) fn find(source: &[u8], start: usize, end: usize) -> Option<Commented> {
    let source = &source[..end];
    let (marker, depth) = marker(source, start)?;
    match scan::line(source, marker.end).0 {
        Line::Assignment {
            name,
            value,
            equals,
        } if equals || depth > 1 => Some(Commented {
            marker,
            name,
            value,
            depth,
        }),
        _ => None,
    }
}

/// Returns the name on the line that starts at `start`, if [`find`] may find an assignment there.
#[inline]
pub(crate) fn name(source: &[u8], start: usize) -> Option<&[u8]> {
    let (marker, depth) = marker(source, start)?;
    let text = &source[marker.end..];
    let (name, rest) = text.split_at(scan::name_length(text));
    let blanks = run(rest, |byte| matches!(byte, b' ' | b'\t' | b'\r'));
    (depth > 1 || rest.get(blanks) == Some(&b'=')).then_some(name)
}

/// Returns the range before the text of a comment that could be an assignment, and the number of
/// its `#`.
///
/// Text with a deeper indent is an example or prose: in the file that `initdb` writes, the line
/// `#   name = value` explains the format.
#[inline]
fn marker(source: &[u8], start: usize) -> Option<(Range<usize>, usize)> {
    let line = &source[start..];
    let indent = run(line, |byte| matches!(byte, b' ' | b'\t' | b'\r'));
    let depth = run(&line[indent..], |byte| byte == b'#');
    let blank = match line.get(indent + depth) {
        Some(b' ' | b'\t') if depth == 1 => 1,
        _ => 0,
    };
    let text = indent + depth + blank;
    let is_name = |byte: &u8| *byte == b'_' || *byte >= 0x80 || byte.is_ascii_alphabetic();
    (depth > 0 && line.get(text).is_some_and(is_name))
        .then_some((start + indent..start + text, depth))
}

#[inline]
fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|&&byte| belongs(byte)).count()
}

/// Returns the number of `#` with which an assignment is commented out. `set` uncomments the one
/// with the most `#`, and the last of several, so the number must make this one the choice.
///
/// `others` are the commented-out assignments of the same name: the number of their `#`, and `true`
/// for those above this one.
pub(crate) fn depth(has_equals: bool, others: impl Iterator<Item = (usize, bool)>) -> usize {
    let least = if has_equals { 1 } else { 2 };
    others.fold(least, |depth, (other, is_above)| {
        depth.max(if is_above { other } else { other + 1 })
    })
}
