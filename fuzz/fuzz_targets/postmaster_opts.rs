//! Command lines in `postmaster.opts`. A parsed command line survives writing and parsing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pg_proc::PostmasterOpts;

fuzz_target!(|text: &str| {
    let line = text.strip_suffix('\n').unwrap_or(text);
    match text.parse::<PostmasterOpts>() {
        Ok(opts) => {
            assert!(!opts.program.as_str().is_empty());
            assert!(
                ['"', '\'']
                    .iter()
                    .any(|quote| format!("{line}\n") == written(&opts, *quote))
            );
            // Servers since 8.1 write double quotes without escapes.
            if !opts.arguments.iter().any(|argument| argument.contains('"')) {
                let again: PostmasterOpts = written(&opts, '"').parse().expect("a command line");
                assert_eq!(again, opts);
            }
        }
        Err(error) => assert!(error.to_string().len() < 200),
    }
});

fn written(opts: &PostmasterOpts, quote: char) -> String {
    let mut line = opts.program.to_string();
    for argument in &opts.arguments {
        line.extend([' ', quote]);
        line.push_str(argument);
        line.push(quote);
    }
    line + "\n"
}
