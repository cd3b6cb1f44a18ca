//! Sessions of edits that share one index of names and rewrite the text once.

// Long, because a session is one algorithm over one index.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memrchr};

use crate::document::commented;
use crate::document::edit::{Action, Change, Removal};
use crate::document::error::{EditError, EditErrorKind};
use crate::document::line::{self, Spans};
use crate::document::names::{NONE, Names};
use crate::document::rewrite::{Changed, Kind};
use crate::document::text::{Document, Entry, line_count};
use crate::syntax::name::{SettingName, same_name};
use crate::syntax::quote;
use crate::value::written::Value;

/// A session of edits that are applied together; see [`Document::edit`].
///
/// ```
/// use pgconf_parse::{Document, EditError, Removal};
///
/// let mut doc = Document::parse("max_connections = 100\nfsync = off\n");
/// doc.edit(|session| {
///     let connections = session.get("max_connections").map(|value| value.to_str_lossy().parse());
///     if let Some(Ok(connections)) = connections {
///         session.set("max_connections", 2_u32.saturating_mul(connections))?;
///     }
///     session.remove("fsync", Removal::Delete);
///     assert!(session.get("fsync").is_none()); // the session sees its own edits
///     Ok::<(), EditError>(())
/// })?;
/// assert_eq!(doc.to_string(), "max_connections = 200\n");
/// # Ok::<(), pgconf_parse::EditError>(())
/// ```
#[derive(Debug)]
pub struct EditSession<'d> {
    document: &'d Document,
    /// The settings that were read or changed so far.
    groups: Vec<Group>,
    live: Option<Live>,
    comments: Comments,
    rows: Vec<Row>,
    /// The names of the groups, and the texts of changed lines. The first text of a line that was
    /// changed twice remains here unused.
    texts: Vec<u8>,
    tail: Tail,
    deleted: Deleted,
}

/// A setting: its live lines, in the order of the file. The commented-out lines are included once
/// they have been searched for.
#[derive(Debug)]
struct Group {
    name: Range<usize>,
    first: u32,
    last: u32,
    knows_comments: bool,
}

/// An assignment to a setting, live or commented out.
#[derive(Debug)]
struct Row {
    /// The line number does not account for deleted lines. The text is empty until the line is
    /// changed.
    line: Changed,
    /// The number of `#` before the assignment.
    depth: usize,
    /// The next row of the same setting.
    next: u32,
}

impl Row {
    fn is_live(&self) -> bool {
        self.line.kind == Kind::Live
    }
}

/// The live assignments by name.
#[derive(Debug)]
struct Live {
    /// The index of the last entry of the document with that name. Values from the number of
    /// entries on are indexes of groups.
    names: Names,
    /// For each entry of the document, the previous entry with the same name.
    previous: Vec<u32>,
}

/// The numbers of settings that are searched for without an index: of the live assignments, and of
/// the commented-out ones.
const FEW_LIVE: usize = 4;
const FEW_COMMENTED: usize = 1;

/// The comments that look like assignments, by name.
#[derive(Debug, Default)]
struct Comments {
    searches: usize,
    index: Option<(Names, Vec<Comment>)>,
}

#[derive(Debug)]
struct Comment {
    start: usize,
    number: usize,
    previous: u32,
}

/// The end of the file, where lines are added.
#[derive(Debug, Default)]
struct Tail {
    /// The line end that was added to the last line of the document, which lacked one.
    end_of_last: &'static [u8],
    /// The added lines. Deleted lines are dropped from the end.
    added: Vec<usize>,
    /// The number of added lines, deleted ones included.
    count: usize,
    /// The number of lines of the document. `None` until it is first needed.
    lines: Option<usize>,
}

