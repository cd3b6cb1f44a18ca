//! `cargo xtask tidy`: checks that the compiler does not make. They cover layers, folders,
//! dependency budgets, rules for Rust, names, links, and the files of published crates.

mod budgets;
mod layers;
mod links;
mod names;
mod packages;
mod source;
mod text;
mod tree;
mod wings;

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use camino::Utf8PathBuf;

use crate::workspace;
use packages::Packages;
use tree::Tree;

#[derive(clap::Args)]
pub(crate) struct Args {}

/// A violation of a rule.
#[derive(Debug, PartialEq)]
struct Finding {
    path: Utf8PathBuf,
    line: Option<usize>,
    problem: String,
}

pub(crate) fn run(_args: Args) -> Result<ExitCode> {
    let root = workspace::root();
    let tree = Tree::read(&root)?;
    let packages = Packages::query()?;

    let mut findings = Vec::new();
    findings.extend(layers::check(&packages, &tree));
    findings.extend(packages::check(&packages, &tree));
    findings.extend(names::check(&tree));
    findings.extend(wings::check(&tree));
    findings.extend(source::check(&tree));
    findings.extend(text::check(&tree, &root));
    findings.extend(links::check(&tree));
    let budgets = budgets::query(&packages)?;
    findings.extend(budgets::check(&budgets));

    for finding in &findings {
        println!("{finding}");
    }
    for budget in &budgets {
        println!("{budget}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, no findings", tree.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} findings", findings.len());
    Ok(ExitCode::FAILURE)
}

impl Finding {
    fn new(path: impl Into<Utf8PathBuf>, problem: impl Into<String>) -> Finding {
        Finding {
            path: path.into(),
            line: None,
            problem: problem.into(),
        }
    }

    /// `line` counts from 1.
    fn at(path: impl Into<Utf8PathBuf>, line: usize, problem: impl Into<String>) -> Finding {
        Finding {
            line: Some(line),
            ..Finding::new(path, problem)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.problem),
            None => write!(f, "{}: {}", self.path, self.problem),
        }
    }
}
