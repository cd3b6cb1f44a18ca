//! `cargo xtask fuzz`: runs the fuzz targets in sequence, each with its seeds and its corpus.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use camino::Utf8PathBuf;

use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names of targets in `fuzz/fuzz_targets` [default: all]
    targets: Vec<String>,
    /// Minutes that each target runs
    #[arg(long, default_value_t = 1)]
    minutes: u32,
}

/// The number of lines shown of a failed run. They contain the panic, the input, and the command
/// that runs it again.
const TAIL: usize = 40;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target {unknown}, only {}", all.join(", "));
    }
    let available = cargo_fuzz()?
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !available.is_ok_and(|status| status.success()) {
        bail!("cargo-fuzz is missing: install it with `cargo install cargo-fuzz --locked`");
    }
    let chosen = if args.targets.is_empty() {
        &all
    } else {
        &args.targets
    };
    let mut outcomes = Vec::new();
    for target in chosen {
        println!("{target}: {} min", args.minutes);
        outcomes.push(Outcome::of(target, args.minutes)?);
    }

    println!("\ntarget            executions   coverage   corpus");
    for outcome in &outcomes {
        println!("{outcome}");
    }
    Ok(ExitCode::from(u8::from(outcomes.iter().any(|o| !o.passed))))
}

fn targets() -> Result<Vec<String>> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in directory.read_dir_utf8().context(directory.clone())? {
        names.extend(entry?.path().file_stem().map(ToOwned::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Instrumentation requires unstable compiler options, which `RUSTC_BOOTSTRAP` enables in a stable
/// toolchain.
fn cargo_fuzz() -> Result<Command> {
    let rustc = Command::new("rustc").arg("--version").output();
    let version = rustc.context("failed to run rustc")?.stdout;
    let mut command = workspace::cargo();
    command.arg("fuzz").env("RUST_BACKTRACE", "0");
    if !String::from_utf8_lossy(&version).contains("nightly") {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    Ok(command)
}

/// The result of a run, as libFuzzer printed it.
struct Outcome {
    target: String,
    passed: bool,
    executions: u64,
    coverage: u64,
    corpus: u64,
}

impl Outcome {
    fn of(target: &str, minutes: u32) -> Result<Self> {
        let corpus = workspace::root().join("fuzz/corpus").join(target);
        fs::create_dir_all(&corpus).context(corpus.clone())?;
        let mut child = cargo_fuzz()?
            .args(["run", target, corpus.as_str(), seeds(target).as_str(), "--"])
            .arg(format!("-max_total_time={}", minutes * 60))
            // An input that takes longer is a failure.
            .args(["-timeout=30", "-print_final_stats=1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to run cargo fuzz")?;

        let mut outcome = Self {
            target: target.to_owned(),
            passed: false,
            executions: 0,
            coverage: 0,
            corpus: 0,
        };
        let mut tail = VecDeque::new();
        for line in child
            .stderr
            .take()
            .into_iter()
            .flat_map(|pipe| BufReader::new(pipe).split(b'\n'))
        {
            let line = String::from_utf8_lossy(&line?).into_owned();
            outcome.learn(&line);
            // Omit progress and stack frames.
            if !line.trim_start().starts_with('#') {
                tail.push_back(line);
            }
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        outcome.passed = child.wait()?.success() && outcome.executions > 0;
        if !outcome.passed {
            for line in tail {
                println!("    {line}");
            }
        }
        Ok(outcome)
    }

    /// Reads lines such as `#8192 pulse cov: 411 ft: 1268 corp: 205/18Kb ...` and
    /// `stat::number_of_executed_units: 9234`.
    fn learn(&mut self, line: &str) {
        let number = |label: &str| {
            let (_, rest) = line.split_once(label)?;
            let digits = rest
                .trim_start()
                .split(|c: char| !c.is_ascii_digit())
                .next();
            digits?.parse().ok()
        };
        for (label, field) in [
            ("number_of_executed_units:", &mut self.executions),
            (" cov:", &mut self.coverage),
            (" corp:", &mut self.corpus),
        ] {
            *field = number(label).unwrap_or(*field);
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            target,
            executions,
            coverage,
            corpus,
            ..
        } = self;
        write!(f, "{target:<16}{executions:>12}{coverage:>11}{corpus:>9}")?;
        f.write_str(if self.passed { "" } else { "   FAILED" })
    }
}

/// Returns the seeds of the target or of its family: `conf_parse` and `conf_edit` share theirs.
fn seeds(target: &str) -> Utf8PathBuf {
    let all = workspace::root().join("fuzz/seeds");
    let own = all.join(target);
    let family = target.split('_').next().unwrap_or(target);
    if own.exists() { own } else { all.join(family) }
}
