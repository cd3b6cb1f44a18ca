//! Rules for Rust that neither the compiler nor clippy knows.

use std::fmt;

use camino::Utf8Path;

use super::{Finding, Tree};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Columns,
    ModuleLine,
    ErrorField,
    Unsafe,
    SystemCall,
    Winnow,
}

/// Known violations: the rule, and the beginning of the path. An entry that is no longer needed is
/// reported, so that the list shrinks.
const EXEMPT: &[(Rule, &str)] = &[
    (Rule::Unsafe, "crates/pg-install/tests/lost_statuses.rs"),
    (Rule::SystemCall, "crates/pg-install/"),
];

/// The maximum length of a line of code or comment.
const COLUMNS: usize = 100;

/// The crate that may contain system calls.
const CALLS: &str = "crates/pg-proc/";
const UNSAFE: &str = "crates/pg-proc/src/sys/";

/// Files outside the module that may contain unsafe code: the one that allows it for the module, a
/// counting allocator, and an owner that forks.
const UNSAFE_TOO: [&str; 3] = [
    "crates/pg-proc/src/lib.rs",
    "crates/pgconf-parse/tests/memory.rs",
    "tests/src/bin/forking-owner.rs",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    without_exempt(tree, EXEMPT)
}

fn without_exempt(tree: &Tree, exempt: &[(Rule, &str)]) -> Vec<Finding> {
    let mut used = vec![false; exempt.len()];
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        for (rule, line) in broken(path, text) {
            let is_exempt = |it: &(Rule, &str)| it.0 == rule && path.starts_with(it.1);
            match exempt.iter().position(is_exempt) {
                Some(index) => used[index] = true,
                None => findings.push(Finding::at(path, line, rule.to_string())),
            }
        }
    }
    let unused = exempt.iter().zip(used).filter(|(_, used)| !used);
    findings.extend(unused.map(|((rule, path), _)| {
        let problem = format!("the exemption from {rule:?} for {path} is no longer needed");
        Finding::new("xtask/src/tidy/source.rs", problem)
    }));
    findings
}

/// Returns the rules that a file violates, each with the line number.
fn broken(path: &Utf8Path, text: &str) -> Vec<(Rule, usize)> {
    let is_published = path.starts_with("crates") && path.as_str().contains("/src/");
    let mut found = Vec::new();
    let opening = text.lines().find(|line| !line.starts_with("#!["));
    if !opening.is_some_and(|line| line.starts_with("//! ")) {
        found.push((Rule::ModuleLine, 1));
    }
    let mut in_error = false;
    for (line, number) in text.lines().zip(1..) {
        if line.chars().count() > COLUMNS {
            found.push((Rule::Columns, number));
        }
        let code = line.split("//").next().unwrap_or_default();
        let may_be_unsafe = path.starts_with(UNSAFE) || UNSAFE_TOO.contains(&path.as_str());
        if !may_be_unsafe && has_unsafe(code) {
            found.push((Rule::Unsafe, number));
        }
        if is_published && !path.starts_with(CALLS) && has_system_call(code) {
            found.push((Rule::SystemCall, number));
        }
        if !path.starts_with("crates/pgconf-parse") && code.contains(concat!("winnow", "::")) {
            found.push((Rule::Winnow, number));
        }
        if is_published {
            let error = public_error(code);
            in_error = error.is_some_and(|rest| rest.starts_with('{')) || in_error && code != "}";
            let has_field = match error {
                Some(rest) => rest.starts_with("(pub "),
                None => in_error && code.starts_with("    pub "),
            };
            if has_field {
                found.push((Rule::ErrorField, number));
            }
        }
    }
    found
}

fn has_unsafe(code: &str) -> bool {
    let after = code.split("unsafe").skip(1);
    let mut is_keyword = after.map(|rest| {
        let words = ["fn ", "impl ", "extern ", "trait ", "{", "("];
        rest.starts_with("_code") && code.contains(['#', '!'])
            || words
                .iter()
                .any(|word| rest.strip_prefix(' ').is_some_and(|r| r.starts_with(word)))
    });
    is_keyword.any(|is| is)
}

fn has_system_call(code: &str) -> bool {
    let crates = ["rustix::", "nix::", "libc::"];
    let is_path = |(index, _): (usize, &str)| {
        // Paths such as `std::os::unix::` contain these names.
        !code[..index].ends_with(|c: char| c.is_alphanumeric() || c == '_')
    };
    let of_crate = |name: &&str| code.match_indices(*name).any(is_path);
    crates.iter().any(of_crate) || code.contains("extern \"C\"")
}

