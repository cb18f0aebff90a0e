//! The plan of a round: which builds are started and stopped in which order, drawn from the seed.

use fastrand::Rng;

use crate::builds::Build;

/// One change of what runs. Messages are sent before, during and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start(Build),
    /// Shuts down the process that has run longest of this build.
    Stop(Build),
    /// Kills it.
    Kill(Build),
}

/// A deployment in two steps, and back: expand, both builds side by side, contract, and roll back all
/// of it.
const SIDE_BY_SIDE: [(Build, Build); 5] = [
    (Build::Old, Build::Expanded),
    (Build::Expanded, Build::Contracted),
    (Build::Contracted, Build::Expanded),
    (Build::Expanded, Build::Old),
    (Build::Old, Build::Expanded),
];

/// So many of four ends of a process are no orderly ones.
const KILLED_OF_FOUR: u8 = 1;

/// The steps of a round; `shared` says whether processes may run side by side.
pub(crate) fn plan(rng: &mut Rng, shared: bool) -> Vec<Step> {
    let mut steps = vec![Step::Start(Build::Old)];
    if shared {
        steps.push(Step::Start(Build::Old));
    }
    for (from, to) in SIDE_BY_SIDE {
        let end = end(rng, from);
        if !shared {
            steps.extend([end, Step::Start(to)]);
            continue;
        }
        let other_end = self::end(rng, from);
        steps.push(Step::Start(to));
        // The second of the new build comes before, between or after the ends of the old one.
        match rng.u8(..3) {
            0 => steps.extend([Step::Start(to), end, other_end]),
            1 => steps.extend([end, Step::Start(to), other_end]),
            _ => steps.extend([end, other_end, Step::Start(to)]),
        }
    }
    steps
}

fn end(rng: &mut Rng, of: Build) -> Step {
    if rng.u8(..4) < KILLED_OF_FOUR { Step::Kill(of) } else { Step::Stop(of) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many processes of each build run after each step.
    fn running(steps: &[Step]) -> Vec<[i32; 3]> {
        let builds = [Build::Old, Build::Expanded, Build::Contracted];
        let mut now = [0; 3];
        let after = |step: &Step| {
            let (build, change) = match step {
                Step::Start(build) => (build, 1),
                Step::Stop(build) | Step::Kill(build) => (build, -1),
            };
            now[builds.iter().position(|it| it == build).unwrap()] += change;
            now
        };
        steps.iter().map(after).collect()
    }

    #[test]
    fn every_pair_of_builds_runs_side_by_side_and_each_alone() {
        for seed in 0..50 {
            let after = running(&plan(&mut Rng::with_seed(seed), true));
            assert!(after.iter().all(|now| now.iter().sum::<i32>() >= 1), "{after:?}");
            assert!(after.iter().flatten().all(|count| (0..=2).contains(count)), "{after:?}");
            for pair in [[0, 1], [1, 2]] {
                let beside = |now: &[i32; 3]| pair.iter().all(|build| now[*build] > 0);
                assert!(after.iter().any(beside), "{pair:?} in {after:?}");
            }
            for build in 0..3 {
                let alone = |now: &[i32; 3]| now[build] == now.iter().sum::<i32>();
                assert!(after.iter().any(alone), "{build} in {after:?}");
            }
            assert_eq!(after.last(), Some(&[0, 2, 0]));
        }
    }

    #[test]
    fn where_nothing_is_shared_one_process_runs_at_a_time() {
        for seed in 0..50 {
            let after = running(&plan(&mut Rng::with_seed(seed), false));
            assert!(after.iter().all(|now| now.iter().sum::<i32>() <= 1), "{after:?}");
            assert_eq!(after.last(), Some(&[0, 1, 0]));
        }
    }

    #[test]
    fn a_seed_gives_the_same_plan_again_and_some_processes_are_killed() {
        let plans = |from| (from..from + 20).map(|it| plan(&mut Rng::with_seed(it), true));
        assert_eq!(plans(7).collect::<Vec<_>>(), plans(7).collect::<Vec<_>>());
        let killed = plans(0).flatten().filter(|step| matches!(step, Step::Kill(_))).count();
        assert!((10..100).contains(&killed), "{killed}");
    }
}
