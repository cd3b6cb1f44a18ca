//! What a benchmark says: a line of JSON for each thing measured, which `cargo xtask bench` makes
//! tables and plots of.

#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(clippy::print_stdout, reason = "this is what a benchmark is for")]

use std::time::Duration;

use serde_json::json;

/// Who is measured, and as what.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    Ours(&'a str),
    /// What people use otherwise.
    Beside(&'a str),
    /// The least that it takes.
    Floor(&'a str),
}

/// The times of all rows and points, in the order in which they came up.
pub(crate) struct Sheet {
    group: &'static str,
    rows: Vec<Row>,
    points: Vec<Point>,
}

/// There is a table to be kept in shape.
const LONGEST_REASON: usize = 80;

struct Row {
    what: String,
    part: &'static str,
    who: String,
    bytes: Option<usize>,
    seconds: Vec<f64>,
    not_run: Option<String>,
}

struct Point {
    plot: &'static str,
    line: String,
    x: usize,
    seconds: Vec<f64>,
}

/// How often each is measured: `cargo xtask bench --rounds`.
pub(crate) fn rounds() -> Option<usize> {
    let text = std::env::var("BENCH_ROUNDS").ok()?;
    Some(text.parse().expect("BENCH_ROUNDS is a number"))
}

impl Sheet {
    pub(crate) fn new(group: &'static str) -> Self {
        Self {
            group,
            rows: Vec::new(),
            points: Vec::new(),
        }
    }

    /// Has everybody take turns, so that all meet the same machine, and once before that to warm
    /// up.
    pub(crate) fn rounds(&mut self, rounds: usize, mut round: impl FnMut(&mut Self)) {
        let (rows, points) = (self.rows.len(), self.points.len());
        round(self);
        self.rows.truncate(rows);
        self.points.truncate(points);
        for _ in 0..rounds {
            round(self);
        }
    }

    pub(crate) fn note(&mut self, what: &str, who: Who<'_>, time: Duration) {
        self.row(what, who).seconds.push(time.as_secs_f64());
    }

    /// As [`note`](Self::note), to be shown as throughput.
    pub(crate) fn note_bytes(&mut self, what: &str, who: Who<'_>, bytes: usize, time: Duration) {
        let row = self.row(what, who);
        row.bytes = Some(bytes);
        row.seconds.push(time.as_secs_f64());
    }

    pub(crate) fn point(&mut self, plot: &'static str, line: &str, x: usize, time: Duration) {
        let is_it = |point: &Point| point.plot == plot && point.line == line && point.x == x;
        let index = self.points.iter().position(is_it).unwrap_or_else(|| {
            self.points.push(Point {
                plot,
                line: line.to_owned(),
                x,
                seconds: Vec::new(),
            });
            self.points.len() - 1
        });
        self.points[index].seconds.push(time.as_secs_f64());
    }

    /// Says in its place why something was not measured, or not to the end.
    pub(crate) fn not_run(&mut self, what: &str, who: Who<'_>, reason: &str) {
        let row = self.row(what, who);
        row.seconds.clear();
        row.not_run = Some(reason.chars().take(LONGEST_REASON).collect());
    }

    pub(crate) fn print(&self) {
        for row in &self.rows {
            println!(
                "{}",
                json!({"group": self.group, "what": row.what, "part": row.part, "who": row.who,
                       "bytes": row.bytes, "seconds": row.seconds, "not_run": row.not_run})
            );
        }
        for point in &self.points {
            println!(
                "{}",
                json!({"plot": point.plot, "line": point.line, "x": point.x, "seconds": point.seconds})
            );
        }
    }

    fn row(&mut self, what: &str, who: Who<'_>) -> &mut Row {
        let is_it = |row: &Row| row.what == what && row.part == who.part() && row.who == who.name();
        let found = self.rows.iter().position(is_it);
        let index = found.unwrap_or_else(|| {
            self.rows.push(Row {
                what: what.to_owned(),
                part: who.part(),
                who: who.name().to_owned(),
                bytes: None,
                seconds: Vec::new(),
                not_run: None,
            });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }
}

impl Who<'_> {
    fn part(&self) -> &'static str {
        match self {
            Who::Ours(_) => "ours",
            Who::Beside(_) => "beside",
            Who::Floor(_) => "floor",
        }
    }

    fn name(&self) -> &str {
        match self {
            Who::Ours(name) | Who::Beside(name) | Who::Floor(name) => name,
        }
    }
}
