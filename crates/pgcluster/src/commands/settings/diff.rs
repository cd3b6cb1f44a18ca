//! `pgcluster diff`: settings that differ.

use std::collections::{BTreeMap, BTreeSet};

use pg_cluster::Cluster;
use serde_json::{Map, Value, json};

use super::{Words, ask_server, default_of};
use crate::answer::Answer;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::table::{Cell, table};
use crate::words::DIM;

/// Show the settings of the configuration files that differ from the server's defaults, or from
/// those of another cluster
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "pgcluster diff [OPTIONS] [DIR] [OTHER]")]
#[command(after_help = "\
A default is a number in the unit of the setting.

Examples:
  pgcluster diff data
  pgcluster diff data /srv/other/data")]
pub(crate) struct Args {
    #[command(flatten)]
    words: Words,
}

/// A setting with its values on both sides; none where it is not set.
type Difference = (String, Option<String>, Option<String>);

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (cluster, words) = args.words.split()?;
    let ours = values(&cluster)?;
    let (header, differences) = match words {
        [] => ("DEFAULT".to_owned(), from_defaults(&cluster, ours)?),
        [other] => {
            let other = crate::target::open(other.as_ref())?;
            (
                other.data_directory().to_string(),
                between(&ours, &values(&other)?),
            )
        }
        _ => return Err(Failure::usage("there are too many arguments")),
    };
    let cell = |value: &Option<String>| match value {
        Some(value) => Cell::from(value),
        None => Cell::styled("-", DIM),
    };
    let rows = differences
        .iter()
        .map(|(name, a, b)| [Cell::from(name), cell(a), cell(b)]);
    let text = match differences.is_empty() {
        true => "no differences\n".to_owned(),
        false => table(
            ["NAME", cluster.data_directory().as_str(), &header],
            rows.collect(),
        ),
    };
    let object = differences
        .iter()
        .map(|(name, ours, theirs)| (name.clone(), json!({"value": ours, "other": theirs})));
    Ok(Answer::new(
        text,
        object.collect::<Map<String, Value>>().into(),
    ))
}

fn between(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> Vec<Difference> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let pairs = names
        .into_iter()
        .map(|name| (name.clone(), ours.get(name), theirs.get(name)));
    pairs
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(name, ours, theirs)| (name, ours.cloned(), theirs.cloned()))
        .collect()
}

/// The server's program writes both values in the same way, so `1GB` and 1024 MB are the same.
fn from_defaults(cluster: &Cluster, ours: BTreeMap<String, String>) -> Result<Vec<Difference>> {
    let _progress = Progress::of("asking the server's program");
    let mut differences = Vec::new();
    for (name, value) in ours {
        let default = default_of(cluster, &name).ok();
        if default.is_none() || Some(ask_server(cluster, &name)?) != default {
            differences.push((name, Some(value), default));
        }
    }
    Ok(differences)
}

/// The settings of the configuration files, by names in lower case, as the server compares them.
fn values(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let configuration = cluster.settings().effective()?;
    let settings = configuration.settings().map(|setting| {
        let name = String::from_utf8_lossy(setting.name()).to_ascii_lowercase();
        (name, setting.value_lossy().into_owned())
    });
    Ok(settings.collect())
}
