//! The tables of the documentation, between `<!-- bench: NAME -->` and `<!-- /bench -->`.

use std::fs;

use anyhow::{Context as _, Result};
use camino::Utf8Path;

use crate::machine::Machine;
use crate::sheet::Row;
use crate::table;

pub(crate) fn write(machine: &Machine, rows: &[Row]) -> Result<()> {
    let root = Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let missing = "a row of the documentation was not measured";
    let brief = machine.brief();
    let full = format!("{machine}\n\n{}", table::full(rows));
    let summary = format!("{}\n\n{brief}", table::summary(rows).context(missing)?);
    let speed = format!("{}\n\n{brief}", table::speed(rows).context(missing)?);
    for (path, name, text) in [
        ("docs/performance.md", "table", full),
        ("README.md", "summary", summary),
        ("crates/pgconf-parse/README.md", "speed", speed),
    ] {
        let path = root.join(path);
        let old = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let new = replace(&old, name, &text)
            .with_context(|| format!("{path} has no place for {name:?}"))?;
        fs::write(&path, new).with_context(|| format!("failed to write {path}"))?;
    }
    Ok(())
}

fn replace(document: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- bench: {name} -->\n");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once("<!-- /bench -->")?;
    Some(format!("{before}{begin}\n{text}\n\n<!-- /bench -->{after}"))
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn only_text_between_the_marks_is_replaced() {
        let document =
            "a\n<!-- bench: x -->\nold\n<!-- /bench -->\nb\n<!-- bench: y -->\n<!-- /bench -->\n";
        let new = "a\n<!-- bench: x -->\n\nnew\n\n<!-- /bench -->\nb\n\
                   <!-- bench: y -->\n<!-- /bench -->\n";
        assert_eq!(replace(document, "x", "new").as_deref(), Some(new));
        assert_eq!(replace(document, "z", "new"), None);
    }
}
