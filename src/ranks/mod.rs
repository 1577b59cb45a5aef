//! Processes of one run, by whatever launcher started them: who this one is, sums over all, and how all end when one does.
//!
//! Rank 0 keeps the run folder and speaks; the others are silent and write nothing. All of them make the same calls in the same order. No collective
//! has a time in which it must end, since rank 0 may work for hours while others wait; that a rank lives is watched beside the work
//! (`SCORE_SDE_PATIENCE`, seconds until a silent rank is taken for hung; 20).

mod launched;
mod meeting;
mod watch;

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use comm::Group;
use launched::Place;
use meeting::START;
use tch::{Device, Kind, Tensor};
use watch::{AGAIN, Watch, Word};

use crate::error::{Error, Result};
use crate::interrupt;
use crate::progress;
use crate::tensor::to_vec;

/// Of a collective: beyond any run.
const FOR_EVER: Duration = Duration::from_secs(24 * 24 * 3600);

/// The processes of a run, seen from one of them.
pub struct Ranks(Option<Joined>);

struct Joined {
    place: Place,
    group: Group,
    /// None once it is over.
    watch: RefCell<Option<Watch>>,
}

impl Ranks {
    /// This process works alone.
    pub fn alone() -> Ranks {
        Ranks(None)
    }

    /// Meets the other processes that a launcher has started, if one has; they all work on what `subject` says.
    ///
    /// Errors: the launcher's variables contradict each other; the others did not come in time, or work on something else.
    pub fn join(subject: &str) -> Result<Ranks> {
        let Some(place) = launched::place()? else { return Ok(Ranks::alone()) };
        if place.rank > 0 {
            progress::hush();
        }
        let address = meeting::address(&place)?;
        let store = meeting::store(&place, START)?;
        meeting::meet(&store, &place, subject)?;
        let patience = meeting::patience()?;
        let watch = Watch::begin(meeting::store_again(&place)?, (place.rank, place.world), !place.served, patience, tell);
        let group =
            Group::join(&store, place.rank, place.world, &address, START).and_then(|group| group.wait_for(FOR_EVER).map(|()| group));
        let farewell = watch.farewell();
        let name = format!("rank {} of {}", place.rank, place.world);
        interrupt::before_exit(move |error| farewell(error.exit_code(), format!("{name} stopped: {error}")));
        if place.rank > 0 {
            // Rank 0 knows when to stop.
            interrupt::will_save();
        }
        match group {
            Ok(group) => Ok(Ranks(Some(Joined { place, group, watch: RefCell::new(Some(watch)) }))),
            Err(error) => {
                let word = watch.why(error);
                watch.close(true);
                Err(word.error())
            }
        }
    }

