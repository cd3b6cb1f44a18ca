//! Markdown tables.

use std::collections::BTreeSet;

use crate::sheet::{Part, Row, sorted};

/// Returns the complete table, with a row for each subject of each measurement.
pub(crate) fn full(rows: &[Row]) -> String {
    let head = [
        "what", "who", "min", "median", "max", "", "× ours", "× floor",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    let mut group = "";
    for contest in contests(rows) {
        if contest.rows[0].group != group {
            group = contest.rows[0].group;
            let mut line = vec![format!("**{}**", title(group))];
            line.resize(head.len(), String::new());
            table.push(line);
        }
        for (index, row) in contest.rows.iter().enumerate() {
            let what = if index == 0 {
                row.what.clone()
            } else {
                String::new()
            };
            let who = match &row.not_run {
                Some(reason) => format!("{} (not run: {})", row.who, reason.replace('|', "\\|")),
                None => row.who.clone(),
            };
            let mut line = vec![what, who];
            line.extend(contest.figures(row));
            table.push(line);
        }
    }
    aligned(&table, "ll")
}

/// Returns the table of the README: medians, compared with alternatives.
pub(crate) fn summary(rows: &[Row]) -> Option<String> {
    const ROWS: [&str; 8] = [
        "from nothing to the first `SELECT 1`",
        "twenty at once, until all are gone",
        "start a server, until it is ready",
        "fast stop, until it is gone",
        "from the server's `ready` until the wait returns",
        "find eight installations",
        "parse, edit one setting, write, stock 1 MB",
        "parse, edit one setting, write, dense 1 MB",
    ];
    let head = ["", "here", "otherwise", "", "times"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for what in ROWS {
        let contest = contests(rows)
            .into_iter()
            .find(|contest| contest.rows[0].what == what)?;
        let ours = contest.first(Part::Ours)?;
        let others = contest.rows.iter().filter(|row| row.part == Part::Beside);
        for (index, other) in others.enumerate() {
            let (what, here) = if index == 0 {
                (what.to_owned(), cell(ours))
            } else {
                Default::default()
            };
            let times = other.over(ours).map(figure).unwrap_or_default();
            table.push(vec![what, here, other.who.clone(), cell(other), times]);
        }
    }
    Some(aligned(&table, "lrl"))
}

/// Returns the throughput of the parser, with a column for each text.
pub(crate) fn speed(rows: &[Row]) -> Option<String> {
    let contests = contests(rows);
    let parse = contests
        .iter()
        .filter(|contest| contest.rows[0].group == "parse");
    let named: Vec<_> = parse
        .filter_map(|contest| {
            let (what, text) = contest.rows[0].what.rsplit_once(", ")?;
            Some((what, text, contest))
        })
        .collect();
    let mut whats: Vec<_> = named.iter().map(|(what, ..)| *what).collect();
    let mut texts: Vec<_> = named.iter().map(|(_, text, _)| *text).collect();
    for names in [&mut whats, &mut texts] {
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
    }
    let line = |name: String, what: &str, cell: &dyn Fn(&Contest<'_>) -> Option<String>| {
        let cell = |text: &&str| {
            let of_text = named
                .iter()
                .find(|named| (named.0, named.1) == (what, *text));
            of_text
                .and_then(|(.., contest)| cell(contest))
                .unwrap_or_default()
        };
        std::iter::once(name)
            .chain(texts.iter().map(cell))
            .collect()
    };

    let head: Vec<_> = [""].iter().chain(&texts).map(ToString::to_string).collect();
    let mut table = vec![head];
    for what in &whats {
        let ours = |contest: &Contest<'_>| contest.first(Part::Ours).map(cell);
        table.push(line((*what).to_owned(), what, &ours));
    }
    for (what, _, contest) in named.iter().take(whats.len()) {
        let Some(other) = contest.first(Part::Beside) else {
            continue;
        };
        let theirs = |contest: &Contest<'_>| contest.first(Part::Beside).map(cell);
        table.push(line(format!("{}: {what}", other.who), what, &theirs));
        let times = |contest: &Contest<'_>| {
            let (ours, theirs) = (contest.first(Part::Ours)?, contest.first(Part::Beside)?);
            theirs.over(ours).map(figure)
        };
        table.push(line("times its speed".to_owned(), what, &times));
    }
    let floor = named.first()?.2.first(Part::Floor)?;
    let floors = |contest: &Contest<'_>| contest.first(Part::Floor).map(cell);
    table.push(line(floor.who.clone(), whats[0], &floors));
    Some(aligned(&table, "l"))
}

/// All rows of one measurement, ours first and the lower bound last.
struct Contest<'a> {
    rows: Vec<&'a Row>,
}

fn contests(rows: &[Row]) -> Vec<Contest<'_>> {
    let mut contests: Vec<Contest<'_>> = Vec::new();
    for row in rows {
        let is_it = |contest: &&mut Contest<'_>| {
            let first = contest.rows[0];
            first.group == row.group && first.what == row.what
        };
        match contests.iter_mut().find(is_it) {
            Some(contest) => contest.rows.push(row),
            None => contests.push(Contest { rows: vec![row] }),
        }
    }
    for contest in &mut contests {
        contest.rows.sort_by_key(|row| row.part);
    }
    contests
}

