//! Where in a file a new line belongs.

use memchr::{memchr, memrchr};

use crate::document::Document;

/// Where [`Document::append`] puts its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place<'a> {
    /// At the end of the file.
    End,
    /// Below the last assignment of that name, or the last commented-out one if there is none.
    After(&'a str),
    /// At the end of the section with that heading, compared without regard to ASCII case:
    /// `RESOURCE USAGE (except WAL)` between two lines of dashes, or `Memory` in `# - Memory -`.
    Section(&'a str),
}

impl Document {
    /// The start of the line before which a new one has to be put, or the end of the document;
    /// `None` if there is no such place.
    pub(crate) fn find(&self, place: Place<'_>) -> Option<usize> {
        match place {
            Place::End => Some(self.as_bytes().len()),
            Place::After(name) => {
                let at = match self.get(name) {
                    Some(live) => live.span().start,
                    None => self.last_commented_out(name.as_bytes())?.0,
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
    let mut last_text = 0;
    let mut at = 0;
    while at < source.len() {
        let end = memchr(b'\n', &source[at..]).map_or(source.len(), |n| at + n + 1);
        if let Some((level, found)) = heading(source, at, end) {
            match inside {
                None if found.eq_ignore_ascii_case(title) => inside = Some(level),
                Some(own) if level <= own => return Some(last_text),
                _ => {}
            }
        }
        let line = source[at..end].trim_ascii();
        // The dashes above a heading belong to it, and are not the end of what is before.
        if !line.is_empty() && !is_rule(line) || inside.is_none() {
            last_text = end;
        } else if is_rule(line) && inside.is_some() && heading_follows(source, end) {
            return Some(last_text);
        } else if is_rule(line) {
            last_text = end;
        }
        at = end;
    }
    inside.map(|_| last_text)
}

/// Whether the line at `at` is followed by a line of dashes.
fn heading_follows(source: &[u8], at: usize) -> bool {
    let end = memchr(b'\n', &source[at..]).map_or(source.len(), |n| at + n + 1);
    heading(source, at, end).is_some_and(|(level, _)| level == Level::Section)
}

/// The heading that the line is, if it is one.
fn heading(source: &[u8], start: usize, end: usize) -> Option<(Level, &[u8])> {
    let text = source[start..end]
        .trim_ascii()
        .strip_prefix(b"#")?
        .trim_ascii();
    if let Some(title) = text
        .strip_prefix(b"- ")
        .and_then(|text| text.strip_suffix(b" -"))
    {
        return Some((Level::Subsection, title.trim_ascii()));
    }
    let above = {
        let end = start.checked_sub(1)?;
        let start = memrchr(b'\n', &source[..end]).map_or(0, |n| n + 1);
        &source[start..end]
    };
    let below = &source[end..];
    let below = &below[..memchr(b'\n', below).unwrap_or(below.len())];
    let enclosed = is_rule(above.trim_ascii()) && is_rule(below.trim_ascii());
    (enclosed && !is_rule(text) && !text.is_empty()).then_some((Level::Section, text))
}

/// `#-----`
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
    fn a_section_ends_before_the_next_of_its_level() {
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
