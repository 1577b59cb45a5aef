//! `score-sde completions` and `man`: what shells and man read.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::error::{Error, Result};

#[derive(Args, Debug)]
pub struct Completions {
    /// Whose completions; score-sde completions bash > ~/.local/share/bash-completion/completions/score-sde
    shell: Shell,
}

#[derive(Args, Debug)]
pub struct Page {
    /// The page of this verb [default: that of score-sde].
    verb: Option<String>,
}

pub fn completions(Completions { shell }: Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Arguments::command(), NAME, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

pub fn page(Page { verb }: Page) -> Result<()> {
    let mut command = super::Arguments::command();
    // Says of each verb how it is called.
    command.build();
    let named = match &verb {
        None => command,
        Some(verb) => command
            .find_subcommand(verb)
            .cloned()
            .ok_or_else(|| Error::Usage { message: format!("there is no verb {verb}"), help: "score-sde help lists all".into() })?,
    };
    let mut page = Vec::new();
    Man::new(named).render(&mut page).map_err(|error| Error::io("write to", "memory", error))?;
    print!("{}", String::from_utf8_lossy(&page));
    Ok(())
}

const NAME: &str = "score-sde";
