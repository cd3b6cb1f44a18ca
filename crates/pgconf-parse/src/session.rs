//! Many edits of one document with one index of its names and one rewrite of its text.

use std::cell::Cell;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memrchr};

use crate::commented::{self, Commented};
use crate::document::{Changed, Document, line_count};
use crate::edit::{Action, Change, Removal};
use crate::edit_error::{EditError, EditErrorKind};
use crate::line::{self, Spans};
use crate::name::{SettingName, same_name};
use crate::names::{Key, Names};
use crate::value::Value;

/// Edits of a [`Document`] that are made together; see [`Document::edit`].
#[derive(Debug)]
pub struct EditSession<'d> {
    document: &'d Document,
    /// The settings that were asked for so far.
    groups: Vec<Group>,
    live: Live<'d>,
    comments: Comments<'d>,
    rows: Vec<Row>,
    /// The texts of changed lines. One that was changed twice leaves its first text behind.
    texts: Vec<u8>,
    tail: Tail,
    deleted: Deleted,
}

/// A setting: its live lines and, if they were looked for, its commented-out ones.
#[derive(Debug)]
struct Group {
    /// In the order of the file.
    rows: Vec<usize>,
    knows_comments: bool,
}

/// A line that assigns to a setting, in a comment or not.
#[derive(Clone, Debug)]
struct Row {
    /// The line in the document, empty for one that was added.
    base: Range<usize>,
    /// The number it would have if nothing had been deleted.
    number: usize,
    /// Where its new text is, if it has one.
    text: Option<Range<usize>>,
    /// From the start of the line.
    spans: Spans,
    /// The number of `#` before it.
    depth: usize,
    deleted: bool,
}

impl Row {
    fn is_live(&self) -> bool {
        self.depth == 0 && !self.deleted
    }
}

