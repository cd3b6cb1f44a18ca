//! `pgcluster get`: values of settings.

use serde_json::{Map, Value, json};

use super::{Words, in_effect};
use crate::answer::Answer;
use crate::failure::Result;
use crate::table::{Cell, table};
use crate::words::DIM;

/// Show the values of settings, and where they come from
///
/// The values are those of the running server's command line, or else of the configuration files
/// with all includes, or else defaults: numbers in the unit of the setting. Without a name, all
/// settings of the files are shown.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "pgcluster get [DIR] [NAME]...")]
#[command(after_help = "\
Examples:
  pgcluster get data work_mem           # the value alone
  pgcluster get data port work_mem
  pgcluster get data")]
pub(crate) struct Args {
    #[command(flatten)]
    words: Words,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (cluster, names) = args.words.split()?;
    let mut found: Vec<(String, String, String)> = Vec::new();
    if names.is_empty() {
        for setting in cluster.settings().effective()?.settings() {
            let name = String::from_utf8_lossy(setting.name()).into_owned();
            let origin = format!("{}:{}", setting.file().display(), setting.line());
            found.push((name, setting.value_lossy().into_owned(), origin));
        }
    }
    for name in names {
        let (value, origin) = in_effect(&cluster, name)?;
        found.push((name.clone(), value, origin));
    }
    let object = |(name, value, origin): &(String, String, String)| {
        (name.clone(), json!({"value": value, "origin": origin}))
    };
    let json: Map<String, Value> = found.iter().map(object).collect();
    let text = match (names.len(), &found[..]) {
        (1, [(_, value, _)]) => format!("{value}\n"),
        _ => {
            let rows = found.iter().map(|(name, value, origin)| {
                [name.into(), value.into(), Cell::styled(origin, DIM)]
            });
            table(["NAME", "VALUE", "ORIGIN"], rows.collect())
        }
    };
    Ok(Answer::new(text, json.into()))
}
