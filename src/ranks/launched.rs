//! Who a launcher says that this process is: the one place where its variables are read.

use crate::error::{Error, Result};

/// One of the processes of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// 0 to `world` - 1.
    pub rank: usize,
    /// At least 2.
    pub world: usize,
    /// The number among those of its machine.
    pub local: usize,
    /// Where all meet.
    pub host: String,
    pub port: u16,
    /// Whether the launcher itself keeps the store there, or else rank 0 does.
    pub served: bool,
    /// How often the launcher has started these processes before.
    pub attempt: String,
}

/// A launcher's names.
struct Names {
    rank: &'static str,
    world: &'static str,
    local: &'static str,
    /// What is there where it is this launcher.
    mark: &'static [&'static str],
}

/// torchrun sets its own inside a Slurm step, and mpirun starts its daemons by srun: the first that is there is the innermost.
const LAUNCHERS: [Names; 3] = [
    Names { rank: "RANK", world: "WORLD_SIZE", local: "LOCAL_RANK", mark: &["RANK", "WORLD_SIZE"] },
    Names {
        rank: "OMPI_COMM_WORLD_RANK",
        world: "OMPI_COMM_WORLD_SIZE",
        local: "OMPI_COMM_WORLD_LOCAL_RANK",
        mark: &["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
    },
    // A batch script has a SLURM_PROCID, too; what srun starts has a step.
    Names { rank: "SLURM_PROCID", world: "SLURM_NTASKS", local: "SLURM_LOCALID", mark: &["SLURM_STEP_ID"] },
];

/// The port where nobody says one, PyTorch's.
const PORT: u16 = 29500;

/// By the variables of this process; none where it works alone.
///
/// Error: they contradict each other, or one is missing or no number.
pub fn place() -> Result<Option<Place>> {
    read(&|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty()))
}

fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Option<Place>> {
    let Some(names) = LAUNCHERS.iter().find(|names| names.mark.iter().any(|mark| get(mark).is_some())) else { return Ok(None) };
    let number = |name: &str| -> Result<usize> {
        let there = names.mark.iter().copied().find(|mark| get(mark).is_some()).unwrap_or_default();
        let value = get(name).ok_or_else(|| missing(name, there))?;
        value.parse().map_err(|_| wrong(format!("{name} is {value:?}"), "give a whole number"))
    };
    let (rank, world) = (number(names.rank)?, number(names.world)?);
    if rank >= world {
        let message = format!("{} is {rank} and {} is {world}", names.rank, names.world);
        return Err(wrong(message, "ranks go from 0 to one below their number"));
    }
    let local = if get(names.local).is_some() { number(names.local)? } else { 0 };
    if local > rank {
        let message = format!("{} is {local} and {} is {rank}", names.local, names.rank);
        return Err(wrong(message, "a process has no higher number on its machine than among all"));
    }
    if world == 1 {
        return Ok(None);
    }
    let host = host(names, get, world)?;
    let port = match get("MASTER_PORT") {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            wrong(format!("MASTER_PORT is {port:?}"), "give a port from 1 to 65535 that is free on the machine of rank 0")
        })?,
        None if names.rank == "RANK" => return Err(missing("MASTER_PORT", "RANK")),
        None => slurm_port(get).unwrap_or(PORT),
    };
    let served = get("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
    let attempt = get("TORCHELASTIC_RESTART_COUNT").or_else(|| get("SLURM_RESTART_COUNT")).unwrap_or_default();
    Ok(Some(Place { rank, world, local, host, port, served, attempt }))
}

/// The machine of rank 0.
fn host(names: &Names, get: &dyn Fn(&str) -> Option<String>, world: usize) -> Result<String> {
    if let Some(host) = get("MASTER_ADDR") {
        return Ok(host);
    }
    match names.rank {
        "RANK" => Err(missing("MASTER_ADDR", "RANK")),
        "SLURM_PROCID" => ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"]
            .into_iter()
            .find_map(get)
            .map(|list| first_node(&list))
            .or_else(|| get("SLURM_LAUNCH_NODE_IPADDR"))
            .ok_or_else(|| missing("SLURM_JOB_NODELIST", "SLURM_STEP_ID")),
        _ if get("OMPI_COMM_WORLD_LOCAL_SIZE").is_some_and(|here| here == world.to_string()) => Ok("127.0.0.1".into()),
        _ => {
            let help = "give mpirun the name of the machine of rank 0: -x MASTER_ADDR=NAME -x MASTER_PORT=29500";
            Err(wrong("the processes of mpirun are on several machines, and MASTER_ADDR is not set", help))
        }
    }
}

