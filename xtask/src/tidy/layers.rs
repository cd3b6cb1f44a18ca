//! The allowed dependencies between crates.
//!
//! A published crate depends only on crates of lower floors, even for its tests. No crate depends
//! on xtask, and only the benchmarks depend on the tests' library. Dependencies for parsing and for
//! system calls belong to one crate each.

use super::packages::{Dependency, Package, Packages};
use super::{Finding, Tree};

/// The floors of the published crates.
const FLOORS: [(&str, u8); 6] = [
    ("pgconf-parse", 1),
    ("pg-install", 1),
    ("pg-proc", 1),
    ("pg-cluster", 2),
    ("pg-fixture", 3),
    ("pgcluster", 4),
];

/// Unpublished members, and the members that may depend on them.
const UNPUBLISHED: [(&str, &str); 1] = [("pg-tests", "pg-benches")];

/// Dependencies that only some of the published crates may have. pg-install runs programs with
/// limits, for which std has no function. All other system calls belong to pg-proc.
const OWNERS: [(&str, &[&str]); 4] = [
    ("winnow", &["pgconf-parse"]),
    ("libc", &["pg-proc"]),
    ("nix", &["pg-proc"]),
    ("rustix", &["pg-proc", "pg-install"]),
];

/// Dependencies that need no justification. Other dependencies must have one in a comment above.
const AGREED: [&str; 8] = [
    "camino",
    "nix",
    "reflink-copy",
    "rustix",
    "serde",
    "tempfile",
    "thiserror",
    "winnow",
];

pub(super) fn check(packages: &Packages, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &packages.packages {
        let manifest = packages.manifest(package);
        let text = tree.text(&manifest).unwrap_or_default();
        for dependency in &package.dependencies {
            if let Some(problem) = problem(packages, package, dependency, text) {
                let line = line_of(text, &dependency.name).map(|index| index + 1);
                findings.push(Finding {
                    line,
                    ..Finding::new(&manifest, problem)
                });
            }
        }
        let is_known = floor(&package.name).is_some();
        if package.is_published() && !is_known {
            findings.push(Finding::new(
                &manifest,
                "is published, but has no floor in FLOORS",
            ));
        }
    }
    findings
}

fn problem(
    packages: &Packages,
    package: &Package,
    dependency: &Dependency,
    manifest: &str,
) -> Option<String> {
    let (user, used) = (&package.name, &dependency.name);
    let member = packages
        .packages
        .iter()
        .find(|package| package.name == *used);
    if let Some(member) = member {
        if !member.is_published() {
            let is_known = UNPUBLISHED.contains(&(used.as_str(), user.as_str()));
            return (!is_known).then(|| format!("nothing may depend on {used}"));
        }
        // A crate without a floor is unpublished, or was reported above.
        let (user_floor, used_floor) = (floor(user)?, floor(used)?);
        return (user_floor <= used_floor).then(|| {
            format!("{user} (floor {user_floor}) must not use {used} (floor {used_floor})")
        });
    }
    if !package.is_published() || dependency.kind.as_deref() == Some("dev") {
        return None;
    }
    let owners = OWNERS.iter().find(|(name, _)| name == used);
    if let Some((_, owners)) = owners.filter(|(_, owners)| !owners.contains(&user.as_str())) {
        return Some(format!(
            "only {} may depend on {used}",
            owners.join(" and ")
        ));
    }
    let is_agreed = AGREED.contains(&used.as_str());
    (!is_agreed && !has_reason(manifest, used)).then(|| {
        format!("{used} is not an agreed dependency: give the reason in a comment above it")
    })
}

fn floor(name: &str) -> Option<u8> {
    let found = FLOORS.iter().find(|(member, _)| *member == name);
    found.map(|(_, floor)| *floor)
}

/// Returns whether there is a comment above the dependency.
fn has_reason(manifest: &str, name: &str) -> bool {
    let above =
        line_of(manifest, name).and_then(|index| manifest.lines().nth(index.checked_sub(1)?));
    above.is_some_and(|line| line.starts_with('#') && line.len() > 10)
}

