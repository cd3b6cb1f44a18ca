//! Lines written in columns, like their neighbors.

/// The places of the columns of a line, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    starts: Vec<(usize, usize)>,
    indentation: Vec<u8>,
    has_tabs: bool,
}

impl Columns {
    /// Fixed columns, for a file without a line to follow.
    pub(crate) fn fixed(starts: &[(usize, usize)]) -> Self {
        Self {
            starts: starts.to_vec(),
            ..Self::default()
        }
    }

    /// The columns of a line. Each has a number and the byte at which it begins.
    pub(crate) fn of(line: &[u8], starts: impl Iterator<Item = (usize, usize)>) -> Self {
        let starts: Vec<_> = starts.collect();
        let first = starts.first().map_or(0, |&(_, at)| at);
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let has_blanks = line[..first].iter().all(is_blank);
        Self {
            has_tabs: line.contains(&b'\t') && !line.windows(2).any(|two| two == b"  "),
            indentation: if has_blanks {
                line[..first].to_vec()
            } else {
                Vec::new()
            },
            starts: starts
                .into_iter()
                .map(|(n, at)| (n, width(&line[..at])))
                .collect(),
        }
    }

    /// Writes fields, each with the number of its column.
    pub(crate) fn write(&self, fields: &[(usize, Vec<u8>)]) -> Vec<u8> {
        let mut line = self.indentation.clone();
        for (n, (column, text)) in fields.iter().enumerate() {
            if n > 0 {
                let is_first = fields[n - 1].0 != *column;
                let start = self
                    .starts
                    .iter()
                    .find(|(number, _)| is_first && number == column);
                self.pad(&mut line, start.map_or(0, |&(_, start)| start));
            }
            line.extend(text);
        }
        line
    }

    /// Adds blanks up to a column, at least one.
    pub(crate) fn pad(&self, line: &mut Vec<u8>, column: usize) {
        if self.has_tabs {
            line.push(b'\t');
            while width(line) < column {
                line.push(b'\t');
            }
        } else {
            line.push(b' ');
            let missing = column.saturating_sub(width(line));
            line.resize(line.len() + missing, b' ');
        }
    }
}

/// The number of columns that the text takes on a terminal.
pub(crate) fn width(text: &[u8]) -> usize {
    text.iter().fold(0, |width, byte| match byte {
        b'\t' => width / 8 * 8 + 8,
        // Continuation bytes of UTF-8 take no column.
        0x80..=0xbf => width,
        _ => width + 1,
    })
}
