//! The packages of the workspace, and the requirements of published ones.

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::{Finding, Tree};
use crate::workspace;

/// The output of `cargo metadata` for the workspace.
#[derive(Deserialize)]
pub(super) struct Packages {
    pub(super) packages: Vec<Package>,
    #[serde(default)]
    workspace_root: String,
}

#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    manifest_path: String,
    pub(super) dependencies: Vec<Dependency>,
    /// The registries to which the package may be published. An empty list stands for none.
    #[serde(default)]
    publish: Option<Vec<String>>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    readme: Option<String>,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    #[serde(default)]
    pub(super) kind: Option<String>,
}

impl Packages {
    pub(super) fn query() -> Result<Packages> {
        let arguments = ["metadata", "--no-deps", "--format-version=1"];
        let output = workspace::output_of(workspace::cargo().args(arguments))?;
        serde_json::from_slice(&output).context("`cargo metadata` printed unexpected output")
    }

    pub(super) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| package.is_published())
    }

    /// Returns the path of a package's manifest, relative to the workspace.
    pub(super) fn manifest(&self, package: &Package) -> Utf8PathBuf {
        let path = Utf8Path::new(&package.manifest_path);
        path.strip_prefix(&self.workspace_root)
            .unwrap_or(path)
            .to_owned()
    }
}

impl Package {
    pub(super) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }
}

/// Checks that a published crate has a README, a changelog, licenses, and descriptive fields in its
/// manifest.
pub(super) fn check(packages: &Packages, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages.published() {
        let manifest = packages.manifest(package);
        let directory = manifest.parent().unwrap_or(Utf8Path::new(""));
        for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            if tree
                .text(&directory.join(file))
                .is_none_or(|text| text.trim().is_empty())
            {
                findings.push(Finding::new(directory.join(file), "is missing or empty"));
            }
        }

        let changelog = directory.join("CHANGELOG.md");
        let announces = |line: &str| {
            line.starts_with("## ")
                && (line.contains(&package.version) || line.contains("Unreleased"))
        };
        if tree
            .text(&changelog)
            .is_some_and(|text| !text.lines().any(announces))
        {
            let version = &package.version;
            findings.push(Finding::new(
                changelog,
                format!("has no section for version {version}, nor one called Unreleased"),
            ));
        }

        for (field, is_there) in [
            ("description", package.description.is_some()),
            ("license", package.license.is_some()),
            ("readme", package.readme.is_some()),
            ("keywords", !package.keywords.is_empty()),
            ("categories", !package.categories.is_empty()),
        ] {
            if !is_there {
                findings.push(Finding::new(&manifest, format!("has no {field}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(json: &str) -> Packages {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn missing_files_of_published_crates_are_reported() {
        let packages = packages(
            r###"{"workspace_root": "/w", "packages": [
                {"name": "a", "version": "1.2.3", "manifest_path": "/w/a/Cargo.toml",
                 "dependencies": [], "publish": null, "description": "d", "license": "MIT",
                 "readme": "README.md", "keywords": ["k"], "categories": []},
                {"name": "x", "version": "1.2.3", "manifest_path": "/w/x/Cargo.toml",
                 "dependencies": [], "publish": []}]}"###,
        );
        let tree = Tree::made_up(&[
            ("a/README.md", "# a"),
            ("a/CHANGELOG.md", "# Changelog\n\n## 1.2.2\n"),
            ("a/LICENSE-MIT", "..."),
            ("a/LICENSE-APACHE", " \n"),
        ]);
        let found: Vec<_> = check(&packages, &tree)
            .iter()
            .map(Finding::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "a/LICENSE-APACHE: is missing or empty",
                "a/CHANGELOG.md: has no section for version 1.2.3, nor one called Unreleased",
                "a/Cargo.toml: has no categories",
            ]
        );
    }
}
