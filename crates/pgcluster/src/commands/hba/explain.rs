//! `pgcluster hba explain`: which rule decides.

use std::net::IpAddr;

use pg_cluster::conf::hba::{Attempt, Encryption};
use pg_cluster::{AccessDecision, AccessRule};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::failure::Result;
use crate::target::Target;
use crate::words::{RED, YELLOW, paint};

/// Show which rule decides on an attempt to connect
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Exit status: 1 if no rule applies, so that the server rejects the attempt, or if the rule cannot be
determined.

Examples:
  pgcluster hba explain data --user bob --database app
  pgcluster hba explain data --user bob --database app --from 10.0.0.7 --tls")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    attempt: AttemptArgs,
    /// Role that the user is a member of; can be repeated
    #[arg(long, value_name = "ROLE")]
    member_of: Vec<String>,
}

/// An attempt to connect.
#[derive(Clone, Debug, clap::Args)]
struct AttemptArgs {
    /// Database user
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    user: String,
    /// Database
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    database: String,
    /// Address of the client; without it the attempt comes over the Unix socket
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The connection is encrypted
    #[arg(long, requires = "from")]
    tls: bool,
}

impl AttemptArgs {
    fn attempt(&self) -> Attempt {
        let (database, user) = (self.database.as_str(), self.user.as_str());
        match self.from {
            Some(address) if self.tls => {
                Attempt::host(address, database, user).encrypted(Encryption::Tls)
            }
            Some(address) => Attempt::host(address, database, user),
            None => Attempt::local(database, user),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let hba = cluster.hba();
    let facts = hba
        .facts()?
        .member_of(args.member_of.iter().map(String::as_str));
    let decision = hba.explain(&args.attempt.attempt(), &facts)?;
    Ok(match decision {
        AccessDecision::Rule(rule) => {
            Answer::new(rule.to_string(), json(Some(&rule), "rule", None))
        }
        AccessDecision::DependsOn(rule, fact) => {
            let fact = fact.to_string();
            let text = format!("{rule}\n{}", paint(YELLOW, &format!("depends on {fact}")));
            Answer::new(text, json(Some(&rule), "depends", Some(&fact))).with_code(1)
        }
        _ => {
            let text = paint(RED, "no rule applies: the server rejects the connection");
            Answer::new(text, json(None, "none", None)).with_code(1)
        }
    })
}

fn json(rule: Option<&AccessRule>, decision: &str, depends_on: Option<&str>) -> Value {
    json!({
        "decision": decision,
        "depends_on": depends_on,
        "file": rule.map(|rule| rule.line().file().as_str()),
        "line": rule.map(|rule| rule.line().line()),
        "text": rule.map(|rule| rule.line().text()),
        "method": rule.map(|rule| rule.method().name()),
    })
}
