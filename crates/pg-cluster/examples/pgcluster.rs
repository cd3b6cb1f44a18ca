//! Controls a local PostgreSQL cluster from the command line: `pgcluster --help`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use pg_cluster::{
    Cluster, Discovery, InitOptions, Installation, Ownership, Report, Request, Signal,
    StartOptions, Started, StopPlan, Stopped, Validation,
};

const HELP: &str = "\
Controls a local PostgreSQL cluster.

Usage: pgcluster COMMAND DIR [ARGUMENT...]

  init DIR [USER]             make the data directory DIR
  start DIR [NAME=VALUE...]   start its server, which outlives this program
  stop DIR [MODE]             stop it: smart, fast (the default), immediate or kill
  restart DIR [NAME=VALUE...] stop it and start it again
  reload DIR                  have it read its configuration files again
  status DIR                  say what it is doing, and how to reach it
  set DIR NAME=VALUE...       change postgresql.conf, if the server would accept it
  explain DIR NAME...         say where settings get their values
  remove DIR                  stop it and remove all its data

The installation is the one in the bin directory PGBIN, or the newest found.
Start takes a directory for the socket as unix_socket_directories=PATH.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = arguments
        .iter()
        .any(|text| text == "--help" || text == "-h");
    if asked || arguments.is_empty() {
        print!("{HELP}");
        return if asked {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    }
    let begun = Instant::now();
    match run(&arguments) {
        Ok(done) => {
            println!("{done} ({:.0?})", begun.elapsed());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", Report::new(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let [command, directory, rest @ ..] = arguments else {
        return Err("a command and a directory are needed: see --help".into());
    };
    let cluster = Cluster::new(installation()?, directory)?;
    let directory = cluster.data_directory();
    Ok(match command.as_str() {
        "init" => {
            let user = rest.first().map_or("postgres", String::as_str);
            cluster.init(&InitOptions::new().user(user))?;
            let version = cluster.installation().version();
            format!("initialized {directory} for PostgreSQL {version}, superuser {user}")
        }
        "start" => match cluster.start(&start_options(rest)?)? {
            Started::AlreadyRunning(pid) => format!("server {pid} was running already"),
            started => format!("started server {}{}", started.pid(), address(&cluster)?),
        },
        "stop" => match cluster.stop(&stop_plan(rest.first())?)? {
            Stopped::By { pid, signal, .. } => format!("stopped server {pid} ({signal})"),
            _ => "no server was running".to_owned(),
        },
        "restart" => {
            let started = cluster.restart(&StopPlan::fast(), &start_options(rest)?)?;
            format!(
                "restarted as server {}{}",
                started.pid(),
                address(&cluster)?
            )
        }
        "reload" => format!("told server {} to reload", cluster.reload()?),
        "status" => format!("{:?}{}", cluster.state()?, address(&cluster)?),
        "set" => {
            let settings = assignments(rest)?;
            let validated = cluster.settings().validated(Validation::Server);
            let written = validated.update(settings)?;
            for shadowed in &written.shadowed {
                println!(
                    "{} has no effect: {} says {}",
                    shadowed.name, shadowed.by, shadowed.by.value
                );
            }
            let done = if written.changed {
                "changed"
            } else {
                "nothing to change in"
            };
            format!("{done} {}", cluster.config_file())
        }
        "explain" => {
            for name in rest {
                println!("{}", cluster.settings().explain(name)?);
            }
            format!("read {}", cluster.config_file())
        }
        "remove" => {
            cluster.remove()?;
            format!("removed {directory}")
        }
        other => return Err(format!("`{other}` is no command: see --help").into()),
    })
}

fn installation() -> Result<Installation, Box<dyn Error>> {
    Ok(match std::env::var("PGBIN") {
        Ok(directory) => Installation::from_bin_directory(directory)?,
        Err(_) => Discovery::new()
            .find(&Request::newest())?
            .into_installation(),
    })
}

fn assignments(arguments: &[String]) -> Result<Vec<(&str, &str)>, Box<dyn Error>> {
    let pairs = arguments.iter().map(|text| {
        text.split_once('=')
            .ok_or_else(|| format!("`{text}` is not NAME=VALUE").into())
    });
    pairs.collect()
}

fn start_options(arguments: &[String]) -> Result<StartOptions, Box<dyn Error>> {
    Ok(StartOptions::new()
        .settings(assignments(arguments)?)
        .ownership(Ownership::Detached))
}

fn stop_plan(mode: Option<&String>) -> Result<StopPlan, Box<dyn Error>> {
    let timeout = std::time::Duration::from_secs(60);
    let signal = match mode.map_or("fast", String::as_str) {
        "smart" => Signal::Smart,
        "fast" => Signal::Fast,
        "immediate" => Signal::Immediate,
        "kill" => Signal::Kill,
        other => return Err(format!("`{other}` is not a shutdown mode: see --help").into()),
    };
    Ok(StopPlan::new(signal, timeout))
}

fn address(cluster: &Cluster) -> Result<String, Box<dyn Error>> {
    let info = cluster
        .connection_info()?
        .filter(|_| cluster.is_running().unwrap_or(false));
    Ok(info.map_or_else(String::new, |info| format!(" at {}", info.uri())))
}
