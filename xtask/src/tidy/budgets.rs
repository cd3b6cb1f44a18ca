//! Limits on the number of crates on which each published crate depends.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;

use super::Finding;
use super::packages::Packages;
use crate::workspace;

/// The maximum number of crates in a release build without optional features, including the crate
/// itself.
const BUDGETS: [(&str, usize); 3] = [("pg-cluster", 20), ("pg-fixture", 22), ("pgconf-parse", 3)];

pub(super) struct Budget {
    package: &'static str,
    crates: usize,
    allowed: usize,
}

pub(super) fn query(packages: &Packages) -> Result<Vec<Budget>> {
    let budget = |(package, allowed)| {
        let arguments = [
            "tree",
            "--package",
            package,
            "--edges=normal",
            "--prefix=none",
        ];
        let output = workspace::output_of(workspace::cargo().args(arguments))?;
        let crates = count(&String::from_utf8_lossy(&output));
        Ok(Budget {
            package,
            crates,
            allowed,
        })
    };
    let is_here = |name: &str| packages.published().any(|package| package.name == name);
    BUDGETS
        .into_iter()
        .filter(|(name, _)| is_here(name))
        .map(budget)
        .collect()
}

pub(super) fn check(budgets: &[Budget]) -> Vec<Finding> {
    let exceeded = budgets
        .iter()
        .filter(|budget| budget.crates > budget.allowed);
    let finding = |budget: &Budget| {
        Finding::new(
            format!("crates/{}/Cargo.toml", budget.package),
            format!("over budget: {budget}"),
        )
    };
    exceeded.map(finding).collect()
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} consists of {} crates (at most {})",
            self.package, self.crates, self.allowed
        )
    }
}

/// Counts each crate once; `cargo tree` lists a crate wherever it is used.
fn count(tree: &str) -> usize {
    let name_and_version = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    tree.lines()
        .filter_map(name_and_version)
        .collect::<BTreeSet<_>>()
        .len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_counted_once_per_version() {
        let tree = "a v1.0.0 (/w/a)\nb v1.0.0\nc v1.0.0\n\nc v1.0.0 (*)\nc v2.0.0\nb v1.0.0 (*)\n";
        assert_eq!(count(tree), 4);
    }

    #[test]
    fn only_counts_above_the_limit_are_reported() {
        let budget = |crates| {
            [Budget {
                package: "a",
                crates,
                allowed: 8,
            }]
        };
        assert_eq!(check(&budget(8)), []);
        assert_eq!(
            check(&budget(9))[0].to_string(),
            "crates/a/Cargo.toml: over budget: a consists of 9 crates (at most 8)"
        );
    }
}