impl<'d> EditSession<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self {
            document,
            groups: Vec::new(),
            live: None,
            comments: Comments::default(),
            rows: Vec::new(),
            texts: Vec::with_capacity(256),
            tail: Tail::default(),
            deleted: Deleted::default(),
        }
    }

    /// Sets a setting as [`Document::set`] does.
    ///
    /// # Errors
    ///
    /// Fails as [`Document::set`] does.
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value>,
    ) -> Result<Change, EditError> {
        let (name, value) = (name.as_ref(), value.into());
        check(name, &value)?;
        let group = self.group(name);
        if let Some(row) = self.live_row(group) {
            if line::holds(self.text(row), &self.rows[row].line.spans, &value) {
                return Ok(self.change(row, Action::Unchanged));
            }
            self.rewrite(row, |line, spans, text| {
                line::revalue(line, spans, &value, text)
            });
            return Ok(self.change(row, Action::Edited));
        }
        self.find_comments(group, name);
        if let Some(row) = self.best_commented_out(group) {
            let is_same = line::holds(self.text(row), &self.rows[row].line.spans, &value);
            self.rewrite(row, |line, spans, text| match is_same {
                true => line::uncomment(line, spans, text),
                false => line::revalue(line, spans, &value, text),
            });
            self.rows[row].depth = 0;
            self.rows[row].line.kind = Kind::Live;
            return Ok(self.change(row, Action::Uncommented));
        }
        if self.document.abandoned_at().is_some() {
            return Err(EditError::new(name, EditErrorKind::Abandoned));
        }
        let row = self.append(group, name, &value);
        Ok(self.change(row, Action::Appended))
    }

    /// Removes a setting as [`Document::remove`] does.
    pub fn remove(&mut self, name: impl AsRef<[u8]>, removal: Removal) -> usize {
        let name = name.as_ref();
        let group = self.group(name);
        let Some(last) = self.live_row(group) else {
            return 0;
        };
        let depth = match removal {
            Removal::CommentOut => {
                self.find_comments(group, name);
                self.depth_for(group, last)
            }
            Removal::Delete => 0,
        };
        let mut count = 0;
        let mut next = self.groups[group].first;
        while let Some(found) = self.rows.get(next as usize) {
            let row = next as usize;
            next = found.next;
            if !found.is_live() {
                continue;
            }
            count += 1;
            match removal {
                Removal::Delete => self.delete(row),
                Removal::CommentOut => self.comment_out(row, if row == last { depth } else { 1 }),
            }
        }
        count
    }

    /// Returns the value of the setting after the edits made so far.
    pub fn get(&mut self, name: impl AsRef<[u8]>) -> Option<Value> {
        let group = self.group(name.as_ref());
        let row = self.live_row(group)?;
        let raw = self.rows[row].line.spans.value(self.text(row));
        Some(Value::from(&*quote::unquote(raw)))
    }

    /// Returns the changed lines in the order of the document, and the buffer of their texts.
    pub(crate) fn finish(mut self) -> (Vec<Changed>, Vec<u8>) {
        let is_changed = |line: &Changed| line.kind == Kind::Deleted || !line.text.is_empty();
        let rows = self.rows.into_iter().map(|row| row.line);
        let mut changes: Vec<Changed> = rows.filter(is_changed).collect();
        let lines = self.tail.lines.unwrap_or(0);
        if !self.tail.end_of_last.is_empty() && !self.deleted.contains(lines) {
            let (end, start) = (self.document.as_bytes().len(), self.texts.len());
            self.texts.extend(self.tail.end_of_last);
            changes.push(Changed {
                base: end..end,
                number: lines,
                text: start..self.texts.len(),
                spans: Spans::default(),
                kind: Kind::EndOfLine,
            });
        }
        let order = |change: &Changed| (change.base.start, change.number);
        if !changes.is_sorted_by_key(order) {
            changes.sort_by_key(order);
        }
        // `rewrite` counts the lines added before, so each added line starts from the same number.
        let added = changes.iter_mut().rev();
        for change in added.take_while(|change| change.base.is_empty()) {
            change.number = lines + 1;
        }
        (changes, self.texts)
    }

    fn change(&self, row: usize, action: Action) -> Change {
        let number = self.rows[row].line.number;
        let line = number - self.deleted.before(number);
        Change { action, line }
    }

    fn text(&self, row: usize) -> &[u8] {
        let line = &self.rows[row].line;
        match line.text.is_empty() {
            true => &self.document.as_bytes()[line.base.clone()],
            false => &self.texts[line.text.clone()],
        }
    }

    fn rewrite(&mut self, row: usize, write: impl FnOnce(&[u8], &Spans, &mut Vec<u8>) -> Spans) {
        let start = self.texts.len();
        let line = &mut self.rows[row].line;
        line.spans = if line.text.is_empty() {
            let text = &self.document.as_bytes()[line.base.clone()];
            write(text, &line.spans, &mut self.texts)
        } else {
            let text = self.texts[line.text.clone()].to_vec();
            write(&text, &line.spans, &mut self.texts)
        };
        line.text = start..self.texts.len();
    }

    fn comment_out(&mut self, row: usize, depth: usize) {
        self.rewrite(row, |line, spans, text| {
            line::comment_out(line, spans, depth, text)
        });
        self.rows[row].depth = depth;
        self.rows[row].line.kind = Kind::Comment;
    }

    fn delete(&mut self, row: usize) {
        let lines = self.lines() + self.tail.count;
        let line = &mut self.rows[row].line;
        line.kind = Kind::Deleted;
        line.text = 0..0;
        self.deleted.add(line.number, lines);
    }

    /// Returns the group of the setting, with at least its live lines.
    fn group(&mut self, name: &[u8]) -> usize {
        let document = self.document;
        let entries = document.entries();
        let this = self.groups.len();
        if self.live.is_none() {
            let is_it = |group: &Group| same_name(&self.texts[group.name.clone()], name);
            if let Some(group) = self.groups.iter().position(is_it) {
                return group;
            }
            // A short file is searched quickly without an index.
            if this >= FEW_LIVE && this * this.max(entries.len()) > 100 * FEW_LIVE {
                self.index_live();
            }
        }
        let start = self.texts.len();
        let mut group = Group {
            name: start..start + name.len(),
            first: NONE,
            last: NONE,
            knows_comments: false,
        };
        if let Some(live) = &mut self.live {
            let is_it = is_named(document, &self.groups, &self.texts, name);
            let is_group = |number: &u32| *number as usize >= entries.len();
            let new = (entries.len() + this) as u32;
            let before = live
                .names
                .update(name, is_it, |before| before.filter(is_group).unwrap_or(new));
            let mut entry = before.unwrap_or(NONE);
            if before.is_some_and(|number| is_group(&number)) {
                return entry as usize - entries.len();
            }
            while let Some(found) = entries.get(entry as usize) {
                let row = self.rows.len() as u32;
                self.rows.push(Row::live(document, found, group.first));
                group.first = row;
                group.last = if group.last == NONE { row } else { group.last };
                entry = live.previous[entry as usize];
            }
        } else {
            let named = entries
                .iter()
                .rev()
                .filter(|entry| document.is_named(entry, name));
            for entry in named {
                let row = self.rows.len() as u32;
                self.rows.push(Row::live(document, entry, group.first));
                group.first = row;
                group.last = if group.last == NONE { row } else { group.last };
            }
        }
        self.texts.extend(name);
        self.groups.push(group);
        this
    }

    /// Returns the row in effect, which is the last live one.
    fn live_row(&self, group: usize) -> Option<usize> {
        self.rows_of(group)
            .filter(|&row| self.rows[row].is_live())
            .last()
    }

    fn rows_of(&self, group: usize) -> impl Iterator<Item = usize> {
        let next = |number: u32| (number != NONE).then_some(number as usize);
        std::iter::successors(next(self.groups[group].first), move |&row| {
            next(self.rows[row].next)
        })
    }

    fn push(&mut self, group: usize, row: Row) -> usize {
        let number = self.rows.len();
        self.rows.push(row);
        let group = &mut self.groups[group];
        match self.rows.get_mut(group.last as usize) {
            Some(last) => last.next = number as u32,
            None => group.first = number as u32,
        }
        group.last = number as u32;
        number
    }

    fn index_live(&mut self) {
        let (document, entries) = (self.document, self.document.entries());
        let mut names = Names::with_capacity(entries.len() + self.groups.len());
        let mut previous = vec![NONE; entries.len()];
        let is_it = |name| is_named(document, &self.groups, &self.texts, name);
        for (number, entry) in entries.iter().enumerate() {
            let name = &document.as_bytes()[entry.name.clone()];
            if let Some(before) = names.insert(name, number as u32, is_it(name)) {
                previous[number] = before;
            }
        }
        for (group, known) in self.groups.iter().enumerate() {
            let name = &self.texts[known.name.clone()];
            names.insert(name, (entries.len() + group) as u32, is_it(name));
        }
        self.rows.reserve(entries.len());
        self.live = Some(Live { names, previous });
    }

    /// Adds the commented-out lines of the setting to its group.
    fn find_comments(&mut self, group: usize, name: &[u8]) {
        if std::mem::replace(&mut self.groups[group].knows_comments, true) {
            return;
        }
        let document = self.document;
        let source = document.as_bytes();
        let source = &source[..document.abandoned_at().unwrap_or(source.len())];
        let first = self.rows.len();
        let mut comments = std::mem::take(&mut self.comments);
        comments.find(source, name, |start, number| {
            let rest = &source[start..];
            let end = memchr(b'\n', rest).map_or(source.len(), |newline| start + newline + 1);
            let Some(found) = commented::find(source, start, end) else {
                return;
            };
            let row = Row {
                line: Changed {
                    base: start..end,
                    number,
                    text: 0..0,
                    spans: Spans {
                        marker: found.marker.start - start,
                        ..Spans::of(start, &found.name, &found.value)
                    },
                    kind: Kind::Comment,
                },
                depth: found.depth,
                next: NONE,
            };
            self.push(group, row);
        });
        self.comments = comments;
        if self.rows.len() > first {
            self.sort(group);
        }
    }

    /// Sorts the rows of the group by their place in the file.
    fn sort(&mut self, group: usize) {
        let place = |&row: &usize| {
            let line = &self.rows[row].line;
            (line.base.start, line.number)
        };
        if self.rows_of(group).is_sorted_by_key(|row| place(&row)) {
            return;
        }
        let mut rows: Vec<usize> = self.rows_of(group).collect();
        rows.sort_by_key(place);
        for pair in rows.windows(2) {
            self.rows[pair[0]].next = pair[1] as u32;
        }
        let (first, last) = (rows[0], rows[rows.len() - 1]);
        self.rows[last].next = NONE;
        (self.groups[group].first, self.groups[group].last) = (first as u32, last as u32);
    }

    /// Returns the commented-out row that `set` uncomments; see [`commented::depth`].
    fn best_commented_out(&self, group: usize) -> Option<usize> {
        self.rows_of(group)
            .filter(|&row| self.is_commented_out(row))
            .max_by_key(|&row| self.rows[row].depth)
    }

    /// Returns the number of `#` for the last live line of a setting when all its lines are
    /// commented out.
    fn depth_for(&self, group: usize, last: usize) -> usize {
        let mut is_above = true;
        let others = self.rows_of(group).filter_map(|row| {
            is_above &= row != last;
            let depth = self.rows[row].depth;
            self.is_commented_out(row).then_some((depth, is_above))
        });
        commented::depth(self.has_equals(last), others)
    }

    /// Returns whether [`commented::find`] would find the line. A line that this session commented
    /// out with a single `#` and without an equals sign could be prose, and is not found.
    fn is_commented_out(&self, row: usize) -> bool {
        let found = &self.rows[row];
        found.line.kind == Kind::Comment && (found.depth > 1 || self.has_equals(row))
    }

    fn has_equals(&self, row: usize) -> bool {
        let spans = &self.rows[row].line.spans;
        let between = &self.text(row)[spans.name.1..spans.value.0];
        memchr(b'=', between).is_some()
    }

    /// Adds a line at the end.
    fn append(&mut self, group: usize, name: &[u8], value: &Value) -> usize {
        let end = self.end_of_line();
        let base = self.document.as_bytes().len();
        let number = self.lines() + self.tail.count + 1;
        let start = self.texts.len();
        let spans = line::added(name, value, end, &mut self.texts);
        let row = Row {
            line: Changed {
                base: base..base,
                number,
                text: start..self.texts.len(),
                spans,
                kind: Kind::Live,
            },
            depth: 0,
            next: NONE,
        };
        let row = self.push(group, row);
        self.tail.count += 1;
        self.tail.added.push(row);
        row
    }

    /// Returns the end of an added line, which is that of the line before it. If the line before
    /// lacks an end, it is recorded to be added.
    fn end_of_line(&mut self) -> &'static [u8] {
        let deleted = |row: &usize| self.rows[*row].line.kind == Kind::Deleted;
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

    /// Returns the end of the last line of `source`, which has `lines` lines, that was not deleted.
    fn end_of_last_alive(&self, mut lines: usize, mut source: &[u8]) -> &'static [u8] {
        while self.deleted.contains(lines) {
            (lines, source) = (lines - 1, without_last_line(source));
        }
        line_end(source)
    }

    /// Returns the number of lines of the document before the session.
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

