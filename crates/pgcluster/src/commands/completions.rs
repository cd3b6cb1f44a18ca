//! `pgcluster completions`: completions for a shell.

use clap_complete::Shell;

use crate::answer::Answer;
use crate::cli;

/// Print completions for a shell
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgcluster completions bash >~/.local/share/bash-completion/completions/pgcluster
  pgcluster completions zsh >~/.zfunc/_pgcluster
  pgcluster completions fish >~/.config/fish/completions/pgcluster.fish")]
pub(crate) struct Args {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "pgcluster", &mut script);
    Answer::verbatim(String::from_utf8_lossy(&script))
}
