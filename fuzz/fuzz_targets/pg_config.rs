//! The output of `pg_config`. Each key is found in every spelling, and each value and each option
//! of `configure` occurs in the output.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_install::{ConfigureOptions, Installation, InstallationDirectory, PgConfig, SslEvidence};

fuzz_target!(|output: &[u8]| {
    let config = PgConfig::from_bytes(output);
    assert!(PgConfig::from_pairs(config.iter()).iter().eq(config.iter()));
    // Keys whose first character would be dropped from an option, as in `- a`, are skipped.
    let usual = |key: &str| !key.starts_with(|c: char| c == '_' || c.is_ascii_whitespace());
    let usual = || config.iter().filter(|(key, _)| usual(key));
    let mut text = String::new();
    for (key, value) in usual() {
        assert!(ends_line(output, value) && !value.contains('\n'));
        assert_eq!(value.trim_ascii(), value);
        let option = format!("--{}", key.replace('_', "-"));
        for spelling in [key, &key.to_ascii_uppercase(), &option] {
            assert_eq!(config.get(spelling), Some(value), "{spelling:?}");
        }
        text.push_str(&format!("{} = {value}\n", key.to_ascii_uppercase()));
    }
    let again = PgConfig::from_bytes(text.as_bytes());
    assert!(again.iter().eq(usual()), "{text:?}");

    if let Ok(installation) = Installation::new(config.clone()) {
        described(&installation, &config);
    }
    configure(&String::from_utf8_lossy(output));
    configure(config.get("configure").unwrap_or_default());
});

/// Returns whether the value is at the end of a line, except for blanks.
fn ends_line(output: &[u8], value: &str) -> bool {
    let mut lines = output.split(|byte| *byte == b'\n');
    lines.any(|line| line.trim_ascii().ends_with(value.as_bytes()))
}

fn described(installation: &Installation, config: &PgConfig) {
    let version = installation.version_string();
    assert_eq!(Some(version), config.get("version"));
    assert_eq!(version.parse().as_ref(), Ok(installation.version()));
    for directory in InstallationDirectory::all() {
        let value = config.get(directory.key());
        let found = installation.directory(directory).map(AsRef::as_ref);
        assert_eq!(found, value.filter(|value| value.starts_with('/')));
    }
    // Without options of `configure`, files would be searched for the evidence.
    let options = installation.configure_options();
    if !options.is_empty() {
        match installation.ssl_evidence() {
            SslEvidence::ConfigureOption { option, .. } => {
                let name = option.split('=').next().unwrap_or_default();
                assert!(options.contains(name) && name.ends_with("ssl"));
            }
            evidence => assert_eq!(*evidence, SslEvidence::NotConfigured),
        }
    }
}

fn configure(text: &str) {
    let options = ConfigureOptions::parse(text);
    let quoted: Vec<_> = options.words().iter().map(|word| quoted(word)).collect();
    assert_eq!(ConfigureOptions::parse(&quoted.join(" ")), options);
    assert!(options.words().len() <= text.len().div_ceil(2));
    for (name, value) in options.iter() {
        assert!(options.contains(name) && options.get_all(name).any(|other| other == value));
        if !name.starts_with('_') {
            let spelled = format!("--{}", name.replace('_', "-"));
            assert_eq!(options.get(&spelled), options.get(name));
        }
        if let Some(subject) = name.strip_prefix("without_") {
            assert!(options.is_enabled(subject).is_some());
        }
    }
    for (name, value) in options.assignments() {
        assert!(options.words().contains(&format!("{name}={value}")));
        assert!(options.assignment(name).is_some());
    }
}

/// Quotes a word as autoconf does.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
