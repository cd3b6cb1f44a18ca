//! The output of `pg_config`: every key is found in every spelling, every value stood in the output, and so does what the
//! options of `configure` say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_install::{ConfigureOptions, Directory, Installation, PgConfig};

fuzz_target!(|output: &[u8]| {
    let config = PgConfig::from_bytes(output);
    let mut text = String::new();
    for (key, value) in config.iter() {
        assert!(contains(output, value.as_bytes()) && !value.contains('\n'));
        assert_eq!(value.trim_ascii(), value);
        for spelling in [key.to_owned(), key.to_ascii_uppercase(), key.replace('_', "-")] {
            assert_eq!(config.get(&spelling), Some(value), "{spelling:?}");
        }
        text.push_str(&format!("{} = {value}\n", key.to_ascii_uppercase()));
    }
    let pairs = PgConfig::from_pairs(config.iter());
    assert!(pairs.iter().eq(config.iter()));
    assert!(PgConfig::from_bytes(text.as_bytes()).iter().eq(config.iter()), "{text:?}");

    if let Ok(installation) = Installation::new(config.clone()) {
        assert_eq!(Some(installation.version_string()), config.get("version"));
        assert_eq!(installation.version_string().parse().as_ref(), Ok(installation.version()));
        for directory in Directory::all() {
            let value = config.get(directory.key()).filter(|value| !value.is_empty());
            assert_eq!(installation.directory(directory).map(AsRef::as_ref), value);
        }
        // Without options of `configure` the answer would be looked for in files.
        let options = installation.configure_options();
        if !options.is_empty() {
            let mentions_ssl = ["ssl", "openssl"].map(|name| options.is_enabled(name));
            assert!(!installation.ssl() || mentions_ssl.contains(&Some(true)) || links_ssl(&config));
        }
    }
    configure(&String::from_utf8_lossy(output));
    configure(config.get("configure").unwrap_or_default());
});

fn links_ssl(config: &PgConfig) -> bool {
    config.get("libs").is_some_and(|libs| libs.contains("-lssl"))
}

fn configure(text: &str) {
    let options = ConfigureOptions::parse(text);
    let quoted: Vec<_> = options.words().iter().map(|word| quoted(word)).collect();
    assert_eq!(ConfigureOptions::parse(&quoted.join(" ")), options);
    assert!(options.words().len() <= text.len().div_ceil(2));
    for (name, value) in options.iter() {
        assert!(options.contains(name) && options.get_all(name).any(|other| other == value));
        assert_eq!(options.get(&format!("--{}", name.replace('_', "-"))), options.get(name));
        if let Some(subject) = name.strip_prefix("without_") {
            assert!(options.is_enabled(subject).is_some());
        }
    }
    for (name, value) in options.assignments() {
        assert!(options.words().contains(&format!("{name}={value}")));
        assert!(options.assignment(name).is_some());
    }
}

/// As autoconf quotes the words of its command line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn contains(output: &[u8], value: &[u8]) -> bool {
    value.is_empty() || output.windows(value.len()).any(|window| window == value)
}