/// Returns the text after the name in `pub struct NAMEError ...`.
fn public_error(code: &str) -> Option<&str> {
    let name = code.strip_prefix("pub struct ")?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    name[..end]
        .ends_with("Error")
        .then(|| name[end..].trim_start())
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns => write!(f, "the line ends after column {COLUMNS}"),
            Self::ModuleLine => f.write_str("the module does not begin with a `//!` line"),
            Self::ErrorField => f.write_str("a field of an error is public: add an accessor"),
            Self::Unsafe => write!(f, "unsafe code is not allowed outside {UNSAFE}"),
            Self::SystemCall => write!(f, "system calls are not allowed outside {CALLS}"),
            Self::Winnow => f.write_str("winnow is not allowed outside crates/pgconf-parse"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(Rule, usize)> {
        broken(Utf8Path::new(path), text)
    }

    #[test]
    fn long_lines_are_reported_in_code_comments_and_strings() {
        let long =
            |begin: &str| format!("//! M.\n{begin}{}\n", "é".repeat(COLUMNS + 1 - begin.len()));
        for begin in ["", "// ", "    let s = \""] {
            assert_eq!(
                found("tests/a.rs", &long(begin)),
                [(Rule::Columns, 2)],
                "{begin}"
            );
        }
        let fits = format!("//! M.\n{}\n", "é".repeat(COLUMNS));
        assert_eq!(found("tests/a.rs", &fits), []);
    }

    #[test]
    fn modules_without_a_first_doc_line_are_reported() {
        assert_eq!(found("a.rs", "#![no_main]\n//! A target.\n"), []);
        for text in [
            "",
            "use std::fs;\n//! Late.\n",
            "/// An item's.\nfn f() {}\n",
        ] {
            assert_eq!(found("a.rs", text), [(Rule::ModuleLine, 1)], "{text}");
        }
    }

    #[test]
    fn public_fields_of_errors_are_reported() {
        let path = "crates/a/src/e.rs";
        let text = "//! E.\npub struct AError {\n    pub path: PathBuf,\n    kind: Kind,\n}\n\
                    pub struct Other {\n    pub a: u8,\n}\n\
                    pub struct BError(pub u8);\npub struct CError(u8);\n\
                    pub struct DError {\n    pub(crate) a: u8,\n}\n";
        assert_eq!(
            found(path, text),
            [(Rule::ErrorField, 3), (Rule::ErrorField, 9)]
        );
        assert_eq!(found("tests/src/e.rs", text), []);
    }

    #[test]
    fn unsafe_code_and_system_calls_are_reported_outside_their_crate() {
        let text = concat!(
            "//! M.\n#![allow(un",
            "safe_code)]\nun",
            "safe { f() }\nrustix::f();\n"
        );
        assert_eq!(found("crates/pg-proc/src/sys/a.rs", text), []);
        assert_eq!(
            found("crates/pg-proc/src/a.rs", text),
            [(Rule::Unsafe, 2), (Rule::Unsafe, 3)]
        );
        assert_eq!(
            found("crates/pg-cluster/src/a.rs", text),
            [(Rule::Unsafe, 2), (Rule::Unsafe, 3), (Rule::SystemCall, 4)]
        );
        assert_eq!(
            found("tests/a.rs", text),
            [(Rule::Unsafe, 2), (Rule::Unsafe, 3)]
        );
        let fine = concat!(
            "//! M.\nuse std::os::unix::fs;\n// un",
            "safe { }, libc::f\n"
        );
        assert_eq!(found("crates/pg-cluster/src/a.rs", fine), []);
        let call = "//! M.\nlibc::kill(1, 2);\n";
        assert_eq!(
            found("crates/pg-install/src/a.rs", call),
            [(Rule::SystemCall, 2)]
        );
    }

    #[test]
    fn winnow_is_reported_outside_the_parser() {
        let text = concat!("//! M.\nuse winnow", "::Parser;\n");
        assert_eq!(found("crates/pgconf-parse/src/scan.rs", text), []);
        assert_eq!(
            found("crates/pg-install/src/a.rs", text),
            [(Rule::Winnow, 2)]
        );
    }

    #[test]
    fn exemptions_apply_to_a_rule_and_path_and_are_reported_if_unused() {
        let tree = Tree::made_up(&[("crates/a/src/lib.rs", ""), ("crates/b/src/lib.rs", "")]);
        let exempt = [
            (Rule::ModuleLine, "crates/a/"),
            (Rule::Columns, "crates/b/"),
        ];
        let found = without_exempt(&tree, &exempt);
        assert_eq!(
            found.iter().map(Finding::to_string).collect::<Vec<_>>(),
            [
                "crates/b/src/lib.rs:1: the module does not begin with a `//!` line",
                "xtask/src/tidy/source.rs: the exemption from Columns for crates/b/ is no longer \
                 needed",
            ]
        );
    }
}