/// Returns the index of the line that declares a dependency.
fn line_of(manifest: &str, name: &str) -> Option<usize> {
    manifest.lines().position(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the findings for a workspace given as `name [publish]: dependencies`. The prefix
    /// `dev:` marks dependencies of tests.
    fn found(workspace: &[(&str, &[&str])], manifests: &[(&str, &str)]) -> Vec<String> {
        let packages: Vec<_> = workspace
            .iter()
            .map(|(name, dependencies)| {
                let publish = if ["xtask", "pg-tests", "pg-benches"].contains(name) {
                    "[]"
                } else {
                    "null"
                };
                let dependencies: Vec<_> = dependencies
                    .iter()
                    .map(|dependency| match dependency.strip_prefix("dev:") {
                        Some(name) => format!(r#"{{"name": "{name}", "kind": "dev"}}"#),
                        None => format!(r#"{{"name": "{dependency}", "kind": null}}"#),
                    })
                    .collect();
                format!(
                    r#"{{"name": "{name}", "version": "1.0.0", "publish": {publish},
                         "manifest_path": "/w/{name}/Cargo.toml", "dependencies": [{}]}}"#,
                    dependencies.join(",")
                )
            })
            .collect();
        let json = format!(
            r#"{{"workspace_root": "/w", "packages": [{}]}}"#,
            packages.join(",")
        );
        let packages: Packages = serde_json::from_str(&json).unwrap();
        check(&packages, &Tree::made_up(manifests))
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn the_intended_layers_pass() {
        let workspace: [(&str, &[&str]); 9] = [
            ("pgconf-parse", &["winnow", "camino", "dev:nix"]),
            ("pg-install", &["thiserror", "rustix"]),
            ("pg-proc", &["nix", "rustix"]),
            (
                "pg-cluster",
                &["pgconf-parse", "pg-install", "pg-proc", "tempfile"],
            ),
            ("pg-fixture", &["pg-cluster", "pg-proc"]),
            ("pgcluster", &["pg-fixture", "pg-cluster"]),
            ("pg-tests", &["pg-cluster", "pg-proc", "nix", "postgres"]),
            ("pg-benches", &["pg-tests", "pg-fixture"]),
            ("xtask", &["pg-cluster", "rustix", "clap"]),
        ];
        assert_eq!(found(&workspace, &[]), [""; 0]);
    }

    #[test]
    fn each_forbidden_edge_is_found() {
        let workspace: [(&str, &[&str]); 8] = [
            ("pgconf-parse", &["pg-install"]),
            ("pg-install", &["dev:pg-proc", "nix"]),
            ("pg-proc", &["pg-cluster", "winnow"]),
            (
                "pg-cluster",
                &["rustix", "xtask", "dev:pg-tests", "dev:pg-fixture"],
            ),
            ("pg-fixture", &["pgcluster", "libc"]),
            ("pgcluster", &["pg-cluster"]),
            ("pg-tests", &[]),
            ("xtask", &["pg-tests"]),
        ];
        let problems = [
            "pgconf-parse/Cargo.toml: pgconf-parse (floor 1) must not use pg-install (floor 1)",
            "pg-install/Cargo.toml: pg-install (floor 1) must not use pg-proc (floor 1)",
            "pg-install/Cargo.toml: only pg-proc may depend on nix",
            "pg-proc/Cargo.toml: pg-proc (floor 1) must not use pg-cluster (floor 2)",
            "pg-proc/Cargo.toml: only pgconf-parse may depend on winnow",
            "pg-cluster/Cargo.toml: only pg-proc and pg-install may depend on rustix",
            "pg-cluster/Cargo.toml: nothing may depend on xtask",
            "pg-cluster/Cargo.toml: nothing may depend on pg-tests",
            "pg-cluster/Cargo.toml: pg-cluster (floor 2) must not use pg-fixture (floor 3)",
            "pg-fixture/Cargo.toml: pg-fixture (floor 3) must not use pgcluster (floor 4)",
            "pg-fixture/Cargo.toml: only pg-proc may depend on libc",
            "xtask/Cargo.toml: nothing may depend on pg-tests",
        ];
        assert_eq!(found(&workspace, &[]), problems);
    }

    #[test]
    fn other_dependencies_need_a_reason() {
        let workspace: [(&str, &[&str]); 1] = [("pg-proc", &["nine"])];
        let with = "[dependencies]\n# No other can count to nine.\nnine.workspace = true\n";
        assert_eq!(found(&workspace, &[("pg-proc/Cargo.toml", with)]), [""; 0]);
        let without = "[dependencies]\nnine = \"0.9\"\n";
        assert_eq!(
            found(&workspace, &[("pg-proc/Cargo.toml", without)]),
            [
                "pg-proc/Cargo.toml:2: nine is not an agreed dependency: give the reason in a \
                 comment above it"
            ]
        );
    }
}