    /// The number of this process among those of its machine.
    pub fn local(&self) -> usize {
        self.0.as_ref().map_or(0, |joined| joined.place.local)
    }

    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |joined| joined.place.rank)
    }

    pub fn world(&self) -> usize {
        self.0.as_ref().map_or(1, |joined| joined.place.world)
    }

    /// Whether this process keeps the run folder and speaks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's part of `n` things, a multiple of the number of ranks, in the order of ranks.
    pub fn share(&self, n: usize) -> Range<usize> {
        let each = n / self.world();
        self.rank() * each..(self.rank() + 1) * each
    }

    /// The sum of all ranks' tensors, of one shape and kind; the same bits everywhere, with each half of the ranks added by itself.
    pub fn sum(&self, x: Tensor) -> Result<Tensor> {
        match &self.0 {
            None => Ok(x),
            Some(joined) => joined.done(joined.group.all_reduce_sum(x)),
        }
    }

    /// All ranks' numbers, of one length, in their order.
    pub fn gather(&self, numbers: Vec<f64>) -> Result<Vec<f64>> {
        match &self.0 {
            None => Ok(numbers),
            Some(joined) => Ok(joined.done(joined.group.all_gather(&Tensor::from_slice(&numbers)))?.iter().flat_map(to_vec).collect()),
        }
    }

    /// Fills a tensor with rank 0's.
    pub fn tell(&self, x: &mut Tensor) -> Result<()> {
        match &self.0 {
            None => Ok(()),
            Some(joined) => joined.done(joined.group.broadcast(x, 0)),
        }
    }

    /// Whether rank 0 wants something done, which it says and the others hear.
    pub fn want(&self, wanted: bool) -> Result<bool> {
        Ok(self.tell_numbers(vec![f64::from(u8::from(wanted))])? == [1.0])
    }

    /// Rank 0's numbers, however many.
    pub fn tell_numbers(&self, numbers: Vec<f64>) -> Result<Vec<f64>> {
        if self.0.is_none() {
            return Ok(numbers);
        }
        let mut count = Tensor::from_slice(&[numbers.len() as i64]);
        self.tell(&mut count)?;
        let count = count.int64_value(&[0]);
        let mut told = if self.is_first() { Tensor::from_slice(&numbers) } else { Tensor::zeros([count], (Kind::Double, Device::Cpu)) };
        if count > 0 {
            self.tell(&mut told)?;
        }
        Ok(to_vec(&told))
    }

    /// Rank 0's bytes.
    pub fn tell_bytes(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let length = self.tell_numbers(vec![bytes.len() as f64])?[0] as i64;
        if self.0.is_none() || length == 0 {
            return Ok(bytes);
        }
        let mut told = if self.is_first() { Tensor::from_slice(&bytes) } else { Tensor::zeros([length], (Kind::Uint8, Device::Cpu)) };
        self.tell(&mut told)?;
        Ok(Vec::try_from(&told).expect("bytes"))
    }

    /// All ranks' bytes, in their order.
    pub fn gather_bytes(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let Some(joined) = &self.0 else { return Ok(vec![bytes]) };
        let lengths = self.gather(vec![bytes.len() as f64])?;
        let longest = lengths.iter().copied().fold(0.0, f64::max) as i64;
        let padded = Tensor::from_slice(&bytes).constant_pad_nd([0, longest - bytes.len() as i64]);
        let all = joined.done(joined.group.all_gather(&padded))?;
        let of = |(x, length): (&Tensor, f64)| Vec::try_from(x.narrow(0, 0, length as i64)).expect("bytes");
        Ok(all.iter().zip(lengths).map(of).collect())
    }

    /// Waits for all ranks, however long they work.
    pub fn wait(&self) -> Result<()> {
        match &self.0 {
            None => Ok(()),
            Some(joined) => joined.done(joined.group.barrier()),
        }
    }

    /// The end of all work, which this rank has come to so. Where all come to the same error, rank 0 reports it; an error of one ends all.
    pub fn end(&self, result: Result<()>) -> Result<()> {
        let Some(Joined { group, watch, place }) = &self.0 else { return result };
        let Some(watch) = watch.take() else { return result };
        match result {
            Err(Error::Rank { .. }) => {
                watch.close(true);
                result
            }
            Err(error) if !error.is_of_all() => {
                let mine = format!("rank {} of {} stopped: {}", place.rank, place.world, error.in_words());
                let word = watch.end_all(error.exit_code(), mine);
                watch.close(true);
                match word {
                    // The same happened to another one, which reports it.
                    Some(word) if word.rank != place.rank && word.why.ends_with(&format!(" stopped: {}", error.in_words())) => {
                        Err(Error::Rank { message: String::new(), help: AGAIN, code: word.code })
                    }
                    Some(word) if word.rank != place.rank => Err(word.error()),
                    _ => Err(error),
                }
            }
            agreed => {
                if let Err(error) = group.barrier() {
                    let word = watch.why(error);
                    watch.close(true);
                    return Err(word.error());
                }
                watch.close(false);
                match agreed {
                    Err(error) if place.rank > 0 => Err(Error::Rank { message: String::new(), help: AGAIN, code: error.exit_code() }),
                    agreed => agreed,
                }
            }
        }
    }
}

impl Joined {
    fn done<T>(&self, result: comm::Result<T>) -> Result<T> {
        result.map_err(|error| match self.watch.borrow().as_ref() {
            Some(watch) => watch.why(error).error(),
            None => Word { rank: self.place.rank, code: 1, why: error.to_string() }.error(),
        })
    }
}

/// Reports what was said of another rank, from beside the work.
fn tell(word: &Word) {
    eprintln!("{:?}", miette::Report::new(word.clone().error()));
}
