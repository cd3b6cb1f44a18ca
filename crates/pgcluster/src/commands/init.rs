//! `pgcluster init`: a new data directory.

use camino::Utf8PathBuf;
use pg_cluster::conf::join_directories;
use pg_cluster::{Cluster, InitOptions, Installation, Request};
use serde_json::json;

use crate::answer::Answer;
use crate::failure::Result;
use crate::progress::Progress;
use crate::target::Target;
use crate::temporary::assignment;

/// Make a data directory
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster init data
  pgcluster init data --version 16 --socket-dir data --set work_mem=64MB
  pgcluster init data --password-file secret    # clients need the password")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// PostgreSQL version: `16`, `>=14,<17`, `15.4`, `newest`
    #[arg(long, value_name = "REQUEST", default_value = "newest")]
    version: Request,
    /// Name of the superuser
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    user: String,
    /// File whose first line is the password of the superuser
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
    /// Directory of the server's socket, written into postgresql.conf
    #[arg(long, value_name = "DIR")]
    socket_dir: Option<Utf8PathBuf>,
    /// Setting that is written into postgresql.conf; can be repeated
    #[arg(long = "set", short = 's', value_name = "NAME=VALUE", value_parser = assignment)]
    settings: Vec<(String, String)>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let installation = Installation::find(&args.version)?;
    let cluster = Cluster::new(installation, &args.target.directory)?;
    let mut options = InitOptions::new().user(&args.user);
    if let Some(file) = &args.password_file {
        let text = std::fs::read_to_string(file)?;
        options = options.password(text.lines().next().unwrap_or_default());
    }
    let mut settings = args.settings.clone();
    if let Some(directory) = &args.socket_dir {
        let directory = camino::absolute_utf8(directory)?;
        let list = join_directories([directory.as_std_path()]);
        let list = String::from_utf8_lossy(&list).into_owned();
        settings.push(("unix_socket_directories".to_owned(), list));
    }
    {
        let _progress = Progress::of(format!("initializing {}", cluster.data_directory()));
        cluster.init(&options)?;
    }
    if !settings.is_empty() {
        cluster.settings().update(settings)?;
    }
    let (directory, version) = (cluster.data_directory(), cluster.installation().version());
    Ok(Answer::new(
        format!(
            "initialized {directory} for PostgreSQL {version}, superuser {}",
            args.user
        ),
        json!({
            "data_directory": directory.as_str(),
            "version": version.without_vendor().to_string(),
            "user": args.user,
        }),
    ))
}