/// Returns a function that compares the name of an entry of the document, or of a group, with
/// `name`. Numbers of groups follow those of the entries.
fn is_named(
    document: &Document,
    groups: &[Group],
    texts: &[u8],
    name: &[u8],
) -> impl Fn(u32) -> bool {
    let entries = document.entries();
    move |number| match entries.get(number as usize) {
        Some(entry) => document.is_named(entry, name),
        None => {
            let group = groups.get(number as usize - entries.len());
            group.is_some_and(|group| same_name(&texts[group.name.clone()], name))
        }
    }
}

impl Row {
    fn live(document: &Document, entry: &Entry, next: u32) -> Self {
        let (source, start) = (document.as_bytes(), entry.line_start);
        let rest = &source[entry.value.end..];
        let end = memchr(b'\n', rest).map_or(source.len(), |n| entry.value.end + n + 1);
        Self {
            line: Changed {
                base: start..end,
                number: entry.line,
                text: 0..0,
                spans: Spans::of(start, &entry.name, &entry.value),
                kind: Kind::Live,
            },
            depth: 0,
            next,
        }
    }
}

impl Comments {
    /// Calls `add` with the offset and the number of each line that may be a commented-out
    /// assignment of `name`.
    fn find(&mut self, source: &[u8], name: &[u8], mut add: impl FnMut(usize, usize)) {
        self.searches += 1;
        if self.searches <= FEW_COMMENTED {
            for_each_name(source, |found, start, number| {
                if same_name(found, name) {
                    add(start, number);
                }
            });
            return;
        }
        let (names, found) = self.index.get_or_insert_with(|| index_comments(source));
        let is_it = |number: u32| found[number as usize].is_named(source, name);
        let mut next = names.get(name, is_it).unwrap_or(NONE);
        while let Some(comment) = found.get(next as usize) {
            add(comment.start, comment.number);
            next = comment.previous;
        }
    }
}

