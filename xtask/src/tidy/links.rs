//! Links between the project's documents. The target files and headings must exist.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{Finding, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let documents: BTreeMap<_, _> = tree
        .with_extension("md")
        .map(|(path, text)| (path, Document::parse(text)))
        .collect();
    let mut findings = Vec::new();
    for (path, document) in &documents {
        for link in &document.links {
            if let Some(problem) = problem(tree, &documents, path, &link.target) {
                findings.push(Finding::at(*path, link.line, problem));
            }
        }
    }
    findings
}

fn problem(
    tree: &Tree,
    documents: &BTreeMap<&Utf8Path, Document>,
    from: &Utf8Path,
    target: &str,
) -> Option<String> {
    if has_scheme(target) {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => Some(from.to_owned()),
        _ => resolve(from.parent()?, file),
    };
    let Some(path) = path.filter(|path| tree.contains(path)) else {
        return Some(format!("{target} does not exist"));
    };
    // Anchors into other files are line numbers of a viewer.
    let headings = &documents.get(path.as_path())?.anchors;
    (!anchor.is_empty() && !headings.contains(anchor))
        .then(|| format!("{path} has no heading for #{anchor}"))
}

struct Document {
    links: Vec<Link>,
    anchors: BTreeSet<String>,
}

struct Link {
    target: String,
    line: usize,
}

impl Document {
    fn parse(text: &str) -> Document {
        let mut document = Document {
            links: Vec::new(),
            anchors: BTreeSet::new(),
        };
        let mut heading: Option<String> = None;
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = text[..range.start].matches('\n').count() + 1;
                    document.links.push(Link {
                        target: dest_url.to_string(),
                        line,
                    });
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    if let Some(heading) = heading.take() {
                        document.add_anchor(&heading);
                    }
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        document
    }

    /// Adds the anchor of a heading in the form of code forges: lower case, hyphens for spaces, no
    /// other punctuation, and a number after a repeated name.
    fn add_anchor(&mut self, heading: &str) {
        let name: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let numbered = (1..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !self.anchors.contains(name));
        self.anchors.extend(free);
    }
}

/// Returns whether the target has a scheme such as `https:` or `mailto:`.
fn has_scheme(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric())
            // `a::b` is a Rust path, which only rustdoc can resolve.
            && !rest.starts_with(':')
    })
}

/// Resolves the path of `file` relative to `directory`. Returns `None` if the result is outside the
/// project.
fn resolve(directory: &Utf8Path, file: &str) -> Option<Utf8PathBuf> {
    let mut path = directory.to_owned();
    for component in file.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                if !path.pop() {
                    return None;
                }
            }
            name => path.push(name),
        }
    }
    (!file.starts_with('/')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::made_up(files))
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    #[test]
    fn valid_and_external_links_are_accepted() {
        let files = [
            (
                "README.md",
                "# A `b` c, d!\n\n[docs](docs/) [guide](docs/guide.md#second-part-1)\n\
                 [top](#a-b-c-d) [web](https://example.com/x#y)\n\
                 ![p](docs/a.svg) [licence][l]\n\n[l]: LICENSE-MIT\n",
            ),
            (
                "docs/guide.md",
                "## Second part\n\n## Second part\n\n[back](../README.md#a-b-c-d)\n",
            ),
            ("docs/a.svg", ""),
            ("LICENSE-MIT", ""),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn broken_links_are_reported_with_their_lines() {
        let text = "# A\n\n[x](nowhere.md)\n[y](#b) [z](other.md#c)\n\n[up](../../etc/passwd) \
                    [r](crate::Foo)\n\n```\n[not a link](nowhere.md)\n```\n";
        assert_eq!(
            found(&[("d/a.md", text), ("d/other.md", "# B\n")]),
            [
                "d/a.md:3: nowhere.md does not exist",
                "d/a.md:4: d/a.md has no heading for #b",
                "d/a.md:4: d/other.md has no heading for #c",
                "d/a.md:6: ../../etc/passwd does not exist",
                "d/a.md:6: crate::Foo does not exist",
            ]
        );
    }
}
