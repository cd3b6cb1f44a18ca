//! Edits of one line.

use std::ops::Range;

use crate::syntax::quote;
use crate::value::written::Value;

/// The positions of the parts of an assignment, in bytes from the start of its line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spans {
    /// The start of the `#` and the blank before the name. The start of the name if the line is
    /// not commented out.
    pub(crate) marker: usize,
    pub(crate) name: (usize, usize),
    pub(crate) value: (usize, usize),
}

impl Spans {
    /// Converts offsets into a text in which the line starts at `start`.
    pub(crate) fn of(start: usize, name: &Range<usize>, value: &Range<usize>) -> Self {
        Self {
            marker: name.start - start,
            name: (name.start - start, name.end - start),
            value: (value.start - start, value.end - start),
        }
    }

    pub(crate) fn value<'t>(&self, line: &'t [u8]) -> &'t [u8] {
        &line[self.value.0..self.value.1]
    }
}

pub(crate) fn holds(line: &[u8], spans: &Spans, value: &Value) -> bool {
    quote::unquote(spans.value(line)).as_ref() == value.as_bytes()
}

/// Appends the line to the text with a new value and without its marker. The comment after the
/// value keeps the column that it has without the marker.
pub(crate) fn revalue(line: &[u8], spans: &Spans, value: &Value, text: &mut Vec<u8>) -> Spans {
    let line_start = text.len();
    let (name, raw) = (without_marker(line, spans, text), spans.value(line));
    let end_of_prefix = text.len();
    let quoted = raw.starts_with(b"'") || !quote::may_stand_bare(value.as_bytes());
    // A quote or a sign may follow the name without a blank, as in `a'b'` and `a+1`. A word needs
    // a blank.
    if name.end == text.len() && !quoted {
        text.push(b' ');
    }
    let start = text.len();
    write(value, quoted, text);
    let new = Spans::of(line_start, &name, &(start..text.len()));
    let rest = &line[spans.value.1..];
    let gap = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    if gap > 0 && rest.get(gap) == Some(&b'#') {
        let prefix = column(0, &text[line_start..end_of_prefix]);
        let at = column(prefix, &text[end_of_prefix..]);
        let before = column(prefix, raw);
        if at == before {
            text.extend(rest);
        } else {
            pad(text, at, &rest[..gap], column(before, &rest[..gap]));
            text.extend(&rest[gap..]);
        }
    } else {
        text.extend(rest);
    }
    new
}

/// Appends the line to the text without its marker.
pub(crate) fn uncomment(line: &[u8], spans: &Spans, text: &mut Vec<u8>) -> Spans {
    let line_start = text.len();
    let name = without_marker(line, spans, text);
    let start = text.len();
    text.extend(&line[spans.value.0..]);
    let value = start..start + spans.value(line).len();
    Spans::of(line_start, &name, &value)
}

/// Appends the part before the value without the marker, and returns the range of the name.
fn without_marker(line: &[u8], spans: &Spans, text: &mut Vec<u8>) -> Range<usize> {
    text.extend(&line[..spans.marker]);
    let start = text.len();
    text.extend(&line[spans.name.0..spans.value.0]);
    start..start + spans.name.1 - spans.name.0
}

/// Appends the line to the text with `depth` times `#` before its name.
pub(crate) fn comment_out(line: &[u8], spans: &Spans, depth: usize, text: &mut Vec<u8>) -> Spans {
    text.extend(&line[..spans.name.0]);
    text.resize(text.len() + depth, b'#');
    text.extend(&line[spans.name.0..]);
    Spans {
        marker: spans.name.0,
        name: (spans.name.0 + depth, spans.name.1 + depth),
        value: (spans.value.0 + depth, spans.value.1 + depth),
    }
}

/// Appends a new assignment, with its line end, to the text.
pub(crate) fn added(name: &[u8], value: &Value, end: &[u8], text: &mut Vec<u8>) -> Spans {
    let line_start = text.len();
    text.extend(name);
    text.extend(b" = ");
    let start = text.len();
    write(value, !quote::may_stand_bare(value.as_bytes()), text);
    let name = line_start..line_start + name.len();
    let spans = Spans::of(line_start, &name, &(start..text.len()));
    text.extend(end);
    spans
}

fn write(value: &Value, quoted: bool, text: &mut Vec<u8>) {
    if quoted {
        quote::quote(value.as_bytes(), text);
    } else {
        text.extend(value.as_bytes());
    }
}

/// The distance between tab stops, in columns.
const TAB: usize = 8;

/// Returns the column of the cursor after the text if the text begins in `column`, counted from 0.
fn column(column: usize, text: &[u8]) -> usize {
    text.iter().fold(column, |column, byte| match byte {
        b'\t' => (column / TAB + 1) * TAB,
        0x80..=0xbf => column,
        _ => column + 1,
    })
}

/// Appends blanks from column `at` to column `target`, at least one. Tabs are used if the original
/// `blanks` contain a tab.
fn pad(text: &mut Vec<u8>, mut at: usize, blanks: &[u8], target: usize) {
    let tabs = blanks.contains(&b'\t');
    let next_stop = |column: usize| (column / TAB + 1) * TAB;
    if at >= target {
        text.push(if tabs { b'\t' } else { b' ' });
        return;
    }
    while tabs && next_stop(at) <= target {
        text.push(b'\t');
        at = next_stop(at);
    }
    text.resize(text.len() + target - at, b' ');
}
