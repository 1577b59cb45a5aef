//! Inputs that are almost whole: bytes and lines of whole ones, changed in a few places.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    random: ChaCha8Rng,
}

/// Numbers at which something may break, as text and as bytes.
const WORDS: [&str; 20] = [
    "0",
    "-1",
    "1e12",
    "1e308",
    "-1e308",
    "nan",
    "inf",
    "-inf",
    "1e-320",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "\"\"",
    "[]",
    "{}",
    "true",
    "\"é\"",
    "[[1]]",
    "0.5",
    "1979-05-27",
];
const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, u32::MAX as u64, u64::MAX];

impl Mutations {
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Mutations {
        assert!(!seeds.is_empty(), "there is nothing to mutate");
        Mutations { seeds, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..self.random.random_range(1..=4) {
            if !input.is_empty() {
                self.change(&mut input);
            }
        }
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        let i = self.random.random_range(0..self.seeds.len());
        self.seeds[i].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let random = &mut self.random;
        // Heads decide more than bodies do.
        let end = if random.random_bool(0.5) { input.len().min(256) } else { input.len() };
        let at = random.random_range(0..end);
        match random.random_range(0..9) {
            0 => input[at] ^= 1 << random.random_range(0..8),
            1 => input[at] = random.next_u32() as u8,
            2 => input.truncate(at),
            3 => {
                let width = [1, 2, 4, 8][random.random_range(0..4)];
                let number = NUMBERS[random.random_range(0..NUMBERS.len())];
                let bytes = if random.random_bool(0.5) { number.to_le_bytes() } else { (number << (64 - 8 * width)).to_be_bytes() };
                input.iter_mut().skip(at).zip(bytes).take(width).for_each(|(byte, new)| *byte = new);
            }
            4 => {
                let n = random.random_range(0..64.min(input.len() - at) + 1);
                let part = input[at..at + n].to_vec();
                let to = random.random_range(0..=input.len());
                input.splice(to..to, part);
            }
            5 => drop(input.drain(at..(at + random.random_range(0..64)).min(input.len()))),
            6 => {
                let other = self.seed();
                let from = self.random.random_range(0..other.len().max(1)).min(other.len());
                input.truncate(at);
                input.extend(&other[from..]);
            }
            _ => self.word(input),
        }
    }

    /// Another value in the place of what follows an `=` or `:`; or a line that is gone or there twice.
    fn word(&mut self, input: &mut Vec<u8>) {
        let places = |of: &[u8]| -> Vec<usize> { input.iter().enumerate().filter(|(_, byte)| of.contains(byte)).map(|(i, _)| i).collect() };
        let (values, lines) = (places(b"=:"), places(b"\n"));
        let random = &mut self.random;
        if random.random_bool(0.7) && !values.is_empty() {
            let from = values[random.random_range(0..values.len())] + 1;
            let length = input[from..].iter().position(|byte| b",}\n".contains(byte)).unwrap_or(0);
            let word = WORDS[random.random_range(0..WORDS.len())];
            input.splice(from..from + length, word.bytes());
        } else if lines.len() > 2 {
            let i = random.random_range(0..lines.len() - 1);
            let line = input[lines[i]..lines[i + 1]].to_vec();
            match random.random_bool(0.5) {
                true => drop(input.drain(lines[i]..lines[i + 1])),
                false => drop(input.splice(lines[i]..lines[i], line)),
            }
        }
    }
}
