//! `cargo xtask demo`: shows the life of a cluster on a real server, with the time of each step.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use pg_cluster::{Cluster, InitOptions, Installation, StartOptions, StopPlan};

use crate::postgres::{self, Wanted};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the server's programs
    #[arg(long, value_name = "DIR")]
    bin_directory: Option<camino::Utf8PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::default();
    let room = tempfile::Builder::new().prefix("pg-demo-").tempdir()?;
    std::fs::set_permissions(room.path(), Permissions::from_mode(0o755))?;
    let path = Utf8Path::from_path(room.path()).context("the temporary directory is not UTF-8")?;

    let installation = steps.take("find an installation", || find(args))?;
    println!(
        "    {} in {}",
        installation.version_string(),
        installation.bindir().unwrap_or(path)
    );
    let cluster = Cluster::new(installation, path.join("data"))?;
    if let Some(account) = cluster.account() {
        println!(
            "    running as root: the server runs as {}",
            account.name().unwrap_or("another account")
        );
    }

    steps.take("initdb", || Ok(cluster.init(&InitOptions::new())?))?;
    let written = steps.take("change settings", || {
        let settings = cluster.settings();
        Ok(settings.update([("work_mem", "12MB"), ("log_min_messages", "info")])?)
    })?;
    ensure!(
        written.changed && written.shadowed.is_empty(),
        "the settings were not written"
    );

    let sockets = path.join("s");
    std::fs::create_dir(&sockets)?;
    if let Some(account) = cluster.account() {
        std::os::unix::fs::chown(&sockets, Some(account.uid()), Some(account.gid()))?;
    }
    let options = StartOptions::new().socket_only(&sockets);
    let started = steps.take("start, and wait until ready", || {
        Ok(cluster.start(&options)?)
    })?;
    println!("    process {}", started.pid());

    let info = cluster
        .connection_info()?
        .context("the server has no address")?;
    let uri = info.with_user("postgres").with_database("postgres").uri();
    println!("    {uri}");
    let mut client = steps.take("connect a client", || {
        Ok(::postgres::Client::connect(&uri, ::postgres::NoTls)?)
    })?;
    let work_mem = steps.take("run a query", || show(&mut client, "work_mem"))?;
    ensure!(
        work_mem == "12MB",
        "the server reports {work_mem} for work_mem"
    );

    cluster.settings().set("work_mem", "21MB")?;
    steps.take("reload, and see the new setting", || {
        cluster.reload()?;
        let begun = Instant::now();
        while show(&mut client, "work_mem")? != "21MB" {
            ensure!(
                begun.elapsed() < Duration::from_secs(10),
                "the server did not apply the setting"
            );
        }
        Ok(())
    })?;
    drop(client);
    steps.take("shut down, and wait for the exit", || {
        Ok(cluster.stop(&StopPlan::fast())?)
    })?;
    steps.take("remove", || Ok(cluster.remove()?))?;
    ensure!(
        !cluster.data_directory().exists(),
        "the data directory still exists"
    );
    room.close()?;
    steps.print();
    Ok(ExitCode::SUCCESS)
}

fn find(args: &Args) -> Result<Installation> {
    let directory = match &args.bin_directory {
        Some(directory) => directory.clone(),
        None => postgres::one(Wanted::Any)?.bin,
    };
    Ok(Installation::from_bin_directory(directory)?)
}

fn show(client: &mut ::postgres::Client, setting: &str) -> Result<String> {
    Ok(client.query_one(&format!("SHOW {setting}"), &[])?.get(0))
}

#[derive(Default)]
struct Steps {
    taken: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn take<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("==> {name}");
        let begun = Instant::now();
        let result = step().with_context(|| format!("failed to {name}"))?;
        self.taken.push((name, begun.elapsed()));
        Ok(result)
    }

    fn print(&self) {
        println!("\n{:<40} {:>10}", "step", "ms");
        let whole = self.taken.iter().map(|(_, time)| *time).sum();
        for (name, time) in self.taken.iter().chain([&("total", whole)]) {
            println!("{name:<40} {:>10.1}", time.as_secs_f64() * 1e3);
        }
    }
}
