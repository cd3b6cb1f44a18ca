//! The measurements, in the order in which they were made.

use std::time::Duration;

/// The measured subject and its role.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    Ours(&'a str),
    /// An alternative.
    Beside(&'a str),
    /// A lower bound.
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

/// The measurements of one subject.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) what: String,
    pub(crate) part: Part,
    pub(crate) who: String,
    /// The number of processed bytes, if throughput is shown.
    pub(crate) bytes: Option<usize>,
    /// The unit of the values, if they are not times.
    pub(crate) unit: Option<&'static str>,
    pub(crate) seconds: Vec<f64>,
    /// The reason why there are no measurements.
    pub(crate) not_run: Option<String>,
}

/// The maximum length of a reason, so that tables keep their shape.
const LONGEST_REASON: usize = 80;

impl Sheet {
    /// Begins a group, to which the following rows belong.
    pub(crate) fn begin(&mut self, group: &'static str) {
        self.group = group;
    }

    /// Sorts the groups in this order.
    pub(crate) fn sort(&mut self, groups: &[&str]) {
        self.rows
            .sort_by_key(|row| groups.iter().position(|group| *group == row.group));
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Runs rounds in which all subjects take turns, so that changes of the machine's load affect
    /// all of them. The first round is a warm-up.
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

    /// Records a time as [`note`](Self::note) does, shown as throughput.
    pub(crate) fn note_bytes(&mut self, what: &str, who: Who<'_>, bytes: usize, time: Duration) {
        let row = self.row(what, who);
        row.bytes = Some(bytes);
        row.seconds.push(time.as_secs_f64());
    }

    /// Records a value that is not a time.
    pub(crate) fn note_number(&mut self, what: &str, who: Who<'_>, unit: &'static str, n: f64) {
        let row = self.row(what, who);
        row.unit = Some(unit);
        row.seconds.push(n);
    }

    /// Records the reason why a subject was not measured completely.
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
        // The mean of the two middle values if their number is even.
        Some((sorted[low] + sorted[high]) / 2.0)
    }

    /// Returns the ratio of the medians.
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
