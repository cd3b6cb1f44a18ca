//! The parameters that `postgres --describe-config` prints.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use pg_install::{Installation, ParameterContext, ParameterKind, ServerParameters};
use tree::{Tree, plain};

const DESCRIBED: &str = "\
work_mem\tuser\tResource Usage / Memory\tINTEGER\t0\t64\t2147483647\tSets the memory.\t\
More about it.
DateStyle\tuser\tClient Connection Defaults\tSTRING\tISO, MDY\t\t\tSets the format.\t
wal_level\tpostmaster\tWrite-Ahead Log / Settings\tENUM\treplica\t\t\tSets the level.\t
seq_page_cost\tuser\tQuery Tuning\tREAL\t0\t0\t1.79769e+308\tSets the cost.\t
ssl\tsighup\tSSL\tBOOLEAN\tFALSE\t\t\tEnables SSL.\t
log_connections\tsuperuser-backend\tReporting\tBOOLEAN\tFALSE\t\t\tLogs.\t
";

#[test]
fn parameters_are_data() {
    let parameters = ServerParameters::parse(DESCRIBED.as_bytes()).unwrap();
    let names: Vec<_> = parameters
        .iter()
        .map(|parameter| parameter.name())
        .collect();
    assert_eq!(
        names,
        [
            "DateStyle",
            "log_connections",
            "seq_page_cost",
            "ssl",
            "wal_level",
            "work_mem"
        ]
    );
    let work_mem = parameters.get("WORK_mem").unwrap();
    assert_eq!(
        (work_mem.kind(), work_mem.context()),
        (ParameterKind::Integer, ParameterContext::User)
    );
    assert_eq!(
        (work_mem.minimum(), work_mem.maximum()),
        (Some(64.0), Some(2_147_483_647.0))
    );
    assert_eq!(
        (work_mem.boot_value(), work_mem.details()),
        (None, Some("More about it."))
    );
    assert_eq!(
        parameters.get("datestyle").unwrap().boot_value(),
        Some("ISO, MDY")
    );
    assert_eq!(
        parameters.get("wal_level").unwrap().boot_value(),
        Some("replica")
    );
    assert_eq!(parameters.get("wal_leve"), None);
    assert_eq!(
        parameters
            .get("log_connections")
            .unwrap()
            .context()
            .to_string(),
        "superuser-backend"
    );
}

#[test]
fn invalid_descriptions_are_rejected() {
    let line = |text: &str| ServerParameters::parse(text.as_bytes()).unwrap_err().line();
    assert_eq!(line(""), 1);
    assert_eq!(line("hello\n"), 1);
    for bound in ["x", "NaN"] {
        assert_eq!(
            line(&format!(
                "{DESCRIBED}a\tuser\tg\tREAL\t0\t{bound}\t1\td\t\n"
            )),
            7
        );
    }
    assert_eq!(
        line(&format!("{DESCRIBED}a\tnobody\tg\tSTRING\t\t\t\td\t\n")),
        7
    );
    assert_eq!(
        line(&format!("{DESCRIBED}a\tuser\tg\tTEXT\t\t\t\td\t\n")),
        7
    );
    assert_eq!(
        line(&format!("{DESCRIBED}\tuser\tg\tSTRING\t\t\t\td\t\n")),
        7
    );
}

#[test]
fn parameters_are_queried_once() {
    let tree = Tree::new();
    tree.file("/described", DESCRIBED);
    tree.script(
        "/bin/postgres",
        &format!(
            "case $1 in --version) echo 'postgres (PostgreSQL) 16.3';; \
             --describe-config) echo run >> \"$0.log\"; cat {};; esac",
            tree.at("/described")
        ),
    );
    let installation = Installation::from_bin_directory(tree.at("/bin")).unwrap();
    let clone = installation.clone();
    assert_eq!(installation.server_parameters().unwrap().len(), 6);
    assert_eq!(clone.server_parameters().unwrap().len(), 6);
    assert_eq!(tree.runs("/bin/postgres"), 1);

    tree.postgres("/other", "16.3");
    let error = Installation::from_bin_directory(tree.at("/other"))
        .unwrap()
        .server_parameters()
        .unwrap_err();
    assert_eq!(
        plain(&error, &tree),
        "failed to examine ROOT/other: failed to run ROOT/other/postgres --describe-config: the \
         program printed unexpected output: failed to parse line 1 as a server parameter: the line \
         does not have nine columns"
    );
}
