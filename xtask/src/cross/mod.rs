//! `cargo xtask cross`: checks all crates and tests for other targets, and runs tests for
//! those that can be linked and executed here.
//!
//! If rustup has the target's standard library, cargo uses that. Otherwise Debian's packages
//! rustc-web, cargo-web and rust-web-src build the standard library from its source. A linker for
//! the target is not required, because nothing is linked.

mod run;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Targets by the names of rustc [default: the four that differ most]
    targets: Vec<String>,
    /// All targets of docs/platform.md
    #[arg(long)]
    all: bool,
    /// Run tests for this target instead of checking: the unit and integration tests that need no
    /// server, or those named
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["targets", "all"])]
    run: Option<String>,
    /// Tests of the package pg-tests to run, on the servers of this machine
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "run")]
    tests: Vec<String>,
    /// Directory for build results [default: `target/cross`]
    #[arg(long)]
    target_dir: Option<Utf8PathBuf>,
}

/// Targets that differ in the C library, the kernel or the width of a pointer.
const MOST_DIFFERENT: [&str; 4] = [
    "x86_64-unknown-linux-musl",
    "i686-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-unknown-netbsd",
];

/// The other targets in docs/platform.md.
const OTHERS: [&str; 6] = [
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "s390x-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "x86_64-unknown-freebsd",
    "x86_64-unknown-openbsd",
];

/// A package that supports Linux only.
const NOT_CHECKED: &str = "pg-benches";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let directory = args.target_dir.clone();
    let directory = directory.unwrap_or_else(|| workspace::root().join("target/cross"));
    if let Some(target) = &args.run {
        return run::run(target, &directory, &args.tests);
    }
    let mut targets: Vec<&str> = args.targets.iter().map(String::as_str).collect();
    if targets.is_empty() {
        targets.extend(MOST_DIFFERENT);
    }
    if args.all {
        targets.extend(OTHERS);
    }
    let toolchains = Toolchains::find()?;
    let mut outcomes = Vec::new();
    for target in targets {
        println!("{target}");
        outcomes.push((target, toolchains.check(target, &directory)?));
    }

    println!("\nxtask cross:");
    for (target, outcome) in &outcomes {
        match outcome {
            Outcome::Passed(taken) => println!("  passed       {target:<28} {} s", taken.as_secs()),
            Outcome::Failed => println!("  FAILED       {target}"),
            Outcome::NoToolchain => println!("  NOT CHECKED  {target}"),
        }
    }
    if outcomes
        .iter()
        .any(|(_, o)| matches!(o, Outcome::NoToolchain))
    {
        println!(
            "To check these: `rustup target add TARGET`, or as root on Debian `apt-get install \
             rustc-web cargo-web rust-web-src`"
        );
    }
    let failed = outcomes.iter().any(|(_, o)| matches!(o, Outcome::Failed));
    Ok(ExitCode::from(u8::from(failed)))
}

enum Outcome {
    Passed(Duration),
    Failed,
    NoToolchain,
}

/// The toolchains of this machine.
struct Toolchains {
    /// The directory of the targets whose standard library is installed.
    installed: Utf8PathBuf,
    /// True if Debian's toolchain and the source of the standard library are installed.
    has_debian: bool,
}

/// An absolute path, because rustup has programs of the same names on `PATH`.
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

impl Toolchains {
    fn find() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        command.args(["--print", "sysroot"]);
        let sysroot = String::from_utf8(workspace::output_of(&mut command)?)?;
        let files = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_SOURCE];
        Ok(Self {
            installed: Utf8Path::new(sysroot.trim()).join("lib/rustlib"),
            has_debian: files.iter().all(|file| Utf8Path::new(file).exists()),
        })
    }

    fn check(&self, target: &str, directory: &Utf8Path) -> Result<Outcome> {
        let mut cargo = if self.installed.join(target).join("lib").exists() {
            workspace::cargo()
        } else if self.has_debian {
            debian_cargo()
        } else {
            return Ok(Outcome::NoToolchain);
        };
        if target.is_empty() || target.starts_with('-') {
            bail!("{target:?} is not a target");
        }
        let begun = Instant::now();
        let status = cargo
            .args(["check", "--workspace", "--exclude", NOT_CHECKED])
            .args(["--all-targets", "--all-features", "--locked", "--quiet"])
            .args(["--target", target, "--target-dir", directory.as_str()])
            .env("CARGO_ENCODED_RUSTFLAGS", "-Dwarnings")
            // Nothing is linked, so the C code of ring, for certificates, is not needed, and no
            // compiler of C for the target.
            .envs([("TARGET_CC", "true"), ("TARGET_AR", "true")])
            .status()
            .context("failed to run cargo")?;
        Ok(if status.success() {
            Outcome::Passed(begun.elapsed())
        } else {
            Outcome::Failed
        })
    }
}

/// Returns Debian's cargo and rustc, which build the standard library from source. This requires an
/// unstable option, which `RUSTC_BOOTSTRAP` enables in a stable compiler.
fn debian_cargo() -> Command {
    let mut cargo = Command::new(DEBIAN_CARGO);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // cargo describes xtask with the former. rustup names its toolchain with the latter.
        if text.starts_with("CARGO_") && text != "CARGO_HOME" || text.starts_with("RUST") {
            cargo.env_remove(&name);
        }
    }
    cargo
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .env_remove("CARGO")
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTDOC", "/usr/bin/rustdoc")
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["-Z", "build-std=std,panic_abort"]);
    cargo
}