/// The live assignments by their names.
#[derive(Debug)]
enum Live<'d> {
    /// Few settings are found sooner by looking at all of them.
    Unindexed(Vec<Key<'d>>),
    Indexed {
        names: Names<'d, Cell<Known>>,
        /// For each entry of the document the one before it that has its name.
        previous: Vec<u32>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Known {
    /// The last entry of that name.
    Entry(u32),
    Group(u32),
}

/// Of so many settings the lines are searched for without an index.
const FEW_LIVE: usize = 8;
const FEW_COMMENTED: usize = 2;

const NONE: u32 = u32::MAX;

/// The comments that look like assignments, by their names.
#[derive(Debug)]
enum Comments<'d> {
    Unindexed {
        searches: usize,
    },
    Indexed {
        last: Names<'d, u32>,
        found: Vec<Comment>,
    },
}

#[derive(Debug)]
struct Comment {
    line: Range<usize>,
    number: usize,
    previous: u32,
}

/// The end of the file, where lines are added.
#[derive(Debug, Default)]
struct Tail {
    /// What the last line of the document got as its end, which it lacked.
    end_of_last: &'static [u8],
    /// The lines that were added, deleted ones at its end left out.
    added: Vec<usize>,
    /// How many lines were added, deleted ones included.
    count: usize,
    /// The number of lines of the document, once it was counted.
    lines: Option<usize>,
}

impl<'d> EditSession<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self {
            document,
            groups: Vec::new(),
            live: Live::Unindexed(Vec::new()),
            comments: Comments::Unindexed { searches: 0 },
            rows: Vec::new(),
            texts: Vec::new(),
            tail: Tail::default(),
            deleted: Deleted::default(),
        }
    }

    /// As [`Document::set`].
    ///
    /// # Errors
    ///
    /// As [`Document::set`].
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value>,
    ) -> Result<Change, EditError> {
        let (name, value) = (name.as_ref(), value.into());
        check(name, &value)?;
        let group = self.group(name);
        let live = |session: &Self| {
            let rows = session.groups[group].rows.iter().rev();
            rows.copied().find(|&row| session.rows[row].is_live())
        };
        let (row, action) = if let Some(row) = live(self) {
            (row, Action::Edited)
        } else {
            self.find_comments(group, name);
            match self.best_commented_out(group) {
                Some(row) => (row, Action::Uncommented),
                None if self.document.abandoned_at().is_some() => {
                    return Err(EditError::new(name, EditErrorKind::Abandoned));
                }
                None => (self.append(group, name, &value), Action::Appended),
            }
        };
        let action = match action {
            Action::Edited if line::holds(self.text(row), &self.rows[row].spans, &value) => {
                Action::Unchanged
            }
            Action::Edited | Action::Uncommented => {
                self.revalue(row, &value);
                action
            }
            _ => action,
        };
        let number = self.rows[row].number;
        Ok(Change {
            action,
            line: number - self.deleted.before(number),
        })
    }

    /// As [`Document::remove`].
    pub fn remove(&mut self, name: impl AsRef<[u8]>, removal: Removal) -> usize {
        let name = name.as_ref();
        let group = self.group(name);
        let rows = self.groups[group].rows.iter().copied();
        let live: Vec<usize> = rows.filter(|&row| self.rows[row].is_live()).collect();
        let Some((&last, others)) = live.split_last() else {
            return 0;
        };
        match removal {
            Removal::Delete => live.iter().for_each(|&row| self.delete(row)),
            Removal::CommentOut => {
                self.find_comments(group, name);
                let depth = self.depth_for(group, last);
                others.iter().for_each(|&row| self.comment_out(row, 1));
                self.comment_out(last, depth);
            }
        }
        live.len()
    }

    /// The value that the document gives the setting after the edits so far.
    pub fn get(&mut self, name: impl AsRef<[u8]>) -> Option<Value> {
        let group = self.group(name.as_ref());
        let mut rows = self.groups[group].rows.iter().rev();
        let row = *rows.find(|&&row| self.rows[row].is_live())?;
        Some(line::value(self.text(row), &self.rows[row].spans))
    }

    /// The lines that have to be changed, in the order of the document.
    pub(crate) fn finish(mut self) -> (Vec<Changed>, Vec<u8>) {
        let mut changes: Vec<Changed> = self
            .rows
            .into_iter()
            .filter(|row| row.deleted || row.text.is_some())
            .map(|row| Changed {
                is_line: !row.deleted,
                assignment: (row.depth == 0 && !row.deleted).then_some(row.spans),
                text: row.text.filter(|_| !row.deleted).unwrap_or_default(),
                number: row.number,
                base: row.base,
            })
            .collect();
        if !self.tail.end_of_last.is_empty() && !self.deleted.contains(self.tail.lines.unwrap_or(0))
        {
            let (end, start) = (self.document.as_bytes().len(), self.texts.len());
            self.texts.extend(self.tail.end_of_last);
            changes.push(Changed {
                base: end..end,
                number: 0,
                text: start..self.texts.len(),
                is_line: false,
                assignment: None,
            });
        }
        changes.sort_by_key(|change| (change.base.start, change.number));
        // An added line is counted by those that were added before it and still are there.
        let lines = self.tail.lines.unwrap_or(0) + 1;
        for change in changes.iter_mut().filter(|change| change.base.is_empty()) {
            change.number = lines;
        }
        (changes, self.texts)
    }

    fn text(&self, row: usize) -> &[u8] {
        let row = &self.rows[row];
        match &row.text {
            Some(text) => &self.texts[text.clone()],
            None => &self.document.as_bytes()[row.base.clone()],
        }
    }

    fn revalue(&mut self, row: usize, value: &Value) {
        let mut text = Vec::new();
        let spans = line::revalue(self.text(row), &self.rows[row].spans, value, &mut text);
        self.replace(row, &text, spans);
        self.rows[row].depth = 0;
    }

    fn comment_out(&mut self, row: usize, depth: usize) {
        let mut text = Vec::new();
        let spans = line::comment_out(self.text(row), &self.rows[row].spans, depth, &mut text);
        self.replace(row, &text, spans);
        self.rows[row].depth = depth;
    }

    fn replace(&mut self, row: usize, text: &[u8], spans: Spans) {
        let start = self.texts.len();
        self.texts.extend(text);
        self.rows[row].text = Some(start..self.texts.len());
        self.rows[row].spans = spans;
    }

    fn delete(&mut self, row: usize) {
        self.rows[row].deleted = true;
        let lines = self.lines() + self.tail.count;
        self.deleted.add(self.rows[row].number, lines);
    }

    /// The lines of the setting, live ones at least.
    fn group(&mut self, name: &[u8]) -> usize {
        let document = self.document;
        let entries = document.entries();
        if let Live::Unindexed(known) = &self.live {
            if let Some(group) = known.iter().position(|key| same_name(&key.0, name)) {
                return group;
            }
            if known.len() == FEW_LIVE {
                self.index_live();
            }
        }
        let group = self.groups.len();
        let mut rows = Vec::new();
        let mut add = |number: usize| {
            let entry = &entries[number];
            let base = document.line_around(entry.name.start);
            let spans = Spans::of(base.start, &entry.name, &entry.value);
            rows.push(self.rows.len());
            self.rows.push(Row {
                base,
                number: entry.line,
                text: None,
                spans,
                depth: 0,
                deleted: false,
            });
        };
        match &mut self.live {
            Live::Unindexed(known) => {
                known.push(Key::owned(name));
                (0..entries.len())
                    .filter(|&entry| document.is_named(&entries[entry], name))
                    .for_each(add);
            }
            Live::Indexed { names, previous } => {
                let this = Known::Group(group as u32);
                // A shared reference, because the name need not live as long as the keys.
                let known = names.get(&Key::of(name));
                match known.map(Cell::get) {
                    Some(Known::Group(group)) => return group as usize,
                    Some(Known::Entry(mut entry)) => {
                        known.inspect(|known| known.set(this));
                        while entry != NONE {
                            add(entry as usize);
                            entry = previous[entry as usize];
                        }
                        rows.reverse();
                    }
                    None => {
                        names.insert(Key::owned(name), Cell::new(this));
                    }
                }
            }
        }
        self.groups.push(Group {
            rows,
            knows_comments: false,
        });
        group
    }

    fn index_live(&mut self) {
        let entries = self.document.entries();
        let mut names =
            Names::with_capacity_and_hasher(entries.len() + self.groups.len(), Default::default());
        let mut previous = vec![NONE; entries.len()];
        for (number, entry) in entries.iter().enumerate() {
            let key = Key::of(&self.document.as_bytes()[entry.name.clone()]);
            let before = names.insert(key, Cell::new(Known::Entry(number as u32)));
            if let Some(Known::Entry(before)) = before.map(Cell::into_inner) {
                previous[number] = before;
            }
        }
        let live = Live::Indexed { names, previous };
        let Live::Unindexed(known) = std::mem::replace(&mut self.live, live) else {
            return;
        };
        if let Live::Indexed { names, .. } = &mut self.live {
            for (group, key) in known.into_iter().enumerate() {
                names.insert(key, Cell::new(Known::Group(group as u32)));
            }
        }
    }

    /// Adds the commented-out lines of the setting to its group.
    fn find_comments(&mut self, group: usize, name: &[u8]) {
        if std::mem::replace(&mut self.groups[group].knows_comments, true) {
            return;
        }
        let found = self.comments.of(self.document, name);
        if found.is_empty() {
            return;
        }
        for (line, number, found) in found {
            let spans = Spans {
                marker: line::within(line.start, &found.marker),
                name: line::within(line.start, &found.name),
                value: line::within(line.start, &found.value),
            };
            self.groups[group].rows.push(self.rows.len());
            self.rows.push(Row {
                base: line,
                number,
                text: None,
                spans,
                depth: found.depth,
                deleted: false,
            });
        }
        let rows = &self.rows;
        let order = |row: &usize| (rows[*row].base.start, rows[*row].number);
        self.groups[group].rows.sort_by_key(order);
    }

    /// The one to be brought to life: see [`commented::depth`].
    fn best_commented_out(&self, group: usize) -> Option<usize> {
        let rows = self.groups[group].rows.iter().copied();
        rows.filter(|&row| !self.rows[row].deleted)
            .max_by_key(|&row| self.rows[row].depth)
    }

    /// How many `#` the last live line of a setting gets, all others being commented out.
    fn depth_for(&self, group: usize, last: usize) -> usize {
        let spans = &self.rows[last].spans;
        let between = &self.text(last)[spans.name.end..spans.value.start];
        let mut is_above = true;
        let others = self.groups[group].rows.iter().filter_map(|&row| {
            is_above &= row != last;
            let found = &self.rows[row];
            let is_comment = found.depth > 0 && !found.deleted;
            is_comment.then_some((found.depth, is_above))
        });
        commented::depth(memchr(b'=', between).is_some(), others)
    }

    /// Adds a line at the end.
    fn append(&mut self, group: usize, name: &[u8], value: &Value) -> usize {
        let end = self.end_of_line();
        let base = self.document.as_bytes().len();
        let number = self.lines() + self.tail.count + 1;
        let start = self.texts.len();
        let spans = line::added(name, value, end, &mut self.texts);
        let row = self.rows.len();
        self.rows.push(Row {
            base: base..base,
            number,
            text: Some(start..self.texts.len()),
            spans,
            depth: 0,
            deleted: false,
        });
        self.tail.count += 1;
        self.tail.added.push(row);
        self.groups[group].rows.push(row);
        row
    }

    /// How an added line ends: as the one before it does, which gets an end if it has none.
    fn end_of_line(&mut self) -> &'static [u8] {
        let deleted = |row: &usize| self.rows[*row].deleted;
        while self.tail.added.last().is_some_and(deleted) {
            self.tail.added.pop();
        }
        if let Some(&last) = self.tail.added.last() {
            return line_end(self.text(last));
        }
        let mut lines = self.lines();
        let mut source = self.document.as_bytes();
        let lacks_end = !source.is_empty() && !source.ends_with(b"\n");
        if lacks_end && !self.deleted.contains(lines) {
            let is_begun = source.ends_with(b"\r");
            if self.tail.end_of_last.is_empty() {
                (lines, source) = (lines - 1, without_last_line(source));
                let end = self.end_of_last_alive(lines, source);
                self.tail.end_of_last = if is_begun { b"\n" } else { end };
                return end;
            }
            return if is_begun {
                b"\r\n"
            } else {
                self.tail.end_of_last
            };
        }
        self.end_of_last_alive(lines, source)
    }

    /// The end of the last of so many lines that was not deleted.
    fn end_of_last_alive(&self, mut lines: usize, mut source: &[u8]) -> &'static [u8] {
        while self.deleted.contains(lines) {
            (lines, source) = (lines - 1, without_last_line(source));
        }
        line_end(source)
    }

    /// The number of lines of the document before the session.
    fn lines(&mut self) -> usize {
        let source = self.document.as_bytes();
        *self.tail.lines.get_or_insert_with(|| line_count(source))
    }
}

