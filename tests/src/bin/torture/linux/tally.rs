//! What was done, and what came of it.

use std::fmt;
use std::time::Duration;

/// The sums of a run, for each scenario in the order of the list.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
    /// What was not done, and why.
    not_run: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    scenario: &'static str,
    cases: u64,
    faults: u64,
    losses: u64,
}

impl Tally {
    pub(crate) fn new(scenarios: impl IntoIterator<Item = &'static str>) -> Self {
        let row = |scenario| Row {
            scenario,
            ..Row::default()
        };
        Self {
            rows: scenarios.into_iter().map(row).collect(),
            not_run: Vec::new(),
        }
    }

    pub(crate) fn not_run(&mut self, what: &'static str, why: String) {
        self.not_run.push((what, why));
    }

    pub(crate) fn count(&mut self, scenario: &str, faults: u64, is_loss: bool) {
        for row in self.rows.iter_mut().filter(|row| row.scenario == scenario) {
            row.cases += 1;
            row.faults += faults;
            row.losses += u64::from(is_loss);
        }
    }

    pub(crate) fn losses(&self) -> u64 {
        self.total().losses
    }

    /// In one line, for the time in between.
    pub(crate) fn brief(&self, elapsed: Duration) -> String {
        let Row {
            cases,
            faults,
            losses,
            ..
        } = self.total();
        format!(
            "{} s: {cases} cases, {faults} faults, {losses} losses",
            elapsed.as_secs()
        )
    }

    fn total(&self) -> Row {
        let mut total = Row {
            scenario: "total",
            ..Row::default()
        };
        for row in &self.rows {
            total.cases += row.cases;
            total.faults += row.faults;
            total.losses += row.losses;
        }
        total
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| scenario           |  cases | faults | losses |")?;
        writeln!(f, "|--------------------|-------:|-------:|-------:|")?;
        let run = self.rows.iter().filter(|row| row.cases > 0).cloned();
        for row in run.chain([self.total()]) {
            let Row {
                scenario,
                cases,
                faults,
                losses,
            } = row;
            writeln!(
                f,
                "| {scenario:<18} | {cases:>6} | {faults:>6} | {losses:>6} |"
            )?;
        }
        for (what, why) in &self.not_run {
            writeln!(f, "NOT RUN: {what}: {why}")?;
        }
        Ok(())
    }
}
