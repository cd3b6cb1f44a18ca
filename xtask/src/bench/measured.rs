//! What the benchmarks said.

use anyhow::{Context as _, Result};
use serde::Deserialize;

#[derive(Default)]
pub(super) struct Measured {
    pub(super) rows: Vec<Row>,
    pub(super) points: Vec<Point>,
}

/// The times of one of those that were compared.
#[derive(Clone, Deserialize)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) what: String,
    pub(super) part: Part,
    pub(super) who: String,
    /// Of which there is a throughput.
    pub(super) bytes: Option<f64>,
    pub(super) seconds: Vec<f64>,
    /// Why there are no times.
    pub(super) not_run: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    Ours,
    /// What people use otherwise.
    Beside,
    /// The least that it takes.
    Floor,
}

/// Of a line in a plot.
#[derive(Deserialize)]
pub(super) struct Point {
    pub(super) plot: String,
    pub(super) line: String,
    pub(super) x: f64,
    seconds: Vec<f64>,
}

impl Measured {
    /// Reads what a benchmark wrote.
    pub(super) fn add(&mut self, output: &str) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Line {
            Row(Row),
            Point(Point),
        }
        for line in output.lines().filter(|line| line.starts_with('{')) {
            let read = serde_json::from_str(line);
            match read.with_context(|| format!("failed to read {line:?}"))? {
                Line::Row(row) => self.rows.push(row),
                Line::Point(point) => self.points.push(point),
            }
        }
        Ok(())
    }
}

impl Row {
    pub(super) fn median(&self) -> Option<f64> {
        median(&self.seconds)
    }

    /// How many times as long this takes.
    pub(super) fn over(&self, other: &Row) -> Option<f64> {
        let ratio = self.median()? / other.median()?;
        ratio.is_finite().then_some(ratio)
    }
}

impl Point {
    pub(super) fn y(&self) -> Option<f64> {
        median(&self.seconds)
    }
}

pub(super) fn sorted(seconds: &[f64]) -> Vec<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The mean of the middle two if there is no one in the middle.
fn median(seconds: &[f64]) -> Option<f64> {
    let sorted = sorted(seconds);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[low] + sorted[high]) / 2.0)
}
