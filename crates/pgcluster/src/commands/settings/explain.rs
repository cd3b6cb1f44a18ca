//! `pgcluster explain`: where settings get their values.

use pg_cluster::SettingHistory;
use serde_json::{Map, Value, json};

use super::{Words, required};
use crate::answer::Answer;
use crate::failure::Result;

/// Show every assignment to a setting over all configuration files; the last one counts
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "pgcluster explain [OPTIONS] [DIR] <NAME>...")]
#[command(after_help = "\
Examples:
  pgcluster explain data work_mem shared_buffers")]
pub(crate) struct Args {
    #[command(flatten)]
    words: Words,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (cluster, names) = args.words.split()?;
    let settings = cluster.settings();
    let mut text = String::new();
    let mut object = Map::new();
    for name in required(names, "NAME")? {
        let history = settings.explain(name)?;
        text.push_str(&format!("{history}\n"));
        object.insert(name.clone(), json_of(&history));
    }
    Ok(Answer::new(text, object.into()))
}

fn json_of(history: &SettingHistory) -> Value {
    let assignments = history.assignments().iter().map(
        |origin| json!({"file": origin.file.as_str(), "line": origin.line, "value": origin.value}),
    );
    json!({
        "value": history.winner().map(|origin| &origin.value),
        "assignments": assignments.collect::<Vec<Value>>(),
        "problem": history.problem(),
    })
}
