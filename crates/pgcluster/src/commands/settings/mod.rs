//! The commands for settings, and what they share.

pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod set;
pub(crate) mod unset;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::install::{ParameterContext, ServerParameter};
use pg_cluster::proc::PostmasterOpts;
use pg_cluster::{Cluster, Program, Written};
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::target;
use crate::words::{YELLOW, paint};

/// The arguments DIR and NAME...; DIR may be missing.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Words {
    /// Data directory, in place of the first argument [env: PGDATA=]
    #[arg(
        short = 'D',
        long = "dir",
        value_name = "DIR",
        id = "directory_of_settings"
    )]
    directory: Option<Utf8PathBuf>,
    /// Data directory, unless -D or PGDATA names it, and what the command is about. A first
    /// argument with a slash, or that is a directory, is always taken for DIR
    #[arg(value_name = "[DIR] ARGUMENT", num_args = 0..)]
    words: Vec<String>,
}

impl Words {
    /// The cluster and the other arguments.
    pub(super) fn split(&self) -> Result<(Cluster, &[String])> {
        let (directory, rest) = self.directory_and_rest(std::env::var("PGDATA").ok())?;
        Ok((target::open(&directory)?, rest))
    }

    fn directory_and_rest(&self, pgdata: Option<String>) -> Result<(Utf8PathBuf, &[String])> {
        if let Some(directory) = &self.directory {
            return Ok((directory.clone(), &self.words));
        }
        let of_environment = pgdata
            .filter(|path| !path.is_empty())
            .map(Utf8PathBuf::from);
        let is_directory = |word: &String| word.contains('/') || Utf8PathBuf::from(word).is_dir();
        match (self.words.split_first(), of_environment) {
            (Some((first, rest)), None) => Ok((first.into(), rest)),
            (Some((first, rest)), Some(_)) if is_directory(first) => Ok((first.into(), rest)),
            (_, Some(directory)) => Ok((directory, &self.words)),
            (None, None) => Err(Failure::usage(
                "name the cluster by DIR, by -D or by PGDATA",
            )),
        }
    }
}

/// Some names; none is wrong usage.
fn required<'a>(words: &'a [String], what: &str) -> Result<&'a [String]> {
    match words.is_empty() {
        true => Err(Failure::usage(format!("{what} is missing"))),
        false => Ok(words),
    }
}

fn assignments(words: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |word: &String| {
        crate::temporary::assignment(word)
            .map_err(|problem| Failure::usage(format!("`{word}`: {problem}")))
    };
    words.iter().map(pair).collect()
}

/// The time limit of the server's program, which normally takes some 15 ms.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The value that the server would use at its next start, or that the running one was given on its
/// command line; and where it comes from.
fn in_effect(cluster: &Cluster, name: &str) -> Result<(String, String)> {
    if cluster.is_running()? {
        let opts = PostmasterOpts::read(cluster.data_directory())
            .ok()
            .flatten();
        if let Some(value) = opts.and_then(|opts| opts.setting(name)) {
            return Ok((value, "command line".to_owned()));
        }
    }
    let history = cluster.settings().explain(name)?;
    match history.winner().filter(|_| history.problem().is_none()) {
        Some(origin) => Ok((origin.value.clone(), origin.to_string())),
        None => Ok((ask_server(cluster, name)?, "default".to_owned())),
    }
}

/// The value of a setting in the configuration, as the server's program reads and writes it:
/// without a unit.
pub(crate) fn ask_server(cluster: &Cluster, name: &str) -> Result<String> {
    ask(
        cluster,
        cluster.data_directory(),
        &cluster.config_file(),
        name,
    )
}

/// The value of a setting without any configuration.
fn default_of(cluster: &Cluster, name: &str) -> Result<String> {
    ask(
        cluster,
        Utf8Path::new("/"),
        Utf8Path::new("/dev/null"),
        name,
    )
}

fn ask(cluster: &Cluster, directory: &Utf8Path, file: &Utf8Path, name: &str) -> Result<String> {
    let config_file = format!("config_file={file}");
    let command = cluster
        .command(Program::Postgres)?
        .env("LC_ALL", "C")
        .args(["-D", directory.as_str(), "-c", &config_file, "-C", name]);
    let output = command.run(TIMEOUT)?.stdout;
    Ok(String::from_utf8_lossy(&output)
        .trim_end_matches('\n')
        .to_owned())
}

/// The settings among these that take effect only at the next start.
fn need_restart<'a>(cluster: &Cluster, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let Ok(parameters) = cluster.installation().server_parameters() else {
        return Vec::new();
    };
    let context = |name: &str| parameters.get(name).map(ServerParameter::context);
    names
        .filter(|name| context(name) == Some(ParameterContext::Postmaster))
        .collect()
}

/// What a change has done, and what is to be done about it.
fn outcome(cluster: &Cluster, written: &Written, names: &[&str], reload: bool) -> Result<Outcome> {
    let mut text = match written.changed {
        true => format!("changed {}\n", cluster.config_file()),
        false => format!("nothing to change in {}\n", cluster.config_file()),
    };
    for shadowed in &written.shadowed {
        let (name, by) = (&shadowed.name, &shadowed.by);
        let line = format!("{name} stays {}, because of {by}", by.value);
        text.push_str(&format!("{}\n", paint(YELLOW, &line)));
    }
    let is_running = written.changed && cluster.is_running()?;
    let restart = match is_running {
        true => need_restart(cluster, names.iter().copied()),
        false => Vec::new(),
    };
    if is_running && reload {
        cluster.reload()?;
        text.push_str("the server reads its configuration again\n");
    } else if is_running {
        text.push_str("`pgcluster reload` makes the server use it\n");
    }
    if !restart.is_empty() {
        text.push_str(&format!(
            "takes effect at the next start: {}\n",
            restart.join(", ")
        ));
    }
    let shadowed = written.shadowed.iter().map(|shadowed| {
        json!({
            "name": shadowed.name,
            "file": shadowed.by.file.as_str(),
            "line": shadowed.by.line,
            "value": shadowed.by.value,
        })
    });
    let json = json!({
        "file": cluster.config_file().as_str(),
        "changed": written.changed,
        "reloaded": is_running && reload,
        "needs_restart": restart,
        "shadowed": shadowed.collect::<Vec<Value>>(),
    });
    Ok(Outcome { text, json })
}

struct Outcome {
    text: String,
    json: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str], pgdata: Option<&str>) -> Option<(String, usize)> {
        let words = Words {
            directory: None,
            words: words.iter().map(ToString::to_string).collect(),
        };
        let (directory, rest) = words.directory_and_rest(pgdata.map(str::to_owned)).ok()?;
        Some((directory.into_string(), rest.len()))
    }

    #[test]
    fn the_directory_is_the_first_argument_unless_the_environment_names_it() {
        let is = |directory: &str, rest| Some((directory.to_owned(), rest));
        assert_eq!(split(&["data", "work_mem"], None), is("data", 1));
        assert_eq!(split(&["work_mem"], Some("/srv/pg")), is("/srv/pg", 1));
        assert_eq!(
            split(&["./other", "work_mem"], Some("/srv/pg")),
            is("./other", 1)
        );
        assert_eq!(split(&["src", "work_mem"], Some("/srv/pg")), is("src", 1));
        assert_eq!(split(&[], Some("/srv/pg")), is("/srv/pg", 0));
        assert_eq!(split(&[], None), None);
    }
}
