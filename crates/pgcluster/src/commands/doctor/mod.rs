//! `pgcluster doctor`: what would keep a server from starting.

mod access;
mod cluster;
mod machine;

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::table::{Cell, list};
use crate::words::{BOLD, DIM, GREEN, RED, YELLOW, paint};

/// Report problems that would keep a server from starting, and their remedies
///
/// Checks the machine: installation, account, rights, /proc, shared memory, locale, template cache.
/// With DIR also that cluster: permissions, configuration, sockets, port, space. The only server
/// that is started is a temporary one.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Exit status: 1 if something would keep a server from starting.

Examples:
  pgcluster doctor
  pgcluster doctor data --json")]
pub(crate) struct Args {
    /// Data directory
    #[arg(value_name = "DIR", env = "PGDATA", hide_env_values = true)]
    directory: Option<Utf8PathBuf>,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    check: &'static str,
    verdict: Verdict,
    message: String,
    remedy: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// A server starts, and something does not work as well as it could.
    Doubtful,
    Bad,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            message: message.into(),
            remedy: None,
        }
    }

    fn fine(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fine, message)
    }

    fn doubtful(check: &'static str, message: impl Into<String>, remedy: &str) -> Self {
        Self::new(check, Verdict::Doubtful, message).with_remedy(Some(remedy.to_owned()))
    }

    fn bad(check: &'static str, message: impl Into<String>, remedy: &str) -> Self {
        Self::new(check, Verdict::Bad, message).with_remedy(Some(remedy.to_owned()))
    }

    /// The error of a failed operation.
    fn failed(check: &'static str, failure: &Failure) -> Self {
        Self::new(check, Verdict::Bad, failure.message()).with_remedy(failure.hint())
    }

    fn with_remedy(self, remedy: Option<String>) -> Self {
        Self { remedy, ..self }
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let findings = {
        let _progress = Progress::of("examining");
        let mut findings = machine::examine();
        if let Some(directory) = &args.directory {
            findings.extend(cluster::examine(directory));
        }
        findings
    };
    let bad = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Bad)
        .count();
    let rows = findings
        .iter()
        .map(|finding| (finding.check, cell(finding)));
    let mut text = list(rows.collect());
    for finding in &findings {
        if let Some(remedy) = &finding.remedy {
            let check = paint(BOLD, &format!("{}:", finding.check));
            text.push_str(&format!("{check} {remedy}\n"));
        }
    }
    let objects: Vec<Value> = findings.iter().map(object).collect();
    let json = json!({"healthy": bad == 0, "findings": objects});
    Ok(Answer::new(text, json).with_code(u8::from(bad > 0)))
}

fn cell(finding: &Finding) -> Cell {
    let (mark, style) = match finding.verdict {
        Verdict::Fine if finding.message.starts_with("not ") => ("ok", DIM),
        Verdict::Fine => ("ok", GREEN),
        Verdict::Doubtful => ("weak", YELLOW),
        Verdict::Bad => ("bad", RED),
    };
    Cell::styled(format!("{mark:<4}  {}", finding.message), style)
}

fn object(finding: &Finding) -> Value {
    let verdict = match finding.verdict {
        Verdict::Fine => "ok",
        Verdict::Doubtful => "weak",
        Verdict::Bad => "bad",
    };
    json!({
        "check": finding.check,
        "verdict": verdict,
        "message": finding.message,
        "remedy": finding.remedy,
    })
}
