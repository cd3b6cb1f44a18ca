//! The order of the folders in a crate. Each folder uses only those before it.

use camino::Utf8Path;

use super::{Finding, Tree};

/// The sources of crates with ordered folders. Files outside the folders precede all of them.
/// `lib.rs` is not checked, because it re-exports from all folders.
const WINGS: [(&str, &[&str]); 1] = [(
    "crates/pg-proc/src/",
    &[
        "sys",
        "fs",
        "files",
        "data_directory",
        "postmaster",
        "launch",
    ],
)];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (source, wings) in WINGS {
        for (path, text) in tree.with_extension("rs") {
            let Ok(file) = path.strip_prefix(source) else {
                continue;
            };
            if file != "lib.rs" {
                findings.extend(upward(path, file, text, wings));
            }
        }
        for wing in wings {
            let folder = format!("{source}{wing}/");
            if !tree
                .with_extension("rs")
                .any(|(path, _)| path.as_str().starts_with(&folder))
            {
                findings.push(Finding::new(folder, "is named in WINGS, but has no files"));
            }
        }
    }
    findings
}

fn upward(path: &Utf8Path, file: &Utf8Path, text: &str, wings: &[&str]) -> Vec<Finding> {
    // Zero for files outside the folders.
    let floor = |name: &str| {
        wings
            .iter()
            .position(|wing| *wing == name)
            .map_or(0, |at| at + 1)
    };
    let first = file.as_str().split(['/', '.']).next().unwrap_or_default();
    let own = floor(first);
    let mut findings = Vec::new();
    for (line, number) in modules(text) {
        if floor(&line) > own {
            let own = if own == 0 { "the crate's root" } else { first };
            let problem = format!("{own} uses {line}, which comes after it");
            findings.push(Finding::at(path, number, problem));
        }
    }
    findings
}

/// Returns the modules of this crate that a file names, each with the line number: `a` and `b` for
/// `crate::a::C` and `crate::{a::C, b::{D, E}}`.
fn modules(text: &str) -> Vec<(String, usize)> {
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + word.len()..];
        if code[..at].ends_with('$') {
            continue;
        }
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(heads(group).into_iter().map(|head| (head, line)));
        } else {
            found.push((ident(rest), line));
        }
    }
    found
}

/// Returns the first parts of the paths in a group, up to its closing brace.
fn heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0_u32;
    let mut begins = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                heads.push(ident(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

fn ident(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let file = Utf8Path::new(path);
        let findings = upward(file, file, text, &["sys", "fs", "launch"]);
        findings.into_iter().filter_map(|it| it.line).collect()
    }

    #[test]
    fn a_folder_uses_only_those_before_it() {
        let text = "use crate::pid::Pid;\nuse crate::sys::fork;\nuse crate::fs::entry;\n\
                    use crate::launch::log;\n";
        assert!(found("launch/run.rs", text).is_empty());
        assert_eq!(found("fs/entry.rs", text), [4]);
        assert_eq!(found("sys/mod.rs", text), [3, 4]);
        assert_eq!(found("account.rs", text), [2, 3, 4]);
    }

    #[test]
    fn comments_are_not_checked_but_groups_and_code_are() {
        let text = "//! See `crate::launch`.\nuse crate::{\n    pid::Pid,\n    \
                    fs::{entry, launch},\n};\nfn f() { crate::launch::g(); }\n";
        assert_eq!(found("sys/a.rs", text), [2, 6]);
        assert_eq!(found("fs/a.rs", text), [6]);
    }

    #[test]
    fn a_missing_folder_is_reported() {
        let tree = Tree::made_up(&[("crates/pg-proc/src/sys/mod.rs", "")]);
        let missing: usize = WINGS.iter().map(|(_, folders)| folders.len()).sum();
        assert_eq!(check(&tree).len(), missing - 1);
    }
}
