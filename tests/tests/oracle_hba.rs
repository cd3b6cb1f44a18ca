//! Access rules and user name maps against what real servers read: see `tests/oracle-hba`.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../crates/pgconf-parse/tests/hba_cases/mod.rs"]
mod hba_cases;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use hba_cases::{Column, Row, cases, compare, servers};
use pgconf_parse::hba::{self, Rules};
use pgconf_parse::ident::{self, Mappings};

#[test]
fn every_server_shows_the_rules_that_we_read() {
    let room = tempfile::tempdir().unwrap();
    let mut differences = 0;
    let mut faults = Vec::new();
    for case in cases("hba") {
        let directory = room.path().join(&case.id);
        case.write(&directory);
        let directory = directory.to_str().unwrap();
        let file = Path::new(directory).join("pg_hba.conf");
        for asked in servers() {
            let Some(answer) = case.answer(&asked.id, directory) else {
                continue;
            };
            let rules = Rules::read(&file, &asked.server).unwrap();
            let rows: Vec<Row> = rules.rows().map(|row| hba_row(&row)).collect();
            match compare(&case.id, &asked.id, &rows, &answer) {
                Ok(differs) => differences += usize::from(differs),
                Err(fault) => faults.push(fault),
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(differences > 0, "the wanted differences do not show");
}

#[test]
fn every_server_shows_the_mappings_that_we_read() {
    let room = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for case in cases("ident") {
        let directory = room.path().join(&case.id);
        case.write(&directory);
        let directory = directory.to_str().unwrap();
        let file = Path::new(directory).join("pg_ident.conf");
        for asked in servers() {
            let Some(answer) = case.answer(&asked.id, directory) else {
                continue;
            };
            let mappings = Mappings::read(&file, &asked.server).unwrap();
            let rows: Vec<Row> = mappings
                .rows()
                .map(|row| ident_row(&row, &mappings))
                .collect();
            if let Err(fault) = compare(&case.id, &asked.id, &rows, &answer) {
                faults.push(fault);
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
}

fn text(text: Option<&[u8]>) -> Column {
    text.map_or(Column::Null, |text| Column::Text(text.to_vec()))
}

/// The first columns of a row; before PostgreSQL 16 the view has neither number nor file.
fn place(major: u16, number: Option<usize>, file: &Path, line: usize) -> Vec<Column> {
    let (number, file) = if major >= 16 {
        (
            number.map_or(Column::Null, |number| Column::Number(number as u64)),
            text(Some(file.as_os_str().as_bytes())),
        )
    } else {
        (Column::Null, Column::Null)
    };
    vec![number, file, Column::Number(line as u64)]
}

fn hba_row(row: &hba::Row<'_>) -> Row {
    let major = row.server().major();
    let mut columns = place(major, row.number(), row.file(), row.line());
    match row.rule() {
        None => columns.extend(vec![Column::Null; 7]),
        Some(rule) => {
            let (address, mask) = rule.address_columns();
            let options: Vec<Vec<u8>> = rule
                .options()
                .map(|(name, value)| [name.as_bytes(), b"=", value].concat())
                .collect();
            columns.extend([
                text(Some(rule.connection().name().as_bytes())),
                Column::List(rule.databases().map(|name| name.text().to_vec()).collect()),
                Column::List(rule.users().map(|name| name.text().to_vec()).collect()),
                text(address.as_deref()),
                text(mask.as_ref().map(String::as_bytes)),
                text(Some(rule.method().name().as_bytes())),
                if options.is_empty() {
                    Column::Null
                } else {
                    Column::List(options)
                },
            ]);
        }
    }
    columns.push(text(row.shown_error()));
    Row(columns)
}

fn ident_row(row: &ident::Row<'_>, mappings: &Mappings) -> Row {
    let mut columns = place(
        mappings.server().major(),
        row.number(),
        row.file(),
        row.line(),
    );
    match row.mapping() {
        None => columns.extend(vec![Column::Null; 3]),
        Some(found) => columns.extend([
            text(Some(found.map())),
            text(Some(found.system_user())),
            text(Some(found.database_user())),
        ]),
    }
    columns.push(text(
        row.error().map(|error| error.message().to_vec()).as_deref(),
    ));
    Row(columns)
}
