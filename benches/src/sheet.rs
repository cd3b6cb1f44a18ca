//! The times of all that is measured, in the order in which they came up.

use std::time::Duration;

/// Who is measured, and as what.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    Ours(&'a str),
    /// What people use otherwise.
    Beside(&'a str),
    /// The least that it takes.
    Floor(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Ours,
    Beside,
    Floor,
}

/// The rows of the groups that were measured.
#[derive(Default)]
pub(crate) struct Sheet {
    group: &'static str,
    rows: Vec<Row>,
}

/// The times of one of those that were compared.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) what: String,
    pub(crate) part: Part,
    pub(crate) who: String,
    /// Set where a throughput is shown: the bytes that were worked on.
    pub(crate) bytes: Option<usize>,
    /// Set where the values are no times: their unit.
    pub(crate) unit: Option<&'static str>,
    pub(crate) seconds: Vec<f64>,
    /// Why there are no times.
    pub(crate) not_run: Option<String>,
}

/// The tables have to keep their shape.
const LONGEST_REASON: usize = 80;

impl Sheet {
    /// The rows that follow belong to this group.
    pub(crate) fn begin(&mut self, group: &'static str) {
        self.group = group;
    }

    /// Puts groups into this order, whenever they were measured.
    pub(crate) fn sort(&mut self, groups: &[&str]) {
        self.rows
            .sort_by_key(|row| groups.iter().position(|group| *group == row.group));
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Has everybody take turns, so that all meet the same machine, and once before that to warm
    /// up.
    pub(crate) fn rounds(&mut self, rounds: usize, mut round: impl FnMut(&mut Self)) {
        let rows = self.rows.len();
        round(self);
        self.rows.truncate(rows);
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

    /// As [`note`](Self::note), of something that is not a time.
    pub(crate) fn note_number(&mut self, what: &str, who: Who<'_>, unit: &'static str, n: f64) {
        let row = self.row(what, who);
        row.unit = Some(unit);
        row.seconds.push(n);
    }

    /// Says in its place why something was not measured, or not to the end.
    pub(crate) fn not_run(&mut self, what: &str, who: Who<'_>, reason: &str) {
        let row = self.row(what, who);
        row.seconds.clear();
        row.not_run = Some(reason.chars().take(LONGEST_REASON).collect());
    }

    fn row(&mut self, what: &str, who: Who<'_>) -> &mut Row {
        let (group, (part, name)) = (self.group, who.split());
        let is_it =
            |row: &Row| (row.group, &*row.what, row.part, &*row.who) == (group, what, part, name);
        let index = self.rows.iter().position(is_it).unwrap_or_else(|| {
            self.rows.push(Row {
                group,
                what: what.to_owned(),
                part,
                who: name.to_owned(),
                bytes: None,
                unit: None,
                seconds: Vec::new(),
                not_run: None,
            });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }
}

impl<'a> Who<'a> {
    fn split(self) -> (Part, &'a str) {
        match self {
            Who::Ours(name) => (Part::Ours, name),
            Who::Beside(name) => (Part::Beside, name),
            Who::Floor(name) => (Part::Floor, name),
        }
    }
}

impl Row {
    pub(crate) fn median(&self) -> Option<f64> {
        let sorted = sorted(&self.seconds);
        let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
        // The mean of the middle two if there is no single middle one.
        Some((sorted[low] + sorted[high]) / 2.0)
    }

    /// How many times as long this takes.
    pub(crate) fn over(&self, other: &Row) -> Option<f64> {
        let ratio = self.median()? / other.median()?;
        ratio.is_finite().then_some(ratio)
    }
}

pub(crate) fn sorted(seconds: &[f64]) -> Vec<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
