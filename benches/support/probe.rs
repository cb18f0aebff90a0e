//! Times small operations side by side, and counts their allocations and instructions.

use std::env;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a probe runs in a turn.
const TURN: Duration = Duration::from_millis(2);

/// How many turns every probe has.
const ROUNDS: usize = 151;

/// Over how many runs allocations are counted.
const COUNTED_RUNS: u32 = 1000;

/// The runs that are subtracted, so that the start and end of the process do not count.
const INSTRUCTION_RUNS_LOW: u32 = 500;

/// The runs whose instructions are counted.
const INSTRUCTION_RUNS_HIGH: u32 = 5500;

/// The argument with which this program runs one probe and nothing else.
pub(crate) const ALONE: &str = "--alone";

/// One small operation.
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    run: Box<dyn FnMut(u32)>,
}

impl Probe {
    /// `run` repeats the operation the given number of times.
    pub(crate) fn new(name: &'static str, run: impl FnMut(u32) + 'static) -> Self {
        let run = Box::new(run);
        Self { name, run }
    }

    pub(crate) fn run(&mut self, times: u32) {
        (self.run)(times);
    }

    /// How many allocations one operation makes.
    pub(crate) fn allocations(&mut self) -> f64 {
        self.run(COUNTED_RUNS);
        let counted = allocation_counter::measure(|| self.run(COUNTED_RUNS));
        // Exact: the count is far below 2^52.
        counted.count_total as f64 / f64::from(COUNTED_RUNS)
    }

    fn nanos(&mut self, times: u32) -> f64 {
        let begin = Instant::now();
        self.run(times);
        begin.elapsed().as_secs_f64() * 1e9 / f64::from(times)
    }

    /// How many operations fill a turn.
    fn runs_per_turn(&mut self) -> u32 {
        let mut runs = 1;
        while self.nanos(runs) * f64::from(runs) < TURN.as_secs_f64() * 1e9 {
            runs *= 2;
        }
        runs
    }
}

/// Nanoseconds of one operation of each probe, in every round.
///
/// The probes alternate, in both directions, so that a slow moment of the machine affects them all.
pub(crate) fn times_ns(probes: &mut [Probe]) -> Vec<Vec<f64>> {
    let runs: Vec<u32> = probes.iter_mut().map(Probe::runs_per_turn).collect();
    let mut times = vec![Vec::with_capacity(ROUNDS); probes.len()];
    for round in 0..ROUNDS {
        let mut turns: Vec<_> = probes.iter_mut().zip(&runs).zip(&mut times).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for ((probe, runs), times) in turns {
            times.push(probe.nanos(*runs));
        }
    }
    times
}

/// How many instructions one operation of a probe takes, counted by callgrind; `None` without it.
pub(crate) fn instructions(probe: &str) -> io::Result<Option<f64>> {
    let low = collected(probe, INSTRUCTION_RUNS_LOW)?;
    let high = collected(probe, INSTRUCTION_RUNS_HIGH)?;
    let runs = f64::from(INSTRUCTION_RUNS_HIGH - INSTRUCTION_RUNS_LOW);
    Ok(low.zip(high).map(|(low, high)| (high - low) / runs))
}

/// The instructions of a whole process that runs one probe `times` times.
fn collected(probe: &str, times: u32) -> io::Result<Option<f64>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([ALONE, probe, &times.to_string()])
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| {
        let (_, count) = line.split_once("Collected :")?;
        count.trim().parse().ok()
    });
    match count.filter(|_| output.status.success()) {
        Some(count) => Ok(Some(count)),
        None => Err(io::Error::other(format!("callgrind failed: {said}"))),
    }
}
