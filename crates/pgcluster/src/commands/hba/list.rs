//! `pgcluster hba list`: all rules.

use pg_cluster::conf::hba::{Row, RuleName};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::failure::Result;
use crate::table::{Cell, table};
use crate::target::Target;
use crate::words::RED;

/// List the rules of pg_hba.conf and of the files that it includes, in the order of evaluation
///
/// With --json the fields are those of the server's view pg_hba_file_rules.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Exit status: 1 if the server would reject the file.

Examples:
  pgcluster hba list data")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let cluster = args.target.cluster()?;
    let rules = cluster.hba().rules()?;
    let rows: Vec<Fields> = rules.rows().map(|row| Fields::of(&row)).collect();
    let main = cluster.hba_file();
    let cells = rows.iter().map(|row| row.cells(main.as_str()));
    let header = [
        "LINE", "TYPE", "DATABASE", "USER", "ADDRESS", "METHOD", "OPTIONS",
    ];
    let text = table(header, cells.collect());
    let json = rows.iter().map(Fields::json).collect::<Vec<Value>>();
    let code = u8::from(!rules.is_accepted());
    let json = json!({"file": main.as_str(), "accepted": rules.is_accepted(), "rules": json});
    Ok(Answer::new(text, json).with_code(code))
}

/// A row of `pg_hba_file_rules`.
struct Fields {
    number: Option<usize>,
    file: String,
    line: usize,
    kind: Option<&'static str>,
    databases: Vec<String>,
    users: Vec<String>,
    address: Option<String>,
    mask: Option<String>,
    method: Option<&'static str>,
    options: Vec<String>,
    error: Option<String>,
}

impl Fields {
    fn of(row: &Row<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = |name: RuleName<'_>| text(name.text());
        let rule = row.rule();
        let (address, mask) = rule.map(|rule| rule.address_columns()).unwrap_or_default();
        let databases = rule.map(|rule| rule.databases().map(name).collect());
        let users = rule.map(|rule| rule.users().map(name).collect());
        let options = rule.map(|rule| {
            let options = rule.options();
            options
                .map(|(name, value)| format!("{name}={}", text(value)))
                .collect()
        });
        Self {
            number: row.number(),
            file: row.file().to_string_lossy().into_owned(),
            line: row.line(),
            kind: rule.map(|rule| rule.connection().name()),
            databases: databases.unwrap_or_default(),
            users: users.unwrap_or_default(),
            address: address.map(|address| text(&address)),
            mask,
            method: rule.map(|rule| rule.method().name()),
            options: options.unwrap_or_default(),
            error: row.shown_error().map(text),
        }
    }

    fn cells(&self, main: &str) -> [Cell; 7] {
        let line = match self.file == main {
            true => self.line.to_string(),
            false => format!("{}:{}", self.file, self.line),
        };
        if let Some(error) = &self.error {
            let empty = || Cell::from("");
            let error = Cell::styled(error, RED);
            return [
                line.into(),
                error,
                empty(),
                empty(),
                empty(),
                empty(),
                empty(),
            ];
        }
        let address = [&self.address, &self.mask].into_iter().flatten().cloned();
        [
            line.into(),
            self.kind.unwrap_or_default().into(),
            self.databases.join(",").into(),
            self.users.join(",").into(),
            address.collect::<Vec<_>>().join(" ").into(),
            self.method.unwrap_or_default().into(),
            self.options.join(" ").into(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "rule_number": self.number,
            "file_name": self.file,
            "line_number": self.line,
            "type": self.kind,
            "database": self.databases,
            "user_name": self.users,
            "address": self.address,
            "netmask": self.mask,
            "auth_method": self.method,
            "options": self.options,
            "error": self.error,
        })
    }
}
