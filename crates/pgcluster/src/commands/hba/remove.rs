//! `pgcluster hba remove`: a rule less.

use serde_json::json;

use crate::answer::Answer;
use crate::failure::Result;
use crate::target::Target;

/// Remove rules from pg_hba.conf, by the numbers of their lines
///
/// Nothing is written if the server would reject the file.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster hba list data
  pgcluster hba remove data --line 92 --line 94 --reload")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Line of the file; can be repeated
    #[arg(long = "line", value_name = "NUMBER", required = true)]
    lines: Vec<usize>,
    /// Make comments of the lines
    #[arg(long)]
    comment: bool,
    /// Make a running server read its configuration again
    #[arg(long)]
    reload: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    // From the last one on, so that the numbers stay what they are.
    let mut lines = args.lines.clone();
    lines.sort_unstable_by(|a, b| b.cmp(a));
    lines.dedup();
    cluster.hba().edit(|document| {
        lines.iter().try_for_each(|&line| match args.comment {
            true => document.comment_out(line),
            false => document.remove(line),
        })
    })?;
    let reloaded = args.reload && cluster.is_running()?;
    if reloaded {
        cluster.reload()?;
    }
    let file = cluster.hba_file();
    let count = lines.len();
    Ok(Answer::new(
        format!(
            "removed {count} rule{} from {file}",
            if count == 1 { "" } else { "s" }
        ),
        json!({"file": file.as_str(), "lines": lines, "reloaded": reloaded}),
    ))
}
