//! Administration of a cluster that another program made and runs.
//!
//! `admin DATA_DIRECTORY` describes the cluster. `admin DATA_DIRECTORY NAME=VALUE...` also changes
//! settings: each is checked by the server's own program first, all of them are written at once,
//! and a running server reloads them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]

use std::error::Error;
use std::process::ExitCode;

use pg_cluster::{Cluster, Discovery, MajorVersion, Report, Request, State, Validation};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: admin DATA_DIRECTORY [NAME=VALUE...]");
        return ExitCode::from(2);
    };
    let changes: Vec<String> = arguments.collect();
    match run(&directory, &changes) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("admin: {}", Report::new(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &str, changes: &[String]) -> Result<bool, Box<dyn Error>> {
    let major = MajorVersion::from_pg_version_file(format!("{directory}/PG_VERSION"))?;
    let installation = Discovery::new().find(&Request::series(major))?;
    // If postgresql.conf is not in the data directory, as on Debian: `Cluster::from_config_file`.
    let cluster = Cluster::new(installation.into_installation(), directory)?;
    describe(&cluster)?;
    if changes.is_empty() {
        return Ok(true);
    }
    change(&cluster, changes)
}

fn describe(cluster: &Cluster) -> Result<(), Box<dyn Error>> {
    println!("data directory  {}", cluster.data_directory());
    println!("version         {}", cluster.installation().version());
    let control = cluster.control_data()?;
    println!("system          {}", control.system_identifier);
    match cluster.state()? {
        State::Stopped => println!("server          none; {}", control.state.as_str()),
        state => println!("server          {state:?}"),
    }
    if let Some(uptime) = cluster.uptime()? {
        println!("up for          {} s", uptime.as_secs());
        if let Some(address) = cluster.connection_info()? {
            println!("address         {}", address.uri());
        }
    }
    for problem in cluster.settings().effective()?.problems() {
        println!("problem         {problem}");
    }
    Ok(())
}

fn change(cluster: &Cluster, changes: &[String]) -> Result<bool, Box<dyn Error>> {
    let settings = cluster.settings().validated(Validation::Server);
    let mut pairs = Vec::new();
    let mut restart = Vec::new();
    let mut accepted = true;
    for change in changes {
        let (name, value) = change
            .split_once('=')
            .ok_or_else(|| format!("`{change}` is not NAME=VALUE"))?;
        let check = settings.check(name, value)?;
        if let Some(problem) = check.problem {
            eprintln!("{problem}");
            accepted = false;
        }
        if check.needs_restart {
            restart.push(name);
        }
        pairs.push((name, value));
    }
    if !accepted {
        return Ok(false);
    }

    let written = settings.update(pairs)?;
    for shadowed in &written.shadowed {
        println!(
            "{} stays {} because of {} line {}",
            shadowed.name, shadowed.by.value, shadowed.by.file, shadowed.by.line
        );
    }
    if !written.changed {
        println!("nothing to change in {}", settings.path());
    } else if cluster.is_running()? {
        cluster.reload()?;
        println!("changed and reloaded");
        if !restart.is_empty() {
            println!("takes effect at the next start: {}", restart.join(", "));
        }
    } else {
        println!("changed; the next start uses it");
    }
    Ok(written.shadowed.is_empty())
}
