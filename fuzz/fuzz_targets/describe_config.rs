//! The output of `postgres --describe-config`. Each parameter is found by its name in any case, and
//! the parameters survive printing in the server's form and parsing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_install::{ParameterKind, ServerParameter, ServerParameters};

fuzz_target!(|output: &[u8]| {
    let lines = output.split(|byte| *byte == b'\n').count();
    let parameters = match ServerParameters::parse(output) {
        Ok(parameters) => parameters,
        Err(error) => {
            assert!((1..=lines).contains(&error.line()));
            assert!(error.to_string().len() < 200);
            return;
        }
    };
    assert!((1..=lines).contains(&parameters.len()));
    let names = || {
        parameters
            .iter()
            .map(|parameter| parameter.name().to_ascii_lowercase())
    };
    assert!(names().is_sorted());
    for parameter in &parameters {
        for name in [
            parameter.name().to_ascii_uppercase(),
            parameter.name().to_ascii_lowercase(),
        ] {
            let found = parameters.get(&name).expect("a listed name");
            assert!(found.name().eq_ignore_ascii_case(&name));
        }
    }
    assert!(names().all(|name| {
        parameters
            .get(&format!("{name}?"))
            .is_none_or(|other| other.name() != name)
    }));

    let printed: String = parameters.iter().map(line).collect();
    assert_eq!(
        ServerParameters::parse(printed.as_bytes()).as_ref(),
        Ok(&parameters)
    );
});

/// Prints a parameter as `printMixedStruct` in help_config.c does.
fn line(parameter: &ServerParameter) -> String {
    let kind = match parameter.kind() {
        ParameterKind::Boolean => "BOOLEAN",
        ParameterKind::Integer => "INTEGER",
        ParameterKind::Real => "REAL",
        ParameterKind::String => "STRING",
        ParameterKind::Enum => "ENUM",
        other => panic!("{other:?}"),
    };
    let bound = |bound: Option<f64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
    [
        parameter.name(),
        &parameter.context().to_string(),
        parameter.group(),
        kind,
        parameter.boot_value().unwrap_or("0"),
        &bound(parameter.minimum()),
        &bound(parameter.maximum()),
        parameter.description(),
        parameter.details().unwrap_or_default(),
    ]
    .join("\t")
        + "\n"
}
