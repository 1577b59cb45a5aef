//! Groups of threads on loopback, each with a store's connection and a group of its own.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use comm::{Error, Group, Store};
use tch::{Device, Kind, Tensor};

const PATIENCE: Duration = Duration::from_secs(20);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What each of `world` members has to say, in the order of their ranks.
fn members<T: Send + 'static>(world: usize, work: fn(&Store, &Group) -> T) -> Vec<T> {
    let port = free_port();
    let member = move |rank| {
        tch::set_num_threads(1);
        let store = Store::connect("127.0.0.1", port, rank == 0, "test", PATIENCE).unwrap();
        let group = Group::join(&store, rank, world, "127.0.0.1", PATIENCE).unwrap();
        let said = work(&store, &group);
        // The store is rank 0's.
        group.barrier().unwrap();
        said
    };
    let threads: Vec<_> = (0..world).map(|rank| thread::spawn(move || member(rank))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Numbers whose sum depends on the order in which they are added.
fn numbers(rank: usize) -> Tensor {
    let numbers: Vec<f32> =
        (0..37).map(|i| ((i * 7 + rank * 13) % 11) as f32 * 10f32.powi(((i + 3 * rank) % 9) as i32 - 4) / 3.0).collect();
    Tensor::from_slice(&numbers)
}

fn bits(x: &Tensor) -> Vec<f32> {
    Vec::try_from(x).unwrap()
}

#[test]
fn sums_are_of_a_tree_of_ranks_to_the_bit() {
    for world in [2, 3, 4] {
        let sums = members(world, |_, group| {
            let sum = || bits(&group.all_reduce_sum(numbers(group.rank())).unwrap());
            let first = sum();
            assert_eq!(sum(), first, "in the same memory");
            first
        });
        let [a, b, c, d] = [0, 1, 2, 3].map(numbers);
        let tree = match world {
            2 => a + b,
            3 => a + (b + c),
            _ => (a + b) + (c + d),
        };
        sums.iter().for_each(|sum| assert_eq!(*sum, bits(&tree), "{world}"));
    }
    let [a, b, c, d] = [0, 1, 2, 3].map(numbers);
    assert_ne!(bits(&((&a + &b) + (&c + &d))), bits(&(((a + b) + c) + d)), "the order matters");
}

#[test]
fn shapes_and_kinds_stay_and_one_number_can_be_summed() {
    let seen = members(2, |_, group| {
        let x = Tensor::full([2, 3], group.rank() as i64 + 1, (Kind::Double, Device::Cpu));
        let sum = group.all_reduce_sum(x).unwrap();
        let one = group.all_reduce_sum(Tensor::from(2i64)).unwrap();
        (sum.size(), sum.kind(), sum.double_value(&[1, 2]), one.size().len(), one.int64_value(&[]))
    });
    assert_eq!(seen, [(vec![2, 3], Kind::Double, 3.0, 0, 4), (vec![2, 3], Kind::Double, 3.0, 0, 4)]);
}

#[test]
fn tensors_are_told_and_gathered() {
    let seen = members(3, |_, group| {
        let mut told = numbers(group.rank());
        group.broadcast(&mut told, 1).unwrap();
        let gathered = group.all_gather(&numbers(group.rank())).unwrap();
        (bits(&told), gathered.iter().map(bits).collect::<Vec<_>>())
    });
    let all: Vec<_> = (0..3).map(|rank| bits(&numbers(rank))).collect();
    seen.into_iter().for_each(|seen| assert_eq!(seen, (all[1].clone(), all.clone())));
}

#[test]
fn a_store_keeps_the_first_word_and_adds() {
    let seen = members(3, |store, group| {
        assert_eq!(store.claim("word", "").unwrap(), "", "nobody has said anything yet");
        group.barrier().unwrap();
        store.add("sum", 1 + group.rank() as i64).unwrap();
        let kept = store.claim("word", &format!("of {}", group.rank())).unwrap();
        group.barrier().unwrap();
        (kept, store.add("sum", 0).unwrap())
    });
    assert!(seen[0].0.starts_with("of "), "{seen:?}");
    seen.iter().for_each(|said| assert_eq!(*said, (seen[0].0.clone(), 6)));
}

#[test]
fn who_is_not_there_is_not_waited_for_for_ever() {
    let port = free_port();
    let connect = |serve| Store::connect("127.0.0.1", port, serve, "test", Duration::from_millis(300));
    assert_eq!(connect(false).err(), Some(Error::TimedOut));
    let store = connect(true).unwrap();
    assert_eq!(connect(true).err(), Some(Error::Taken));
    assert_eq!(Group::join(&store, 0, 2, "127.0.0.1", Duration::from_millis(300)).err(), Some(Error::TimedOut));
}