fn line_end(text: &[u8]) -> &'static [u8] {
    if text.ends_with(b"\r\n") {
        b"\r\n"
    } else {
        b"\n"
    }
}

fn without_last_line(source: &[u8]) -> &[u8] {
    let length = source.len().saturating_sub(1);
    &source[..memrchr(b'\n', &source[..length]).map_or(0, |newline| newline + 1)]
}

impl<'d> Comments<'d> {
    /// The commented-out assignments of that name with their lines and line numbers.
    fn of(&mut self, document: &'d Document, name: &[u8]) -> Vec<(Range<usize>, usize, Commented)> {
        let source = document.as_bytes();
        let source = &source[..document.abandoned_at().unwrap_or(source.len())];
        let mut found = Vec::new();
        let mut add = |line: Range<usize>, number| {
            if let Some(comment) = commented::find(source, line.start, line.end) {
                if same_name(&source[comment.name.clone()], name) {
                    found.push((line, number, comment));
                }
            }
        };
        if let Self::Unindexed { searches } = self {
            *searches += 1;
            if *searches <= FEW_COMMENTED {
                for_each_name(source, |found, line, number| {
                    if same_name(found, name) {
                        add(line, number);
                    }
                });
                return found;
            }
            *self = Self::index(source);
        }
        if let Self::Indexed { last, found } = self {
            let mut next = last.get(&Key::of(name)).copied().unwrap_or(NONE);
            while next != NONE {
                let comment = &found[next as usize];
                add(comment.line.clone(), comment.number);
                next = comment.previous;
            }
        }
        found
    }

