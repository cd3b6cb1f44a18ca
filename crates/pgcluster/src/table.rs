//! Tables with aligned columns.

use anstyle::Style;

use crate::words::{BOLD, PLAIN, harmless, paint};

/// A text and its style.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: harmless(&text.into()),
            style,
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text.to_string(), PLAIN)
    }
}

/// The rows under a header, two spaces between columns, none at the end of a line.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[Cell; N]>) -> String {
    let header = header.map(|name| Cell::styled(name, BOLD));
    aligned(std::iter::once(header).chain(rows).collect())
}

/// Names and values, without a header.
pub(crate) fn list(rows: Vec<(&str, Cell)>) -> String {
    let rows = rows
        .into_iter()
        .map(|(name, value)| [Cell::styled(name, BOLD), value]);
    aligned(rows.collect())
}

fn aligned<const N: usize>(rows: Vec<[Cell; N]>) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].text.chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let last = row.iter().rposition(|cell| !cell.text.is_empty());
        for (n, cell) in row.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            text.push_str(&paint(cell.style, &cell.text));
            if Some(n) != last {
                let padding = widths[n] - cell.text.chars().count() + 2;
                text.push_str(&" ".repeat(padding));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let rows = vec![
            ["16.3".into(), "ready".into(), Cell::from("")],
            ["9.6".into(), "".into(), "größer".into()],
        ];
        let text = table(["V", "STATE", "X"], rows);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "V     STATE  X\n16.3  ready\n9.6          größer\n");
    }

    #[test]
    fn a_cell_commands_no_terminal_and_begins_no_line() {
        let evil = "/tmp/\u{1b}]0;title\u{7}\n15  ready\u{9b}2J";
        let text = table(["DIRECTORY"], vec![[evil.into()]]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        let row = r"/tmp/\u{1b}]0;title\u{7}\n15  ready\u{9b}2J";
        assert_eq!(plain, format!("DIRECTORY\n{row}\n"));
        assert!(!text.contains("\u{1b}]"), "{text:?}");
    }
}
