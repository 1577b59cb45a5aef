//! How the processes of a run find each other.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use comm::Store;

use super::launched::Place;
use super::watch::{AGAIN, Word};
use crate::error::{Error, Result};

/// Until all processes have come.
pub const START: Duration = Duration::from_secs(300);

/// Seconds until a silent rank is taken for hung.
pub fn patience() -> Result<Duration> {
    let Some(value) = std::env::var_os("SCORE_SDE_PATIENCE") else { return Ok(Duration::from_secs(20)) };
    let seconds = value.to_string_lossy().parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| Error::Usage {
        message: format!("SCORE_SDE_PATIENCE is {value:?}"),
        help: "give whole seconds from 1 to 86400; 20 without it".into(),
    })
}

/// The address of this machine on the way to where all meet.
pub fn address(place: &Place) -> Result<String> {
    let to = (&*place.host, place.port);
    let unknown = |reason: std::io::Error| Error::Usage {
        message: format!("rank {} of {} finds no way to {}: {reason}", place.rank, place.world, place.host),
        help: "MASTER_ADDR names the machine of rank 0, by a name or an address that all machines know".into(),
    };
    let addresses = to.to_socket_addrs().map_err(unknown)?;
    let on_the_way = |to: SocketAddr| {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(to)?;
        socket.local_addr().map(|address| address.ip().to_string())
    };
    let mut failed = std::io::ErrorKind::NotFound.into();
    for to in addresses {
        match on_the_way(to) {
            Ok(address) => return Ok(address),
            Err(error) => failed = error,
        }
    }
    Err(unknown(failed))
}

pub fn store(place: &Place, patience: Duration) -> Result<Store> {
    let Place { rank, world, host, port, served, attempt, .. } = place;
    let serve = *rank == 0 && !served;
    Store::connect(host, *port, serve, &format!("score-sde/{attempt}"), patience).map_err(|error| match error {
        comm::Error::Taken => Error::Usage {
            message: format!("port {port} of {host} is taken by another program"),
            help: "give all ranks another MASTER_PORT".into(),
        },
        _ => Error::Rank {
            message: format!("rank {rank} of {world} found nobody at {host}:{port}, where rank 0 keeps the store"),
            help: "MASTER_ADDR must name the machine of rank 0, and MASTER_PORT a port that is open between the machines",
            code: 1,
        },
    })
}

/// A connection of its own for the watch.
pub fn store_again(place: &Place) -> Result<Store> {
    store(&Place { served: true, ..place.clone() }, START)
}

/// Waits until all are there, and agree on what they do.
pub fn meet(store: &Store, place: &Place, subject: &str) -> Result<()> {
    let Place { rank, world, host, port, .. } = place;
    let lost = |_| Error::Rank { message: format!("the store at {host}:{port} is gone"), help: AGAIN, code: 1 };
    let refused = |message: String, help: &'static str| {
        // Those who wait hear of it; and of rank 0, before the store goes with it.
        let word = Word { rank: *rank, code: 2, why: message.clone() };
        if store.claim("word", &word.written()).is_ok() && *rank == 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        Err(Error::Rank { message, help, code: 2 })
    };
    let of_all = store.claim("world", &world.to_string()).map_err(lost)?;
    if of_all != world.to_string() {
        return refused(format!("rank {rank} is one of {world}, and another one of {of_all}"), "start all ranks by one launcher");
    }
    if store.add(&format!("come/{rank}"), 1).map_err(lost)? > 1 {
        return refused(format!("two processes are rank {rank} of {world}"), "start all ranks by one launcher, each once");
    }
    let theirs = store.claim("subject", subject).map_err(lost)?;
    if theirs != subject {
        return refused(
            format!("rank {rank} was started with `{subject}`, and another with `{theirs}`"),
            "start all ranks with the same command",
        );
    }
    store.add("come", 1).map_err(lost)?;
    let begun = Instant::now();
    loop {
        let come = store.add("come", 0).map_err(lost)?;
        if let Some(word) = Word::read(&store.claim("word", "").map_err(lost)?) {
            return Err(word.error());
        }
        if come >= *world as i64 {
            return Ok(());
        }
        if begun.elapsed() > START {
            let message = format!("{come} of {world} ranks came to {host}:{port} within {} s", START.as_secs());
            return refused(message, "start all of them; MASTER_ADDR and MASTER_PORT are the same for all");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
