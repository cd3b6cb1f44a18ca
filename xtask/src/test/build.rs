//! Building of the tests, once for all accounts.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use crate::workspace;

/// Directories of the packages whose tests start servers.
const SERVER_TESTS: [&str; 3] = ["tests", "crates/pg-cluster", "crates/pgcluster"];

/// Tests in these packages that need files of the checkout and no server. They are not run again by
/// another account.
const WITHOUT_SERVER: [&str; 4] = ["cluster_docs", "guide", "oracle", "oracle_hba"];

/// The executables of the packages that have server tests.
#[derive(Default)]
pub(crate) struct Executables {
    pub(crate) tests: Vec<TestExecutable>,
    /// The programs of these packages that the tests start, by name.
    pub(crate) programs: BTreeMap<String, Utf8PathBuf>,
    /// The names of all test executables of the workspace.
    pub(crate) names: Vec<String>,
}

pub(crate) struct TestExecutable {
    pub(crate) path: Utf8PathBuf,
    /// The file name without extension.
    pub(crate) name: String,
    /// The directory of the package, relative to the workspace.
    pub(crate) package: &'static str,
}

/// Builds all tests of the workspace, with the same flags as the runs.
pub(crate) fn tests() -> Result<Executables> {
    let output = workspace::cargo()
        .args(["test", "--workspace", "--all-features", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run cargo")?;
    if !output.status.success() {
        bail!("the tests cannot be built");
    }
    let root = workspace::root();
    let mut executables = Executables::default();
    for line in output.stdout.split(|&byte| byte == b'\n') {
        // Other messages lack some of the fields.
        let Ok(artifact) = serde_json::from_slice::<Artifact>(line) else {
            continue;
        };
        let Some(path) = artifact.executable.map(Utf8PathBuf::from) else {
            continue;
        };
        if artifact.profile.test {
            executables.names.push(artifact.target.name.clone());
        }
        let manifest = Utf8Path::new(&artifact.manifest_path);
        let package = SERVER_TESTS
            .into_iter()
            .find(|package| manifest.parent() == Some(&root.join(package)));
        let Some(package) = package else { continue };
        if WITHOUT_SERVER.contains(&artifact.target.name.as_str()) {
            continue;
        }
        if artifact.profile.test {
            let name = artifact.target.name;
            executables.tests.push(TestExecutable {
                path,
                name,
                package,
            });
        } else {
            executables.programs.insert(artifact.target.name, path);
        }
    }
    Ok(executables)
}

/// cargo's message about a built artifact.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: String,
    target: Target,
    profile: Profile,
    executable: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}
