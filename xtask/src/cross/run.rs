//! `cargo xtask cross --run TARGET`: the tests run as programs of another C library or processor.
//!
//! `zig cc` links for any processor with musl, statically; the C compiler of this machine links for
//! i686 with its own C library. Processors that this machine does not have are emulated by
//! qemu-user.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use camino::Utf8Path;

use super::{Toolchains, debian_cargo};
use crate::test::servers::{self, Selection};
use crate::workspace;

/// Packages whose tests need no server. Those of pg-tests are added where they can start one.
const WITHOUT_SERVER: [&str; 3] = ["pg-install", "pg-proc", "pgconf-parse"];

/// Emulation would slow these down to hours, and they fork with threads.
const WITH_SERVER: [&str; 2] = ["x86_64", "i686"];

/// `zig cc` as the linker. It brings the unwinder under another name, and no libgcc.
const LINKER: &str = r#"#!/bin/bash
arguments=()
for argument in "$@"; do
    case "$argument" in
    -lgcc_eh | -lgcc_s | -l:libunwind.a) arguments+=(-lunwind) ;;
    -lgcc | --target=*) ;;
    *) arguments+=("$argument") ;;
    esac
done
exec ${ZIG:-python3 -m ziglang} cc -target "${0##*/zig-cc-}" "${arguments[@]}"
"#;

pub(super) fn run(target: &str, directory: &Utf8Path, tests: &[String]) -> Result<ExitCode> {
    if !Toolchains::find()?.has_debian {
        bail!("running needs Debian's packages rustc-web, cargo-web and rust-web-src");
    }
    let (processor, _) = target.split_once('-').context("no target")?;
    let mut cargo = debian_cargo();
    let variable = |what: &str| {
        let name = target.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{name}_{what}")
    };
    let directory = directory.join("run");
    if target.ends_with("-linux-musl") {
        let name = if processor == "i686" {
            "x86"
        } else {
            processor
        };
        let linker = directory.join(format!("zig-cc-{name}-linux-musl"));
        std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(&linker, LINKER))
            .and_then(|()| std::fs::set_permissions(&linker, Permissions::from_mode(0o755)))
            .with_context(|| format!("failed to write {linker}"))?;
        cargo.env(variable("LINKER"), linker).env(
            "RUSTFLAGS",
            "-C link-self-contained=no -C target-feature=+crt-static",
        );
    } else if target != "i686-unknown-linux-gnu" {
        bail!("only targets with musl and i686-unknown-linux-gnu can be linked and run");
    }
    if !WITH_SERVER.contains(&processor) {
        cargo.env(variable("RUNNER"), format!("qemu-{processor}-static"));
    }
    cargo
        .args(["test", "--locked", "--no-fail-fast", "--target", target])
        .args(["--target-dir", directory.as_str()])
        .args(["--lib", "--tests"]);
    if tests.is_empty() {
        for package in WITHOUT_SERVER {
            cargo.args(["--package", package]);
        }
    } else {
        if !WITH_SERVER.contains(&processor) {
            bail!("servers of {processor} cannot be had here");
        }
        cargo.args(["--package", "pg-tests"]);
        for test in tests {
            cargo.args(["--test", test]);
        }
    }
    let servers = servers::choose(&Selection::here())?.servers;
    let directories: Vec<&str> = servers.iter().map(|server| server.bin.as_str()).collect();
    workspace::hide_server(&mut cargo);
    let status = cargo
        .env("PG_TESTS_BINDIRS", directories.join(":"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .status()
        .context("failed to run cargo")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}
