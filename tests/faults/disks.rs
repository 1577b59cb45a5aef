//! Disks that are full, and disks that can't be written.

use std::process::Command;

use crate::compare::State;
use crate::home::Home;
use crate::process;
use crate::tally::{Fault, Step, Verdict};
use crate::world::{Random, Task, World, copy};

pub fn faults<'a>(worlds: &'a [World], count: usize, random: &mut Random) -> Vec<Fault<'a>> {
    let mut fault = |i: usize| -> Fault<'a> {
        let world = &worlds[random.below(worlds.len())];
        let kilobytes = 4 * (1 + random.below(1 + size(world) / 4096));
        let verb = &world.verbs[random.below(world.verbs.len())];
        let of = |name: String, act: Box<dyn FnOnce() -> Step<Verdict> + Send + 'a>| Fault {
            class: "disk",
            name: format!("{}: {name}", world.name),
            act: Box::new(move || act().unwrap_or_else(|verdict| verdict)),
        };
        match i % 3 {
            0 => of(format!("run on a disk of {kilobytes} kB"), Box::new(move || small(world, kilobytes))),
            1 => {
                let room = 4 * (i / 3 % 16);
                of(format!("{} with {room} kB left", verb.arguments[0]), Box::new(move || nearly_full(world, verb, room)))
            }
            _ => of(format!("{} on a disk that can't be written", verb.arguments[0]), Box::new(move || read_only(world, verb))),
        }
    };
    (0..count).map(&mut fault).collect()
}

/// Bytes of the finished run on a disk.
fn size(world: &World) -> usize {
    let files = world.finished.contents("run");
    files.values().map(|(bytes, _)| bytes.len().next_multiple_of(4096)).sum()
}

/// A disk of its own in the place of a home's `run`.
struct Disk<'a>(&'a Home);

impl Disk<'_> {
    fn mount<'a>(home: &'a Home, size: &str) -> Step<Disk<'a>> {
        std::fs::create_dir_all(home.path("run")).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "none"], home)?;
        Ok(Disk(home))
    }

    fn remount(&self, options: &str) -> Step {
        mount(&["-o", &format!("remount,{options}"), "none"], self.0)
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path("run")).output();
    }
}

fn mount(arguments: &[&str], home: &Home) -> Step {
    match Command::new("mount").args(arguments).arg(home.path("run")).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Verdict::Impossible(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(e) => Err(Verdict::Impossible(e.to_string())),
    }
}

fn small(world: &World, kilobytes: usize) -> Step<Verdict> {
    let home = world.fresh();
    let disk = Disk::mount(&home, &format!("{kilobytes}k"))?;
    if world.recovers(&home, &world.run)? {
        return Ok(Verdict::Whole);
    }
    disk.remount("size=64m")?;
    Ok(world.ends(&home, &world.run))
}

fn nearly_full(world: &World, verb: &Task, kilobytes: usize) -> Step<Verdict> {
    let home = world.fresh();
    let disk = Disk::mount(&home, "64m")?;
    copy(&world.finished.path("run"), &home.path("run"));
    let used = Command::new("df").args(["--output=used", "-k"]).arg(home.path("run")).output().unwrap();
    let used: usize = String::from_utf8_lossy(&used.stdout).lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap();
    disk.remount(&format!("size={}k", used + kilobytes))?;
    if world.recovers(&home, verb)? {
        return Ok(Verdict::Whole);
    }
    disk.remount("size=64m")?;
    Ok(world.ends(&home, verb))
}

fn read_only(world: &World, verb: &Task) -> Step<Verdict> {
    let home = world.fresh();
    let disk = Disk::mount(&home, "64m")?;
    copy(&world.finished.path("run"), &home.path("run"));
    disk.remount("ro")?;
    for task in [&world.run, verb] {
        let ended = process::run(&home, &task.arguments)?;
        if ended.code == Some(0) {
            return Err(Verdict::Different(ended.said()));
        }
    }
    // Elsewhere there is room.
    let ended = process::run(&home, &[&verb.arguments[..], &["--out", "elsewhere"]].concat())?;
    if ended.code != Some(0) {
        return Err(Verdict::Lost(ended.said()));
    }
    if let Some(what) = world.run.state.difference(&State::of(&home)) {
        return Err(Verdict::Different(what));
    }
    disk.remount("rw")?;
    Ok(match world.ends(&home, verb) {
        Verdict::Whole => Verdict::Refused,
        other => other,
    })
}