    fn index(source: &'d [u8]) -> Self {
        let mut last = Names::default();
        let mut found = Vec::new();
        for_each_name(source, |name, line, number| {
            let this = found.len() as u32;
            let previous = last.insert(Key::of(name), this).unwrap_or(NONE);
            found.push(Comment {
                line,
                number,
                previous,
            });
        });
        Self::Indexed { last, found }
    }
}

/// Calls `then` with each name that may be that of a commented-out assignment, its line and the
/// number of that.
fn for_each_name<'d>(source: &'d [u8], mut then: impl FnMut(&'d [u8], Range<usize>, usize)) {
    let (mut start, mut number) = (0, 0);
    let ends = memchr_iter(b'\n', source).map(|newline| newline + 1);
    for end in ends.chain([source.len()]) {
        number += 1;
        if let Some(name) = commented::name(&source[..end], start) {
            then(name, start..end, number);
        }
        start = end;
    }
}

/// Refuses names and values that no file can express.
pub(crate) fn check(name: &[u8], value: &Value) -> Result<(), EditError> {
    let kind = match SettingName::check(name) {
        Err(problem) => EditErrorKind::Name(problem),
        Ok(()) if memchr(0, value.as_bytes()).is_some() => EditErrorKind::Nul,
        Ok(()) => return Ok(()),
    };
    Err(EditError::new(name, kind))
}

/// The numbers of the lines that were deleted, in a Fenwick tree: counting those before a line
/// takes time logarithmic in the number of lines.
#[derive(Debug, Default)]
struct Deleted(Vec<u32>);

impl Deleted {
    fn add(&mut self, number: usize, lines: usize) {
        for n in self.0.len() + 1..=lines {
            let low = n & n.wrapping_neg();
            self.0
                .push((self.up_to(n - 1) - self.up_to(n - low)) as u32);
        }
        let mut n = number;
        while let Some(count) = self.0.get_mut(n - 1) {
            *count += 1;
            n += n & n.wrapping_neg();
        }
    }

    /// How many of the first so many lines were deleted.
    fn up_to(&self, number: usize) -> usize {
        let mut n = number.min(self.0.len());
        let mut sum = 0;
        while n > 0 {
            sum += self.0[n - 1] as usize;
            n &= n - 1;
        }
        sum
    }

    fn before(&self, number: usize) -> usize {
        self.up_to(number - 1)
    }

    fn contains(&self, number: usize) -> bool {
        number > 0 && self.up_to(number) > self.up_to(number - 1)
    }
}
