//! Forbidden texts, and the maximum length of files.

use camino::Utf8Path;

use super::{Finding, Tree};

/// The number of lines above which a Rust file needs a reason for its length.
const LONG: usize = 600;

/// The beginning of the comment that gives the reason.
const LONG_BECAUSE: &str = "// Long, because ";

pub(super) fn check(tree: &Tree, checkout: &Utf8Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        // cargo writes this file with the sources of packages.
        if path.file_name() == Some("Cargo.lock") {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            for host in hosts().iter().filter(|host| line.contains(host.as_str())) {
                let problem =
                    format!("{host} is a registry's host: name the package and the client");
                findings.push(Finding::at(path, index + 1, problem));
            }
            if contains_path(line, checkout.as_str()) {
                let problem = format!("{checkout} is a path of this machine");
                findings.push(Finding::at(path, index + 1, problem));
            }
        }
    }
    for (path, text) in tree.with_extension("rs") {
        let lines = text.lines().count();
        if lines > LONG && !text.lines().any(|line| line.starts_with(LONG_BECAUSE)) {
            let problem = format!(
                "has {lines} lines: split it, or give the reason in a comment {LONG_BECAUSE:?}..."
            );
            findings.push(Finding::new(path, problem));
        }
    }
    findings
}

/// Returns the hosts of package registries, which must not be named: the client's configuration
/// selects the registry. The names are assembled here so that this file passes the check.
fn hosts() -> [String; 5] {
    [
        ("crates", "io"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("pypi", "org"),
        ("pythonhosted", "org"),
    ]
    .map(|(name, domain)| format!("{name}.{domain}"))
}

/// Returns whether the line contains `path` and the name ends there: `/tmp/ab` does not contain
/// `/tmp/a`.
fn contains_path(line: &str, path: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
    line.match_indices(path)
        .any(|(index, _)| ends(&line[index + path.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let findings = check(&Tree::made_up(files), Utf8Path::new("/home/me/pg"));
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn hosts_and_paths_of_this_machine_are_reported() {
        let host = &hosts()[0];
        let text = format!("fine\nget it from https://static.{host}/x\n");
        assert_eq!(
            found(&[
                ("Cargo.lock", &text),
                ("a.md", &text),
                ("b.sh", "cd /home/me/pg/a # /home/me/pg2\n")
            ]),
            [
                format!("a.md:2: {host} is a registry's host: name the package and the client"),
                "b.sh:1: /home/me/pg is a path of this machine".to_owned(),
            ]
        );
        assert_eq!(found(&[("b.sh", "cd /home/me/pg2\n")]), [""; 0]);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "//\n".repeat(LONG);
        assert_eq!(found(&[("a.rs", &long)]), [""; 0]);
        assert_eq!(found(&[("a.rs", &format!("{long}//\n"))]).len(), 1);
        assert_eq!(
            found(&[("a.rs", &format!("{LONG_BECAUSE}a table.\n{long}"))]),
            [""; 0]
        );
    }
}