impl Comment {
    fn is_named(&self, source: &[u8], name: &[u8]) -> bool {
        commented::name(source, self.start).is_some_and(|found| same_name(found, name))
    }
}

fn index_comments(source: &[u8]) -> (Names, Vec<Comment>) {
    // About half of the lines that `initdb` writes are commented-out settings of about 40 bytes.
    let mut names = Names::with_capacity(source.len() / 80);
    let mut found: Vec<Comment> = Vec::with_capacity(source.len() / 80);
    for_each_name(source, |name, start, number| {
        let is_it = |number: u32| found[number as usize].is_named(source, name);
        let previous = names.insert(name, found.len() as u32, is_it);
        found.push(Comment {
            start,
            number,
            previous: previous.unwrap_or(NONE),
        });
    });
    (names, found)
}

/// Calls `then` for each line that may be a commented-out assignment, with its name and the offset
/// and number of the line.
fn for_each_name<'d>(source: &'d [u8], mut then: impl FnMut(&'d [u8], usize, usize)) {
    let (mut start, mut number) = (0, 0);
    let ends = memchr_iter(b'\n', source).map(|newline| newline + 1);
    for end in ends.chain([source.len()]) {
        number += 1;
        let may_be_comment = matches!(source.get(start), Some(b'#' | b' ' | b'\t' | b'\r'));
        if !may_be_comment {
            start = end;
            continue;
        }
        if let Some(name) = commented::name(&source[..end], start) {
            then(name, start, number);
        }
        start = end;
    }
}

/// Rejects names and values that the file format cannot express.
#[inline]
pub(crate) fn check(name: &[u8], value: &Value) -> Result<(), EditError> {
    let kind = match SettingName::check(name) {
        Err(problem) => EditErrorKind::Name(problem),
        Ok(()) if memchr(0, value.as_bytes()).is_some() => EditErrorKind::Nul,
        Ok(()) if value.is_nan() => EditErrorKind::NotANumber,
        Ok(()) => return Ok(()),
    };
    Err(EditError::new(name, kind))
}

/// The deleted lines as a Fenwick tree: the number of deleted lines before a given line is counted
/// in time logarithmic in the number of lines.
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

    /// Returns how many of the first `number` lines were deleted.
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
