//! The fault campaign: what may happen to a run is done to it, and then the same command is run again without the fault.
//!
//! Afterwards everything is as if nothing had happened: finished files byte for byte, reports but for the seconds they took, and the curves of
//! `metrics.jsonl` and of the event files; or the program has refused by name, with a cure, and what was whole is whole. Never a panic, never a
//! process that hangs, never exit code 0 with another result.
//!
//! `SCORE_SDE_FAULTS=600` asks for more faults than the few of every test run, `SCORE_SDE_FAULTS_SEED=2` for others.

mod compare;
mod damage;
mod disks;
mod folders;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../common/home.rs"]
mod home;
mod kills;
mod named;
mod process;
mod races;
mod tally;
mod world;

use std::sync::Mutex;

use tally::{Fault, Tally};
use world::World;

/// In every test run.
const FEW: usize = 66;

#[test]
fn whatever_happens_to_a_run_nothing_is_lost_and_nothing_is_quietly_wrong() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (count, seed) = (number("SCORE_SDE_FAULTS").unwrap_or(FEW as u64) as usize, number("SCORE_SDE_FAULTS_SEED").unwrap_or(1));
    println!("{count} faults, SCORE_SDE_FAULTS_SEED={seed}");
    let mut random = world::Random(seed);
    let worlds = [World::vectors(), World::images()];
    let classes: Vec<Vec<Fault>> = vec![
        kills::faults(&worlds, count * 5 / 12, &mut random),
        damage::faults(&worlds, count * 4 / 12, &mut random),
        disks::faults(&worlds, count / 12, &mut random),
        races::faults(&worlds, count / 12, &mut random),
        folders::faults(&worlds, count / 12, &mut random),
    ];
    let faults = Mutex::new(classes.into_iter().flatten());
    let tally = Mutex::new(Tally::default());
    // One process more than cores, since some wait.
    let work = || {
        while let Some(fault) = { faults.lock().unwrap().next() } {
            let Fault { class, name, act } = fault;
            let verdict = act();
            tally.lock().unwrap().count(class, &name, verdict);
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(work))));
    let tally = tally.into_inner().unwrap();
    println!("{tally}");
    assert!(tally.is_clean(), "{tally}");
    assert!(tally.faults() >= count.min(60), "{tally}");
}
