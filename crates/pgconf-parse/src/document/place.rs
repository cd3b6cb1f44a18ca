//! Places for new lines.

use memchr::{memchr, memrchr};

use crate::document::text::Document;

/// The place at which [`Document::append`] adds its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place<'a> {
    /// At the end of the file.
    End,
    /// Below the last assignment of that name. If there is none, below the last commented-out one.
    After(&'a str),
    /// At the end of the section with that heading, compared without regard to ASCII case.
    /// A heading is a comment between two lines of dashes, such as `RESOURCE USAGE (except WAL)`,
    /// or a subsection, such as `Memory` in `# - Memory -`.
    Section(&'a str),
}

impl Document {
    /// Returns the offset at which a new line is inserted: the start of a line, or the end of the
    /// document. Returns `None` if there is no such place.
    pub(crate) fn find(&self, place: Place<'_>) -> Option<usize> {
        match place {
            Place::End => Some(self.as_bytes().len()),
            Place::After(name) => {
                let at = match self.get(name) {
                    Some(live) => live.span().start,
                    None => self.last_commented_out(name.as_bytes())?,
                };
                Some(self.line_around(at).end)
            }
            Place::Section(title) => end_of_section(self.as_bytes(), title.as_bytes()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Between two lines of dashes.
    Section,
    /// `# - Title -`
    Subsection,
}

fn end_of_section(source: &[u8], title: &[u8]) -> Option<usize> {
    let mut inside = None;
    let mut text_ends = 0;
    let mut at = 0;
    while at < source.len() {
        let end = end_of_line(source, at);
        match (inside, heading(source, at, end)) {
            (None, Some((level, found))) if found.eq_ignore_ascii_case(title) => {
                inside = Some(level);
            }
            (Some(own), Some((level, _))) if level <= own => break,
            _ => {}
        }
        let line = source[at..end].trim_ascii();
        // The line of dashes above a heading belongs to the next section.
        if inside.is_some() && is_rule(line) && section_begins(source, end) {
            break;
        }
        if !line.is_empty() {
            text_ends = end;
        }
        at = end;
    }
    inside.map(|_| text_ends)
}

/// Returns whether the line at `at`, which follows a line of dashes, is the heading of a section.
fn section_begins(source: &[u8], at: usize) -> bool {
    heading(source, at, end_of_line(source, at)).is_some_and(|(level, _)| level == Level::Section)
}

/// Returns the level and the title if the line is a heading.
fn heading(source: &[u8], start: usize, end: usize) -> Option<(Level, &[u8])> {
    let text = source[start..end]
        .trim_ascii()
        .strip_prefix(b"#")?
        .trim_ascii();
    if let Some(title) = text
        .strip_prefix(b"- ")
        .and_then(|text| text.strip_suffix(b" -"))
    {
        let title = title.trim_ascii();
        return (!title.is_empty()).then_some((Level::Subsection, title));
    }
    let above = {
        let end = start.checked_sub(1)?;
        let start = memrchr(b'\n', &source[..end]).map_or(0, |n| n + 1);
        &source[start..end]
    };
    let below = &source[end..end_of_line(source, end)];
    let enclosed = is_rule(above.trim_ascii()) && is_rule(below.trim_ascii());
    (enclosed && !is_rule(text) && !text.is_empty()).then_some((Level::Section, text))
}

/// Returns the offset after the newline that ends the line at `at`.
fn end_of_line(source: &[u8], at: usize) -> usize {
    memchr(b'\n', &source[at..]).map_or(source.len(), |n| at + n + 1)
}

/// Returns whether the line consists of `#` and dashes: `#-----`.
fn is_rule(line: &[u8]) -> bool {
    match line.strip_prefix(b"#") {
        Some(dashes) => dashes.len() >= 3 && dashes.trim_ascii().iter().all(|&byte| byte == b'-'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# preface
#------
# FIRST
#------

# - Memory -

#work_mem = 4MB
\t# min 64kB

# - Disk -
#temp_file_limit = -1

#------
# SECOND
#------
port = 1

# end";

    #[test]
    fn a_section_ends_before_the_next_one_of_its_level() {
        for (title, line_before) in [
            ("first", Some("#temp_file_limit = -1\n")),
            ("Memory", Some("\t# min 64kB\n")),
            ("Disk", Some("#temp_file_limit = -1\n")),
            ("SECOND", Some("# end")),
            ("Third", None),
            ("", None),
        ] {
            let found = end_of_section(FILE.as_bytes(), title.as_bytes());
            match line_before {
                Some(line) => assert!(FILE[..found.unwrap()].ends_with(line), "{title}"),
                None => assert_eq!(found, None, "{title}"),
            }
        }
    }
}
