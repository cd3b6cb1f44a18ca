//! The bytes of a file and the places of its lines, for both kinds of files.

use std::ops::Range;

use crate::hba::scan::{self, Line, Lines};

/// The text of a `pg_hba.conf` or `pg_ident.conf`, with an index of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) source: Vec<u8>,
    pub(crate) major: u16,
    entries: Vec<Entry>,
    /// The last line ends with a newline, so another line can follow.
    is_complete: bool,
}

/// A line that is neither empty nor a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Counted from 1, as the server counts.
    pub(crate) number: usize,
    /// With the newline.
    pub(crate) span: Range<usize>,
}

impl Text {
    pub(crate) fn new(source: Vec<u8>, major: u16) -> Self {
        let mut entries = Vec::new();
        let mut is_complete = true;
        for line in Lines::new(&source, major) {
            is_complete = line.is_complete;
            if !line.is_boring() {
                entries.push(Entry {
                    number: line.number,
                    span: line.span,
                });
            }
        }
        Self {
            source,
            major,
            entries,
            is_complete,
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry on the line of that number.
    pub(crate) fn find(&self, number: usize) -> Option<usize> {
        self.entries
            .binary_search_by_key(&number, |entry| entry.number)
            .ok()
    }

    /// The line, with its continuation lines joined.
    pub(crate) fn line(&self, entry: &Entry) -> Line<'_> {
        let source = &self.source[..entry.span.end];
        let mut lines = Lines::resume(source, entry.span.start, entry.number, self.major);
        lines.next().expect("an entry is a line")
    }

    /// Inserts a line without a newline before the entry of that index, or at the end. Returns its
    /// number.
    pub(crate) fn insert(&mut self, before: usize, line: &[u8]) -> usize {
        let at = self
            .entries
            .get(before)
            .map_or(self.source.len(), |entry| entry.span.start);
        let mut text = Vec::with_capacity(line.len() + 4);
        if at == self.source.len() {
            // The last line may lack its newline, or end in a backslash that would join the two.
            text = self.completion();
        }
        let start = at + text.len();
        text.extend(line);
        text.extend(self.end_of_line());
        self.splice(at..at, &text);
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.span.start == start)
            .map_or(0, |entry| entry.number)
    }

    /// The bytes that the last line needs before another line can follow.
    fn completion(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut is_complete = self.is_complete;
        while !is_complete {
            text.extend(self.end_of_line());
            let start = self.entries.last().map_or(0, |entry| entry.span.start);
            let tail = [&self.source[start..], &text].concat();
            let last = Lines::new(&tail, self.major).last();
            is_complete = last.is_none_or(|line| line.is_complete);
        }
        text
    }

    fn end_of_line(&self) -> &'static [u8] {
        let first = memchr::memchr(b'\n', &self.source);
        if first.is_some_and(|at| self.source[..at].ends_with(b"\r")) {
            b"\r\n"
        } else {
            b"\n"
        }
    }

    /// Replaces the text of an entry and keeps its end. Returns its number.
    pub(crate) fn replace(&mut self, index: usize, line: &[u8]) -> usize {
        let entry = self.entries[index].clone();
        let end = self.end_of(&entry).len();
        self.splice(entry.span.start..entry.span.end - end, line);
        entry.number
    }

    /// The newline of an entry with the carriage returns before it.
    fn end_of(&self, entry: &Entry) -> &[u8] {
        let text = &self.source[entry.span.clone()];
        let is_complete = Lines::new(text, self.major)
            .last()
            .is_some_and(|line| line.is_complete);
        let kept = text.len()
            - text
                .iter()
                .rev()
                .take_while(|byte| b"\r\n".contains(byte))
                .count();
        if is_complete { &text[kept..] } else { b"" }
    }

    pub(crate) fn remove(&mut self, index: usize) {
        let span = self.entries[index].span.clone();
        self.splice(span, b"");
    }

    /// Puts `#` before the first token of an entry.
    pub(crate) fn comment_out(&mut self, index: usize) {
        let entry = &self.entries[index];
        let text = &self.source[entry.span.clone()];
        let blank = text
            .iter()
            .position(|&byte| !matches!(byte, b' ' | b'\t'))
            .unwrap_or(0);
        let at = entry.span.start + blank;
        self.splice(at..at, b"#");
    }

    fn splice(&mut self, range: Range<usize>, text: &[u8]) {
        let mut source = std::mem::take(&mut self.source);
        source.splice(range, text.iter().copied());
        *self = Self::new(source, self.major);
    }
}

/// The fields of a line as written, with their places.
pub(crate) fn fields(line: &[u8]) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut at = 0;
    let mut continues = false;
    while let Some(token) = scan::next_token(line, &mut at) {
        if continues {
            let field = fields.last_mut().expect("a field that goes on");
            field.written.push(b',');
            field.written.extend(&line[token.span.clone()]);
            field.span.end = token.span.end;
        } else {
            fields.push(Field {
                written: line[token.span.clone()].to_vec(),
                first: token.text(line).into_owned(),
                span: token.span.clone(),
            });
        }
        continues = token.comma;
    }
    fields
}

pub(crate) struct Field {
    /// Its tokens with their quotes, and commas between them.
    pub(crate) written: Vec<u8>,
    /// The first token without its quotes.
    pub(crate) first: Vec<u8>,
    pub(crate) span: Range<usize>,
}
