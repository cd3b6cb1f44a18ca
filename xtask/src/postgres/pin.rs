//! `cargo xtask postgres pin`: updates the pin file, and keeps its comments and order.

use std::fs;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use toml_edit::{DocumentMut, Table, value};

use super::Client;
use super::client::{Found, run as run_client};
use super::pins::Hash;
use crate::workspace;

pub(crate) fn run() -> Result<()> {
    let path = workspace::root().join("xtask/postgres.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let mut document: DocumentMut = text.parse().context("xtask/postgres.toml")?;
    let packages = document["package"]
        .as_array_of_tables_mut()
        .context("there is no [[package]]")?;
    for package in packages.iter_mut() {
        update(package)?;
    }
    fs::write(&path, document.to_string()).with_context(|| format!("failed to write {path}"))
}

fn update(package: &mut Table) -> Result<()> {
    let field = |key| {
        package
            .get(key)
            .and_then(|item| item.as_str())
            .unwrap_or_default()
    };
    let (name, pinned, platform) = (field("name"), field("version"), field("platform"));
    let major: u32 = pinned
        .split('.')
        .next()
        .unwrap_or_default()
        .parse()
        .context(name.to_owned())?;
    let client = if field("client") == "npm" {
        Client::Npm
    } else {
        Client::Pip
    };
    let found = client
        .find()
        .with_context(|| format!("{client} was not found on PATH"))?;
    let (version, hash) = match client {
        Client::Npm => newest_by_npm(found, name, major)?,
        Client::Pip => newest_by_pip(found, name, major, platform)?,
    };
    if (pinned, field("hash")) != (&version, &hash) {
        println!("{name} for {platform}: {pinned} -> {version}");
        package["version"] = value(version);
        package["hash"] = value(hash);
    }
    Ok(())
}

fn newest_by_npm(npm: &Found, name: &str, major: u32) -> Result<(String, String)> {
    let view =
        |what: &str, field: &str| run_client(npm.command().args(["view", "--json", what, field]));
    // npm prints versions in the order of semantic versioning.
    let versions: Vec<String> = serde_json::from_slice(&view(name, "versions")?)?;
    let newest = versions
        .into_iter()
        .rfind(|version| version.starts_with(&format!("{major}.")));
    let version = newest
        .with_context(|| format!("npm has no version of {name} with major version {major}"))?;
    let hash = serde_json::from_slice(&view(&format!("{name}@{version}"), "dist.integrity")?)?;
    Ok((version, hash))
}

/// pip does not report hashes, so the hash is computed from the downloaded file.
fn newest_by_pip(pip: &Found, name: &str, major: u32, platform: &str) -> Result<(String, String)> {
    let tags: &[&str] = match platform {
        "linux-x64" => &["manylinux_2_28_x86_64", "manylinux_2_34_x86_64"],
        "linux-arm64" => &["manylinux_2_28_aarch64", "manylinux_2_34_aarch64"],
        "darwin-x64" => &["macosx_13_0_x86_64"],
        "darwin-arm64" => &["macosx_14_0_arm64"],
        other => bail!("wheels have no tag for the platform {other}"),
    };
    let directory = tempfile::tempdir()?;
    let mut command = pip.command();
    command.args([
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--dest",
    ]);
    command
        .arg(directory.path())
        .arg(format!("{name}>={major},<{}", major + 1));
    for tag in tags {
        command.args(["--platform", tag]);
    }
    run_client(&mut command)?;

    let directory = Utf8Path::from_path(directory.path()).context("the path is not UTF-8")?;
    let wheel = directory
        .read_dir_utf8()?
        .next()
        .context("pip did not download a wheel")??;
    // NAME-VERSION-TAGS.whl
    let version = wheel
        .file_name()
        .split('-')
        .nth(1)
        .context("the wheel's name has no version")?;
    Ok((
        version.to_owned(),
        Hash::Sha256(Vec::new())
            .of_same_kind(wheel.path())?
            .to_string(),
    ))
}
