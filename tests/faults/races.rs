//! Two to four processes on one run.

use std::fs;
use std::process::Child;
use std::time::Duration;

use crate::home::Home;
use crate::process::wait;
use crate::tally::{Fault, Step, Verdict};
use crate::world::{Random, World};

pub fn faults<'a>(worlds: &'a [World], count: usize, random: &mut Random) -> Vec<Fault<'a>> {
    type Act = fn(&World, &[Duration]) -> Step<Verdict>;
    let kinds: [(&str, Act); 5] = [
        ("runs at once", runs),
        ("a run and readers", readers),
        ("samples of one name", same_name),
        ("samples of free names", free_names),
        ("runs whose lock is removed", without_lock),
    ];
    let mut fault = |i: usize| -> Fault<'a> {
        let world = &worlds[random.below(worlds.len())];
        let (name, act) = kinds[i % kinds.len()];
        let lasts = world.run.lasts.as_secs_f64();
        let delays: Vec<Duration> = (0..2 + random.below(3)).map(|_| Duration::from_secs_f64(0.7 * lasts * random.share())).collect();
        let name = format!("{}: {name}, after {delays:.2?}", world.name);
        Fault { class: "race", name, act: Box::new(move || act(world, &delays).unwrap_or_else(|verdict| verdict)) }
    };
    (0..count).map(&mut fault).collect()
}

/// Starts a command after each delay; whoever ends, ends well or is refused.
fn at_once(home: &Home, delays: &[Duration], arguments: impl Fn(usize) -> Vec<String>) -> Step<Vec<i32>> {
    let mut delays: Vec<Duration> = delays.to_vec();
    delays.sort();
    let mut children: Vec<Child> = Vec::new();
    let mut slept = Duration::ZERO;
    for (i, delay) in delays.iter().enumerate() {
        std::thread::sleep(*delay - slept);
        slept = *delay;
        let arguments = arguments(i);
        children.push(home.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    children.into_iter().map(|child| Ok(wait(child, home)?.code.unwrap())).collect()
}

fn words(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|word| word.to_string()).collect()
}

fn runs(world: &World, delays: &[Duration]) -> Step<Verdict> {
    let home = world.fresh();
    let codes = at_once(&home, delays, |_| words(&world.run.arguments))?;
    match codes.contains(&0) {
        true => Ok(world.ends(&home, &world.run)),
        false => Err(Verdict::Lost("of all runs none came to its end".into())),
    }
}

fn readers(world: &World, delays: &[Duration]) -> Step<Verdict> {
    let home = world.fresh();
    at_once(&home, delays, |i| match i {
        0 => words(&world.run.arguments),
        _ => [words(&world.verbs[(i + delays.len()) % 3].arguments), words(&["--out", &format!("elsewhere-{i}")])].concat(),
    })?;
    Ok(world.ends(&home, &world.run))
}

fn same_name(world: &World, delays: &[Duration]) -> Step<Verdict> {
    let home = world.copy();
    let sample = &world.verbs[0];
    let closer: Vec<Duration> = delays.iter().map(|delay| *delay / 8).collect();
    let codes = at_once(&home, &closer, |_| words(&sample.arguments))?;
    match codes.contains(&0) {
        true => Ok(world.ends(&home, sample)),
        false => Err(Verdict::Lost("of all samples none came to its end".into())),
    }
}

fn free_names(world: &World, delays: &[Duration]) -> Step<Verdict> {
    let home = world.copy();
    let closer: Vec<Duration> = delays.iter().map(|delay| *delay / 8).collect();
    let codes = at_once(&home, &closer, |_| words(&["sample", "run"]))?;
    if codes.iter().any(|code| *code != 0) {
        return Err(Verdict::Lost(format!("a name was free, but they ended with {codes:?}")));
    }
    for i in 2..2 + codes.len() {
        for kind in ["npz", "png", "json", "manifest"] {
            let name = home.path(&format!("run/samples/samples-{i}.{kind}"));
            let Ok(bytes) = fs::read(&name) else { return Err(Verdict::Lost(format!("{} is missing", name.display()))) };
            if ["npz", "png"].contains(&kind) && bytes != home.read(&format!("run/samples/samples.{kind}")) {
                return Err(Verdict::Different(format!("{} is another", name.display())));
            }
            fs::remove_file(name).unwrap();
        }
        fs::remove_dir_all(home.path(&format!("run/curves/samples/samples-{i}"))).unwrap();
    }
    Ok(world.ends(&home, &world.run))
}

fn without_lock(world: &World, delays: &[Duration]) -> Step<Verdict> {
    let home = world.fresh();
    let mut first = home.start(&world.run.arguments);
    home.wait_for("run/.lock", &mut first);
    std::thread::sleep(delays[0] / 2);
    let _ = fs::remove_file(home.path("run/.lock"));
    let second = home.start(&world.run.arguments);
    let ended = [wait(first, &home), wait(second, &home)];
    ended.into_iter().try_for_each(|ended| ended.map(drop))?;
    Ok(world.ends(&home, &world.run))
}
