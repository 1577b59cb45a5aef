//! `--set` and `--unset`, in the order in which they are given.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::experiment::Override;

/// Of a verb that reads an experiment.
#[derive(Clone, Debug)]
pub(super) struct Overrides {
    pub overrides: Vec<Override>,
}

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
        };
        let set = "Override a key of the experiment; the value is TOML. Of a table that takes one choice, another one replaces it. May be given \
                   many times.";
        let unset = "Take a key or a table of the experiment away, so that its default holds, or nothing is asked for. May be given many times; \
                     with --set, in their order.";
        command.arg(flag("set", "KEY=VALUE", set)).arg(flag("unset", "KEY", unset))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Overrides::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Overrides, Error> {
        let given = |name: &str, make: fn(String) -> Override| {
            let places = matches.indices_of(name).into_iter().flatten();
            let words = matches.get_many::<String>(name).into_iter().flatten();
            places.zip(words.cloned().map(make)).collect::<Vec<_>>()
        };
        let mut all = [given("set", Override::Set), given("unset", Override::Unset)].concat();
        all.sort_by_key(|(place, _)| *place);
        Ok(Overrides { overrides: all.into_iter().map(|(_, change)| change).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        Overrides::from_arg_matches(matches).map(|given| *self = given)
    }
}
