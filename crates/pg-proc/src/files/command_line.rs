//! Settings on the command line of a server.

use crate::files::postmaster_opts::PostmasterOpts;

impl PostmasterOpts {
    /// The value that the arguments give to a setting: `-c name=value`, `--name=value`, and the
    /// short options that stand for settings (`process_postgres_switches` and `PostmasterMain`).
    /// The last one counts.
    ///
    /// ```
    /// let opts: pg_proc::PostmasterOpts = "/usr/bin/postgres \"-c\" \"work-mem=4MB\"\n".parse()?;
    /// assert_eq!(opts.setting("work_mem").as_deref(), Some("4MB"));
    /// # Ok::<(), pg_proc::PostmasterOptsError>(())
    /// ```
    pub fn setting(&self, name: &str) -> Option<String> {
        setting(&self.arguments, name)
    }
}

fn setting(arguments: &[String], name: &str) -> Option<String> {
    let short = match name {
        "port" => Some('p'),
        "unix_socket_directories" => Some('k'),
        "listen_addresses" => Some('h'),
        _ => None,
    };
    let mut value = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let assignment = if let Some(long) = argument.strip_prefix("--") {
            Some(long)
        } else if let Some(text) = option(argument, 'c', &mut arguments) {
            Some(text)
        } else {
            if let Some(text) = short.and_then(|letter| option(argument, letter, &mut arguments)) {
                value = Some(text.to_owned());
            }
            None
        };
        if let Some((found, text)) = assignment.and_then(|text| text.split_once('=')) {
            if is_same(found, name) {
                value = Some(text.to_owned());
            }
        }
    }
    value
}

/// The value of an option, which is in the same argument or in the next.
fn option<'a>(
    argument: &'a str,
    letter: char,
    rest: &mut std::slice::Iter<'a, String>,
) -> Option<&'a str> {
    let text = argument.strip_prefix('-')?.strip_prefix(letter)?;
    if text.is_empty() {
        rest.next().map(String::as_str)
    } else {
        Some(text)
    }
}

/// Dashes stand for underscores on a command line (`ParseLongOption`).
fn is_same(a: &str, b: &str) -> bool {
    a.replace('-', "_").eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn the_last_spelling_of_a_setting_counts() {
        let arguments = [
            "-D",
            "-c",
            "-c",
            "port=1",
            "-p",
            "2",
            "--Listen-Addresses=*",
            "-k/tmp",
            "-cport=3",
        ];
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        assert_eq!(setting(&arguments[2..], "port").as_deref(), Some("3"));
        assert_eq!(setting(&arguments[2..7], "port").as_deref(), Some("2"));
        assert_eq!(
            setting(&arguments[2..], "listen_addresses").as_deref(),
            Some("*")
        );
        assert_eq!(
            setting(&arguments[2..], "unix_socket_directories").as_deref(),
            Some("/tmp")
        );
        assert_eq!(setting(&arguments[2..], "fsync"), None);
    }
}
