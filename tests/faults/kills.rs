//! Kills at random moments of every phase and verb.

use std::time::Duration;

use crate::process::{end, kill};
use crate::tally::{Fault, Step, Verdict};
use crate::world::{Random, Task, World};

pub fn faults<'a>(worlds: &'a [World], count: usize, random: &mut Random) -> Vec<Fault<'a>> {
    (0..count).map(|i| one(worlds, i, random)).collect()
}

fn one<'a>(worlds: &'a [World], i: usize, random: &mut Random) -> Fault<'a> {
    let world = &worlds[random.below(worlds.len())];
    // Half of them while the run itself works.
    let task = if i.is_multiple_of(2) { &world.run } else { &world.verbs[random.below(world.verbs.len())] };
    let signal = ["-KILL", "-TERM"][random.below(2)];
    let moments: Vec<f64> = (0..1 + random.below(2)).map(|_| random.share()).collect();
    let name = format!("{}: {} is sent {signal} after {moments:.3?} of its time", world.name, task.arguments[0]);
    Fault { class: "kill", name, act: Box::new(move || act(world, task, signal, &moments).unwrap_or_else(|verdict| verdict)) }
}

fn act(world: &World, task: &Task, signal: &str, moments: &[f64]) -> Step<Verdict> {
    let home = if task.arguments[0] == "run" { world.fresh() } else { world.copy() };
    for moment in moments {
        let child = home.start(&task.arguments);
        std::thread::sleep(Duration::from_secs_f64((0.15 + 0.85 * moment) * task.lasts.as_secs_f64()));
        kill(&child, signal);
        let ended = end(child)?;
        match (ended.code, ended.signal) {
            // It was done before, or it had nothing to save yet.
            (Some(0 | 143), None) | (None, Some(9 | 15)) => {}
            (Some(75), None) if ended.stderr.contains("interrupted at") => {}
            _ => return Err(Verdict::Panic(ended.said())),
        }
    }
    Ok(world.ends(&home, task))
}
