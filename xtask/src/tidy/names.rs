//! Names without meaning. A folder listing should explain a crate.

use super::{Finding, Tree};

const FORBIDDEN: [&str; 7] = [
    "common", "helper", "helpers", "misc", "types", "util", "utils",
];

/// Checks the names of Rust files, of their directories, and of inline modules.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        for name in path.with_extension("").components() {
            if let Some(word) = forbidden_word(name.as_str()) {
                findings.push(Finding::new(path, problem(word)));
            }
        }
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = inline_module(line).and_then(forbidden_word) {
                findings.push(Finding::at(path, index + 1, problem(word)));
            }
        }
    }
    findings
}

fn problem(word: &str) -> String {
    format!("{word:?} does not describe the content: choose a specific name")
}

fn forbidden_word(name: &str) -> Option<&str> {
    name.split(['_', '-']).find(|word| FORBIDDEN.contains(word))
}

/// Returns the name in `pub(crate) mod NAME {`.
fn inline_module(line: &str) -> Option<&str> {
    let declaration = line.trim().strip_suffix('{')?;
    let (visibility, name) = declaration.split_once("mod ")?;
    let visibility = visibility.trim_end();
    (visibility.is_empty() || visibility.starts_with("pub")).then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_words_are_reported_in_files_directories_and_modules() {
        let tree = Tree::made_up(&[
            ("a/src/utils.rs", ""),
            ("a/tests/common/mod.rs", ""),
            ("a/src/path_helpers.rs", ""),
            ("a/src/lib.rs", "mod scan;\n\npub(crate) mod misc {\n}\n"),
        ]);
        let found: Vec<_> = check(&tree)
            .iter()
            .map(|found| (found.path.to_string(), found.line))
            .collect();
        let expected = [
            ("a/src/lib.rs", Some(3)),
            ("a/src/path_helpers.rs", None),
            ("a/src/utils.rs", None),
            ("a/tests/common/mod.rs", None),
        ];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn words_that_only_contain_a_forbidden_word_are_accepted() {
        let tree = Tree::made_up(&[
            ("a/src/commons.rs", "// mod types {\nlet types = 1;\n"),
            ("a/src/prototypes.rs", "fn types() {}\nstruct Model {}\n"),
            ("docs/types.md", ""),
        ]);
        assert_eq!(check(&tree), []);
    }
}