impl Contest<'_> {
    fn first(&self, part: Part) -> Option<&Row> {
        self.rows.iter().copied().find(|row| row.part == part)
    }

    /// The columns from the minimum to the ratios. All are empty if the subject was not run.
    fn figures(&self, row: &Row) -> [String; 6] {
        let Some(median) = row.median() else {
            return Default::default();
        };
        let unit = Unit::of(row);
        let values: Vec<_> = row.seconds.iter().map(|time| unit.value(*time)).collect();
        let values = sorted(&values);
        let times = |part| {
            let other = self
                .first(part)
                .filter(|other| !std::ptr::eq(*other, row))?;
            row.over(other).map(figure)
        };
        [
            figure(values[0]),
            format!("**{}**", figure(unit.value(median))),
            figure(values[values.len() - 1]),
            unit.name().to_owned(),
            times(Part::Ours).unwrap_or_default(),
            times(Part::Floor).unwrap_or_default(),
        ]
    }
}

fn title(group: &str) -> &str {
    match group {
        "parse" => "Configuration files",
        "edits" => "Edits of configuration files",
        "access" => "Access rules",
        "install" => "Installations",
        "proc" => "Servers",
        "temp" => "Temporary clusters",
        "flat" => "Flat cost",
        other => other,
    }
}

/// The unit of the displayed values.
enum Unit {
    Milliseconds,
    /// Throughput, with the number of bytes per measurement.
    Megabytes(f64),
    /// Another unit.
    Other(&'static str),
}

impl Unit {
    fn of(row: &Row) -> Self {
        match (row.unit, row.bytes) {
            (Some(unit), _) => Self::Other(unit),
            (None, Some(bytes)) => Self::Megabytes(bytes as f64),
            (None, None) => Self::Milliseconds,
        }
    }

    fn value(&self, seconds: f64) -> f64 {
        match self {
            Self::Milliseconds => seconds * 1e3,
            Self::Megabytes(bytes) => bytes / seconds / 1e6,
            Self::Other(_) => seconds,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Megabytes(_) => "MB/s",
            Self::Other(unit) => unit,
        }
    }
}

fn cell(row: &Row) -> String {
    let unit = Unit::of(row);
    match (row.median(), &row.not_run) {
        (Some(median), _) => format!("{} {}", figure(unit.value(median)), unit.name()),
        (None, Some(_)) => "not run".to_owned(),
        (None, None) => String::new(),
    }
}

/// Formats a value with three significant digits.
fn figure(value: f64) -> String {
    let digits = if value <= 0.0 {
        0.0
    } else {
        value.log10().floor()
    };
    let decimals = (2.0 - digits).clamp(0.0, 4.0) as usize;
    format!("{value:.decimals$}")
}

/// Formats a table. `alignment` has an `l` for each left-aligned column; the others are
/// right-aligned.
fn aligned(table: &[Vec<String>], alignment: &str) -> String {
    let is_left = |column: usize| alignment.as_bytes().get(column) == Some(&b'l');
    let width = |column: usize| {
        let cells = table.iter().filter_map(|line| line.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max();
        longest.unwrap_or(0).max(3)
    };
    let widths: Vec<_> = (0..table[0].len()).map(width).collect();
    let pad = |(column, cell): (usize, &String)| {
        let width = widths[column];
        if is_left(column) {
            format!("| {cell:<width$} ")
        } else {
            format!("| {cell:>width$} ")
        }
    };
    let rule = |(column, width): (usize, &usize)| {
        let end = if is_left(column) { "-" } else { ":" };
        format!("|{}{end}", "-".repeat(width + 1))
    };
    let mut lines: Vec<String> = table
        .iter()
        .map(|line| line.iter().enumerate().map(pad).collect::<String>() + "|")
        .collect();
    lines.insert(
        1,
        widths.iter().enumerate().map(rule).collect::<String>() + "|",
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, part: Part, who: &str, seconds: &[f64]) -> Row {
        Row {
            group: "temp",
            what: what.to_owned(),
            part,
            who: who.to_owned(),
            bytes: None,
            unit: None,
            seconds: seconds.to_vec(),
            not_run: None,
        }
    }

    #[test]
    fn rows_of_one_measurement_are_grouped_with_their_ratios() {
        let mut other = row("life", Part::Beside, "c", &[]);
        other.not_run = Some("no | network".to_owned());
        let rows = [
            other,
            row("life", Part::Floor, "floor", &[0.05]),
            row("life", Part::Ours, "us", &[0.3, 0.1, 0.1]),
            row("end", Part::Ours, "us", &[0.000_05]),
            row("life", Part::Beside, "they", &[1.0, 1.0, 2.0, 3.0]),
        ];
        let table = full(&rows);
        let lines: Vec<_> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines[2..],
            [
                "| **Temporary clusters** | | | | | | | |",
                "| life | us | 100 | **100** | 300 | ms | | 2.00 |",
                "| | c (not run: no \\| network) | | | | | | |",
                "| | they | 1000 | **1500** | 3000 | ms | 15.0 | 30.0 |",
                "| | floor | 50.0 | **50.0** | 50.0 | ms | 0.500 | |",
                "| end | us | 0.0500 | **0.0500** | 0.0500 | ms | | |",
            ]
        );
    }
}
