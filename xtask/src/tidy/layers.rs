//! Who may depend on whom.
//!
//! The three lower crates are siblings without edges between them; the facade composes them;
//! pg-fixture stands on the facade; nothing depends on xtask or on the tests. Parsing is one crate's affair, system calls another's,
//! and each says so by its dependencies.

use super::packages::{Dependency, Package, Packages};
use super::{Finding, Tree};

/// Members of the workspace that a published crate may use.
const MEMBERS: [(&str, &[&str]); 5] = [
    ("pgconf-parse", &[]),
    ("pg-install", &[]),
    ("pg-proc", &[]),
    ("pg-cluster", &["pgconf-parse", "pg-install", "pg-proc"]),
    (
        "pg-fixture",
        &["pg-cluster", "pgconf-parse", "pg-install", "pg-proc"],
    ),
];

/// Dependencies that belong to certain published crates. pg-install runs programs within limits,
/// for which std has no call; everything else that the kernel is asked for belongs to pg-proc.
const OWNERS: [(&str, &[&str]); 3] = [
    ("winnow", &["pgconf-parse"]),
    ("nix", &["pg-proc"]),
    ("rustix", &["pg-proc", "pg-install"]),
];

/// Dependencies that need no reason. Any other has one in a comment above it.
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
        let is_known = MEMBERS.iter().any(|(name, _)| *name == package.name);
        if package.is_published() && !is_known {
            findings.push(Finding::new(
                &manifest,
                "is published, but has no place in the layers",
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
            return Some(format!("nothing may depend on {used}"));
        }
        // A test of one lower crate must not need another either.
        let allowed = MEMBERS
            .iter()
            .find(|(name, _)| name == user)
            .map(|(_, uses)| uses);
        return allowed
            .is_some_and(|uses| !uses.contains(&used.as_str()))
            .then(|| format!("{user} must not depend on {used}"));
    }
    if !package.is_published() || dependency.kind.as_deref() == Some("dev") {
        return None;
    }
    if let Some((_, owners)) = OWNERS
        .iter()
        .find(|(name, owners)| name == used && !owners.contains(&user.as_str()))
    {
        let owners = owners.join(" and ");
        return Some(format!("only {owners} may depend on {used}"));
    }
    let is_agreed = AGREED.contains(&used.as_str());
    (!is_agreed && !has_reason(manifest, used))
        .then(|| format!("{used} is not among the agreed dependencies: say why above it"))
}

/// Whether a comment stands above the dependency.
fn has_reason(manifest: &str, name: &str) -> bool {
    let above =
        line_of(manifest, name).and_then(|index| manifest.lines().nth(index.checked_sub(1)?));
    above.is_some_and(|line| line.starts_with('#') && line.len() > 10)
}

/// Index of the line that declares a dependency.
fn line_of(manifest: &str, name: &str) -> Option<usize> {
    manifest.lines().position(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings for a workspace given as `name [publish]: dependencies`, `dev:` before those that
    /// are for tests.
    fn found(workspace: &[(&str, &[&str])], manifests: &[(&str, &str)]) -> Vec<String> {
        let packages: Vec<_> = workspace
            .iter()
            .map(|(name, dependencies)| {
                let publish = if ["xtask", "pg-tests"].contains(name) { "[]" } else { "null" };
                let dependencies: Vec<_> = dependencies
                    .iter()
                    .map(|dependency| match dependency.strip_prefix("dev:") {
                        Some(name) => format!(r#"{{"name": "{name}", "kind": "dev"}}"#),
                        None => format!(r#"{{"name": "{dependency}", "kind": null}}"#),
                    })
                    .collect();
                format!(
                    r#"{{"name": "{name}", "version": "1.0.0", "manifest_path": "/w/{name}/Cargo.toml",
                         "publish": {publish}, "dependencies": [{}]}}"#,
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
        let workspace: [(&str, &[&str]); 7] = [
            ("pgconf-parse", &["winnow", "camino", "dev:nix"]),
            ("pg-install", &["thiserror", "rustix"]),
            ("pg-proc", &["nix", "rustix"]),
            (
                "pg-cluster",
                &["pgconf-parse", "pg-install", "pg-proc", "tempfile"],
            ),
            ("pg-fixture", &["pg-cluster", "pg-proc", "reflink-copy"]),
            ("pg-tests", &["pg-fixture", "pg-cluster", "nix", "postgres"]),
            ("xtask", &["pg-cluster", "rustix", "clap"]),
        ];
        assert_eq!(found(&workspace, &[]), [""; 0]);
    }

    #[test]
    fn each_forbidden_edge_is_found() {
        let workspace: [(&str, &[&str]); 7] = [
            ("pgconf-parse", &["pg-install"]),
            ("pg-install", &["dev:pg-proc", "nix"]),
            ("pg-proc", &["pg-cluster"]),
            (
                "pg-cluster",
                &["rustix", "winnow", "xtask", "dev:pg-tests", "dev:pg-fixture"],
            ),
            ("pg-fixture", &[]),
            ("pg-tests", &[]),
            ("xtask", &["pg-tests"]),
        ];
        assert_eq!(
            found(&workspace, &[]),
            [
                "pgconf-parse/Cargo.toml: pgconf-parse must not depend on pg-install",
                "pg-install/Cargo.toml: pg-install must not depend on pg-proc",
                "pg-install/Cargo.toml: only pg-proc may depend on nix",
                "pg-proc/Cargo.toml: pg-proc must not depend on pg-cluster",
                "pg-cluster/Cargo.toml: only pg-proc and pg-install may depend on rustix",
                "pg-cluster/Cargo.toml: only pgconf-parse may depend on winnow",
                "pg-cluster/Cargo.toml: nothing may depend on xtask",
                "pg-cluster/Cargo.toml: nothing may depend on pg-tests",
                "pg-cluster/Cargo.toml: pg-cluster must not depend on pg-fixture",
                "xtask/Cargo.toml: nothing may depend on pg-tests",
            ]
        );
    }

    #[test]
    fn a_dependency_beyond_the_agreed_ones_needs_a_reason() {
        let workspace: [(&str, &[&str]); 1] = [("pg-proc", &["libc"])];
        let with = "[dependencies]\n# nix has no wrapper for it.\nlibc.workspace = true\n";
        assert_eq!(found(&workspace, &[("pg-proc/Cargo.toml", with)]), [""; 0]);
        let without = "[dependencies]\nlibc = \"0.2\"\n";
        assert_eq!(
            found(&workspace, &[("pg-proc/Cargo.toml", without)]),
            ["pg-proc/Cargo.toml:2: libc is not among the agreed dependencies: say why above it"]
        );
    }
}
