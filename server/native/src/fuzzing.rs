//! Inputs for the tests that look for bytes that hurt: those of `corpus/`, and changed ones, the same in every run.
//!
//! `FUZZ_ROUNDS` and `FUZZ_SEED` in the environment make a run longer, and another one. An input that a test fails with
//! is printed: as a file of `corpus/TARGET/` it is tried in every run from then on.

use std::path::Path;
use std::{env, fs, thread};

/// Numbers that look random: the same ones after the same seed (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        Random(setting("FUZZ_SEED").unwrap_or(1).max(1))
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to below `end`; 0 where that is nothing.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() >> 32) as usize % end.max(1)
    }

    pub fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.number() as u8).collect()
    }

    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// How many inputs to try; `usual` in an ordinary run of the tests.
pub fn rounds(usual: u64) -> u64 {
    setting("FUZZ_ROUNDS").unwrap_or(usual)
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().expect("a whole number"))
}

/// The files of `corpus/TARGET/`, in the order of their names.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let entries = fs::read_dir(folder).expect("the corpus is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let found: Vec<_> = files
        .iter()
        .map(|path| fs::read(path).expect("it can be read"))
        .collect();
    assert!(!found.is_empty(), "corpus/{target} is empty");
    found
}

/// What varints and lengths are changed to: bounds of types, and lengths that are endless.
const ODD: [&[u8]; 8] = [
    &[0x00],
    &[0x7f],
    &[0xff, 0x01],
    &[0x80, 0x80, 0x04],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80; 12],
];

/// One of the seeds with a few changes.
pub fn changed(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = random.of(seeds).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        let end = at + random.below(data.len() + 1 - at);
        match random.below(7) {
            0 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = random.number() as u8;
                }
            }
            2 => data.truncate(at),
            3 => drop(data.splice(at..end, [])),
            4 => {
                let again = data[at..end].to_vec();
                drop(data.splice(at..at, again));
            }
            5 => {
                let odd = *random.of(&ODD);
                let over = (at + random.below(2)).min(data.len());
                drop(data.splice(at..over, odd.iter().copied()));
            }
            _ => {
                let other = random.of(seeds);
                let from = random.below(other.len() + 1);
                let piece = other[from..].to_vec();
                drop(data.splice(at.., piece));
            }
        }
    }
    data
}

/// Prints the input when what is done with it panics.
pub struct Shown<'a>(pub &'a str, pub &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let text: String = self.1.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("the input, for corpus/{}: {text}", self.0);
        }
    }
}
