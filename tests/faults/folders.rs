//! Folders that are removed, moved or replaced while a process works in them, and things in the places of files and folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Child;
use std::time::Duration;

use crate::home::Home;
use crate::process::{self, wait};
use crate::tally::{Fault, Step, Verdict};
use crate::world::{Random, World};

pub fn faults<'a>(worlds: &'a [World], count: usize, random: &mut Random) -> Vec<Fault<'a>> {
    type Act = fn(&World, Duration) -> Step<Verdict>;
    let kinds: [(&str, Act); 5] = [
        ("removed", removed),
        ("moved away and back", moved),
        ("replaced by another process's run", replaced),
        ("a file in place of samples/", in_place),
        ("a lock that leads elsewhere", linked),
    ];
    let mut fault = |i: usize| -> Fault<'a> {
        let world = &worlds[random.below(worlds.len())];
        let (name, act) = kinds[i % kinds.len()];
        let moment = Duration::from_secs_f64(0.4 * random.share() * world.run.lasts.as_secs_f64());
        let name = format!("{}: {name} after {moment:.2?}", world.name);
        Fault { class: "folder", name, act: Box::new(move || act(world, moment).unwrap_or_else(|verdict| verdict)) }
    };
    (0..count).map(&mut fault).collect()
}

fn removed(world: &World, moment: Duration) -> Step<Verdict> {
    let home = world.fresh();
    let mut child = home.start(&world.run.arguments);
    home.wait_for("run/experiment.toml", &mut child);
    still_at_work(&mut child, moment)?;
    // Until no file appears while the folder is removed.
    while home.path("run").exists() {
        let _ = fs::remove_dir_all(home.path("run"));
    }
    let ended = wait(child, &home)?;
    if ended.code == Some(0) {
        return Err(Verdict::Different(format!("the folder was removed: {}", ended.said())));
    }
    if home.path("run").exists() {
        return Err(Verdict::Lost("something half-made was left".into()));
    }
    Ok(world.ends(&home, &world.run))
}

fn moved(world: &World, moment: Duration) -> Step<Verdict> {
    let home = world.fresh();
    let mut child = home.start(&world.run.arguments);
    home.wait_for("run/experiment.toml", &mut child);
    still_at_work(&mut child, moment)?;
    fs::rename(home.path("run"), home.path("moved")).unwrap();
    let ended = wait(child, &home)?;
    if ended.code == Some(0) {
        return Err(Verdict::Different(format!("the folder was moved: {}", ended.said())));
    }
    fs::rename(home.path("moved"), home.path("run")).unwrap();
    Ok(world.ends(&home, &world.run))
}

fn replaced(world: &World, moment: Duration) -> Step<Verdict> {
    let home = world.fresh();
    let mut first = home.start(&world.run.arguments);
    home.wait_for("run/experiment.toml", &mut first);
    still_at_work(&mut first, moment)?;
    fs::rename(home.path("run"), home.path("moved")).unwrap();
    let second = home.start(&world.run.arguments);
    let (ended, other) = (process::end(first), wait(second, &home));
    let (ended, other) = (ended?, other?);
    if ended.code == Some(0) || other.code != Some(0) {
        return Err(Verdict::Different(format!("{}{}", ended.said(), other.said())));
    }
    match world.ends(&home, &world.run) {
        Verdict::Whole => {}
        other => return Ok(other),
    }
    // The first one's run goes on as well.
    fs::remove_dir_all(home.path("run")).unwrap();
    fs::rename(home.path("moved"), home.path("run")).unwrap();
    Ok(world.ends(&home, &world.run))
}

/// After a while, unless the process ends before: this machine may be faster now than when its runs were timed.
fn still_at_work(child: &mut Child, moment: Duration) -> Step {
    std::thread::sleep(moment);
    match child.try_wait().unwrap() {
        None => Ok(()),
        Some(_) => Err(Verdict::Impossible("the run ended before anything became of its folder".into())),
    }
}

fn in_place(world: &World, _: Duration) -> Step<Verdict> {
    let home = world.copy_of(&world.halves[0].1);
    fs::remove_dir_all(home.path("run/samples")).unwrap();
    home.write("run/samples", "a file");
    refused(&home, world)?;
    if home.read("run/samples") != b"a file" {
        return Err(Verdict::Lost("a foreign file was written over".into()));
    }
    fs::remove_file(home.path("run/samples")).unwrap();
    Ok(world.ends(&home, &world.run))
}

fn linked(world: &World, _: Duration) -> Step<Verdict> {
    let home = world.copy_of(&world.halves[0].1);
    let _ = fs::remove_file(home.path("run/.lock"));
    home.write("precious", "data");
    symlink(home.path("precious"), home.path("run/.lock")).unwrap();
    refused(&home, world)?;
    if home.read("precious") != b"data" {
        return Err(Verdict::Lost("what the link leads to was written over".into()));
    }
    fs::remove_file(home.path("run/.lock")).unwrap();
    Ok(world.ends(&home, &world.run))
}

fn refused(home: &Home, world: &World) -> Step {
    let ended = process::run(home, &world.run.arguments)?;
    match ended.code {
        Some(0) => Err(Verdict::Different(ended.said())),
        _ => Ok(()),
    }
}
