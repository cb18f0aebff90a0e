//! Feeds each target the seeds, and some thousand mutations of them: the short form of `./dev fuzz`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mamey_fuzz_targets::{TARGETS, Target};

/// How many mutated inputs each target gets.
const MUTATIONS: usize = 4000;

/// The longest input, in bytes.
const INPUT_BYTES_MAX: usize = 4096;

/// An input that takes longer is a hang.
const TIME_MAX: Duration = Duration::from_secs(1);

/// What decoders tend to trip over.
const TOKENS: [&str; 32] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    "[[[[[[[[",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{1f}",
    "\r\n",
    "\n\n",
    "=",
    "://",
    "@",
    "?",
    "%",
    "%zz",
    "#",
    "-",
    "..",
    "\"id\":",
    "\"data\":",
    "\"time\":",
    "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00+23:59",
    "9223372036854775807us",
    "ff-",
];

fn seeds(target: Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

fn feed(target: Target, input: &[u8]) {
    let mut fastest = Duration::MAX;
    // A machine that is busy elsewhere makes any input slow once, but not three times.
    for _attempt in 0..3 {
        let began = Instant::now();
        let fed = std::panic::catch_unwind(|| (target.run)(input));
        fastest = fastest.min(began.elapsed());
        let shown = String::from_utf8_lossy(input);
        assert!(fed.is_ok(), "`{}` failed on {shown:?}", target.name);
        if fastest <= TIME_MAX {
            return;
        }
    }
    panic!("`{}` took {fastest:?} for {:?}", target.name, String::from_utf8_lossy(input));
}

fn mutate(random: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.choice(seeds).unwrap().clone();
    for _step in 0..random.usize(1..6) {
        let from = random.usize(0..=input.len());
        let to = input.len().min(from + random.usize(0..24));
        match random.u8(0..6) {
            0 => drop(input.drain(from..to)),
            1 => drop(input.splice(from..from, random.choice(TOKENS).unwrap().bytes())),
            2 => drop(input.splice(from..to, random.choice(TOKENS).unwrap().bytes())),
            3 => {
                let copied = input[from..to].to_vec();
                let times = random.usize(1..40);
                drop(input.splice(from..from, copied.repeat(times)));
            }
            4 => {
                let other = random.choice(seeds).unwrap();
                let start = random.usize(0..=other.len());
                drop(input.splice(from.., other[start..].iter().copied()));
            }
            _ => input[from..to].iter_mut().take(3).for_each(|byte| *byte = random.u8(..)),
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn run(name: &str) {
    let target = *TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(target);
    for seed in &seeds {
        feed(target, seed);
    }
    let mut random = fastrand::Rng::with_seed(0x4d41_4d45);
    for _input in 0..MUTATIONS {
        feed(target, &mutate(&mut random, &seeds));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(tested.to_vec(), TARGETS.map(|target| target.name).to_vec());
        }
    };
}

targets! { cloudevents cloudevents_binary plain foreign envelopes cursor trace settings urls }
