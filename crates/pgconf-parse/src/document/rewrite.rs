//! Replacement of lines, with an incremental update of the index.

use std::ops::Range;

use crate::document::line::Spans;
use crate::document::text::{Document, Entry};

impl Document {
    /// Applies changes, which must be in the order of the document, and updates the index without
    /// parsing the rest of the document again.
    pub(crate) fn rewrite(&mut self, changes: &[Changed], texts: &[u8]) {
        let Some(first) = changes.first() else {
            return;
        };
        // The message of a syntax error at the end of the file depends on that end, so the document
        // is parsed again.
        let ends_error = |change: &Changed| {
            let end = change.base.start;
            change.kind == Kind::EndOfLine
                && self.errors.last().is_some_and(|error| error.ends_at(end))
        };
        if changes.iter().any(ends_error) {
            self.write(changes, texts);
            self.reindex();
            return;
        }
        let from = self
            .entries
            .partition_point(|entry| entry.line_start < first.base.start);
        let mut ahead = changes.iter().peekable();
        let mut shift = Shift::default();
        let mut new = Vec::new();
        let mut any_gone = false;
        for entry in &mut self.entries[from..] {
            while let Some(change) = ahead.next_if(|change| change.is_before(entry.line_start)) {
                new.extend(shift.entry_of(change));
                shift.pass(change);
            }
            match ahead.next_if(|change| change.base.start == entry.line_start) {
                Some(change) => {
                    match shift.entry_of(change) {
                        Some(changed) => *entry = changed,
                        None => {
                            entry.line = GONE;
                            any_gone = true;
                        }
                    }
                    shift.pass(change);
                }
                None => shift.apply(entry),
            }
        }
        for change in ahead {
            new.extend(shift.entry_of(change));
            shift.pass(change);
        }
        if any_gone {
            self.entries.retain(|entry| entry.line != GONE);
        }
        if let Some(first) = new.first() {
            let is_tail = self
                .entries
                .last()
                .is_none_or(|last| last.line_start < first.line_start);
            self.entries.append(&mut new);
            if !is_tail {
                self.entries.sort_by_key(|entry| entry.line_start);
            }
        }
        let mut ahead = changes.iter().peekable();
        let mut shift = Shift::default();
        for error in &mut self.errors {
            while let Some(change) = ahead.next_if(|change| change.is_before(error.line_start())) {
                shift.pass(change);
            }
            error.shift(shift.lines, shift.bytes);
        }
        if let Some(end) = &mut self.abandoned {
            while let Some(change) = ahead.next_if(|change| change.is_before(*end)) {
                shift.pass(change);
            }
            *end = end.wrapping_add_signed(shift.bytes);
        }
        self.write(changes, texts);
    }

    fn write(&mut self, changes: &[Changed], texts: &[u8]) {
        if let [change] = changes {
            let text = &texts[change.text.clone()];
            self.source
                .splice(change.base.clone(), text.iter().copied());
            return;
        }
        let added: usize = changes.iter().map(|change| change.text.len()).sum();
        let mut source = Vec::with_capacity(self.source.len() + added);
        let mut kept = 0;
        for change in changes {
            source.extend_from_slice(&self.source[kept..change.base.start]);
            source.extend_from_slice(&texts[change.text.clone()]);
            kept = change.base.end;
        }
        source.extend_from_slice(&self.source[kept..]);
        self.source = source;
    }
}

/// A line that is changed by an edit.
#[derive(Debug)]
pub(crate) struct Changed {
    /// The range that is replaced. Empty for an added line.
    pub(crate) base: Range<usize>,
    /// The line number before the other changes are applied.
    pub(crate) number: usize,
    /// The new text, as a range of the buffer that holds the texts of all changes.
    pub(crate) text: Range<usize>,
    /// The parts of the assignment.
    pub(crate) spans: Spans,
    pub(crate) kind: Kind,
}

/// The content of a changed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An assignment.
    Live,
    /// A comment.
    Comment,
    /// The line was deleted.
    Deleted,
    /// Not a line, but the missing end of the line before.
    EndOfLine,
}

impl Changed {
    /// Returns whether this change moves the line that starts at `line_start` without changing it.
    fn is_before(&self, line_start: usize) -> bool {
        self.base.start < line_start || self.base.is_empty() && self.base.start == line_start
    }

    fn is_line(&self) -> bool {
        matches!(self.kind, Kind::Live | Kind::Comment)
    }
}

/// The line number that marks an entry as deleted.
const GONE: usize = 0;

/// The distance by which an edit moves the lines after it.
#[derive(Default)]
struct Shift {
    lines: isize,
    bytes: isize,
}

impl Shift {
    fn pass(&mut self, change: &Changed) {
        self.bytes += change.text.len() as isize - change.base.len() as isize;
        self.lines += isize::from(change.is_line()) - isize::from(!change.base.is_empty());
    }

    fn apply(&self, entry: &mut Entry) {
        entry.line = entry.line.wrapping_add_signed(self.lines);
        entry.line_start = entry.line_start.wrapping_add_signed(self.bytes);
        for span in [&mut entry.name, &mut entry.value] {
            *span = span.start.wrapping_add_signed(self.bytes)
                ..span.end.wrapping_add_signed(self.bytes);
        }
    }

    fn entry_of(&self, change: &Changed) -> Option<Entry> {
        let start = change.base.start.wrapping_add_signed(self.bytes);
        let moved = |span: (usize, usize)| start + span.0..start + span.1;
        (change.kind == Kind::Live).then(|| Entry {
            line: change.number.wrapping_add_signed(self.lines),
            line_start: start,
            name: moved(change.spans.name),
            value: moved(change.spans.value),
        })
    }
}
