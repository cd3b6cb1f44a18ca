//! Changing one line.

use std::ops::Range;

use crate::name::SettingName;
use crate::quote;
use crate::value::Value;

/// Where the parts of an assignment are, in bytes from the start of its line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans {
    /// The `#` before it, and the blank after that; empty if it is live.
    pub(crate) marker: Range<usize>,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

impl Spans {
    /// Of a live assignment, from offsets into the text in which the line starts at `start`.
    pub(crate) fn of(start: usize, name: &Range<usize>, value: &Range<usize>) -> Self {
        let name = within(start, name);
        Self {
            marker: name.start..name.start,
            name,
            value: within(start, value),
        }
    }
}

pub(crate) fn within(start: usize, span: &Range<usize>) -> Range<usize> {
    span.start - start..span.end - start
}

pub(crate) fn holds(line: &[u8], spans: &Spans, value: &Value) -> bool {
    quote::unquote(&line[spans.value.clone()]).as_ref() == value.as_bytes()
}

pub(crate) fn value(line: &[u8], spans: &Spans) -> Value {
    Value::from(&*quote::unquote(&line[spans.value.clone()]))
}

/// Writes the line with another value and without its marker, the comment after the value in the
/// column that it had without the marker. A value that is there already stays as it is written.
pub(crate) fn revalue(line: &[u8], spans: &Spans, value: &Value, text: &mut Vec<u8>) -> Spans {
    let (marker, old) = (&spans.marker, &spans.value);
    text.extend(&line[..marker.start]);
    text.extend(&line[marker.end..old.start]);
    let name = spans.name.start - marker.len()..spans.name.end - marker.len();
    let raw = &line[old.clone()];
    if holds(line, spans, value) {
        let start = text.len();
        text.extend(&line[old.start..]);
        return Spans::of(0, &name, &(start..start + old.len()));
    }
    let quoted = raw.starts_with(b"'") || !quote::may_stand_bare(value.as_bytes());
    // The value may follow the name at once, as in `a'b'` and `a+1`; a word may not.
    if name.end == text.len() && !quoted {
        text.push(b' ');
    }
    let start = text.len();
    write(value, quoted, text);
    let spans = Spans::of(0, &name, &(start..text.len()));
    let rest = &line[old.end..];
    let gap = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    if rest.get(gap) == Some(&b'#') {
        let target = column(
            column(0, &line[..marker.start]),
            &line[marker.end..old.end + gap],
        );
        pad(text, &rest[..gap], target);
        text.extend(&rest[gap..]);
    } else {
        text.extend(rest);
    }
    spans
}

/// Writes the line with so many `#` before its name.
pub(crate) fn comment_out(line: &[u8], spans: &Spans, depth: usize, text: &mut Vec<u8>) -> Spans {
    let start = spans.name.start;
    text.extend(&line[..start]);
    text.resize(start + depth, b'#');
    text.extend(&line[start..]);
    let moved = |span: &Range<usize>| span.start + depth..span.end + depth;
    Spans {
        marker: start..start + depth,
        name: moved(&spans.name),
        value: moved(&spans.value),
    }
}

/// Writes a line that assigns to the setting.
pub(crate) fn added(name: &[u8], value: &Value, end: &[u8], text: &mut Vec<u8>) -> Spans {
    debug_assert!(SettingName::new(name).is_ok());
    let name_start = text.len();
    text.extend(name);
    text.extend(b" = ");
    let start = text.len();
    write(value, !quote::may_stand_bare(value.as_bytes()), text);
    let spans = Spans::of(
        name_start,
        &(name_start..name_start + name.len()),
        &(start..text.len()),
    );
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

/// How far apart tab stops are.
const TAB: usize = 8;

/// The column that the cursor reaches at the end of the text if it begins in `column`, counted
/// from 0.
fn column(column: usize, text: &[u8]) -> usize {
    text.iter().fold(column, |column, byte| match byte {
        b'\t' => (column / TAB + 1) * TAB,
        0x80..=0xbf => column,
        _ => column + 1,
    })
}

/// Blanks up to the column, in the manner of the blanks that stood there; at least one, unless
/// there was none.
fn pad(text: &mut Vec<u8>, blanks: &[u8], target: usize) {
    if blanks.is_empty() {
        return;
    }
    let tabs = blanks.contains(&b'\t');
    let next_stop = |column: usize| (column / TAB + 1) * TAB;
    let mut at = column(0, text);
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