/// The first of Slurm's list, such as `node[003-010,12],login` or `a1,a2`.
fn first_node(list: &str) -> String {
    let end = list.find([',', '[']).unwrap_or(list.len());
    let (name, rest) = list.split_at(end);
    match rest.strip_prefix('[') {
        Some(numbers) => format!("{name}{}", numbers.split([',', '-', ']']).next().unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// A port that steps of other jobs hardly have.
fn slurm_port(get: &dyn Fn(&str) -> Option<String>) -> Option<u16> {
    let number = |name: &str| get(name)?.parse::<u64>().ok();
    let job = number("SLURM_JOB_ID")?;
    Some(20_000 + ((job + number("SLURM_STEP_ID").unwrap_or(0)) % 10_000) as u16)
}

fn missing(name: &str, there: &str) -> Error {
    let help = format!("start it by torchrun, srun or mpirun, which set all of them; or unset {there} to run alone");
    wrong(format!("{there} is set and {name} is not"), help)
}

fn wrong(message: impl Into<String>, help: impl Into<String>) -> Error {
    Error::Usage { message: message.into(), help: help.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Place>> {
        read(&|name| variables.iter().find(|(there, _)| *there == name).map(|(_, value)| value.to_string()))
    }

    fn found(variables: &[(&str, &str)]) -> Place {
        of(variables).unwrap().unwrap()
    }

    const TORCHRUN: [(&str, &str); 5] =
        [("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "n1"), ("MASTER_PORT", "4000")];
    const SRUN: [(&str, &str); 6] = [
        ("SLURM_PROCID", "2"),
        ("SLURM_NTASKS", "8"),
        ("SLURM_LOCALID", "2"),
        ("SLURM_STEP_ID", "1"),
        ("SLURM_JOB_ID", "123456"),
        ("SLURM_JOB_NODELIST", "gpu[017-019,30],login"),
    ];
    const MPIRUN: [(&str, &str); 3] = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_LOCAL_RANK", "1")];

    #[test]
    fn each_launcher_says_who_we_are() {
        let place = Place { rank: 3, world: 4, local: 1, host: "n1".into(), port: 4000, served: false, attempt: String::new() };
        assert_eq!(found(&TORCHRUN), place);
        let agent = [&TORCHRUN[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")]].concat();
        assert_eq!(found(&agent), Place { served: true, attempt: "2".into(), ..place });
        let step = found(&SRUN);
        assert_eq!((step.rank, step.world, step.local, &*step.host, step.port), (2, 8, 2, "gpu017", 23457));
        let here = [&MPIRUN[..], &[("OMPI_COMM_WORLD_LOCAL_SIZE", "2")]].concat();
        let here = found(&here);
        assert_eq!((here.rank, here.world, here.local, &*here.host, here.port), (1, 2, 1, "127.0.0.1", 29500));
        // The innermost of several.
        assert_eq!(found(&[&SRUN[..], &TORCHRUN].concat()).rank, 3);
    }

    #[test]
    fn nobody_and_one_work_alone() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
        // A batch script that starts it without srun.
        assert_eq!(of(&[&SRUN[..3], &SRUN[4..]].concat()).unwrap(), None);
    }

    #[test]
    fn lists_of_nodes_begin_with_the_node_of_rank_0() {
        for (list, first) in [("a", "a"), ("a1,a2", "a1"), ("n[3-5]", "n3"), ("n[07,9]", "n07"), ("x-1,n[3]", "x-1")] {
            assert_eq!(first_node(list), first);
        }
    }

    #[test]
    fn contradictions_are_refused_in_words() {
        let with = |name: &'static str, value: &'static str| {
            let changed: Vec<_> = TORCHRUN.into_iter().filter(|(there, _)| *there != name).chain([(name, value)]).collect();
            of(&changed).unwrap_err().to_string()
        };
        assert_eq!(with("RANK", "4"), "RANK is 4 and WORLD_SIZE is 4");
        assert_eq!(with("RANK", "one"), "RANK is \"one\"");
        assert_eq!(with("WORLD_SIZE", "-1"), "WORLD_SIZE is \"-1\"");
        assert_eq!(with("LOCAL_RANK", "5"), "LOCAL_RANK is 5 and RANK is 3");
        assert_eq!(with("MASTER_PORT", "70000"), "MASTER_PORT is \"70000\"");
        let without =
            |name: &str| of(&TORCHRUN.into_iter().filter(|(there, _)| *there != name).collect::<Vec<_>>()).unwrap_err().to_string();
        assert_eq!(without("WORLD_SIZE"), "RANK is set and WORLD_SIZE is not");
        assert_eq!(without("RANK"), "RANK is set and RANK is not".replacen("RANK", "WORLD_SIZE", 1));
        assert_eq!(without("MASTER_ADDR"), "RANK is set and MASTER_ADDR is not");
        assert!(of(&MPIRUN).unwrap_err().to_string().contains("several machines"));
    }
}
