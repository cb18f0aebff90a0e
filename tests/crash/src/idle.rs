//! Waits until the service under test is idle, or makes no progress although it should.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::domain::CONTEXTS;
use crate::domain::audit::LOOK_AGAIN;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::journal::Journal;
use crate::protocol::{Contents, Depth, Question, Told};
use crate::verdict::Expected;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// How long a worker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// After how many times the patience the suite gives up when no worker answers at all.
const SILENCE_MAX: u32 = 4;

/// What was found at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Idle {
    pub(crate) contents: Contents,
    pub(crate) depths: Vec<Depth>,
    pub(crate) unexpected_dead_letters: u64,
    /// Since when the service is idle; `None` when it did not become idle.
    pub(crate) since: Option<Instant>,
}

/// Replays the dead letters of the workload, and waits until no message waits and every read model is
/// complete, or until nothing has changed for as long as `patience`.
///
/// # Errors
/// When no worker reports what is stored.
pub(crate) async fn until_idle(
    fleet: &Fleet,
    journal: &Journal,
    expected: &Expected,
    patience: Duration,
) -> Result<Idle> {
    let (mut found, mut changed) = (Idle::default(), Instant::now());
    let mut answered = Instant::now();
    loop {
        if let Some((contents, depths)) = look(fleet).await {
            if contents != found.contents || depths_differ(&depths, &found.depths) {
                changed = Instant::now();
            }
            answered = Instant::now();
            (found.contents, found.depths) = (contents, depths);
            replay(fleet, journal, &mut found).await;
            if is_empty(&found.depths) && expected.is_complete(&found.contents) {
                found.since = Some(changed);
                return Ok(found);
            }
            // Without an answer we would not know whether anything has changed.
            if changed.elapsed() >= patience {
                return Ok(found);
            }
        } else if answered.elapsed() >= patience * SILENCE_MAX {
            return Err(Error::Worker(
                "the workers do not report what they have stored".to_owned(),
            ));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The age of a record grows without a change, so it is not compared.
fn depths_differ(now: &[Depth], before: &[Depth]) -> bool {
    let ageless = |depth: &Depth| Depth { lag_ms: 0, ..depth.clone() };
    !now.iter().map(ageless).eq(before.iter().map(ageless))
}

fn is_empty(depths: &[Depth]) -> bool {
    depths.iter().all(|depth| depth.outbox + depth.parked + depth.dead == 0)
}

/// What waits and what is stored; `None` when no worker answers for one of the contexts.
///
/// What waits is read first: a message that moves in between is then counted twice rather than not at
/// all.
async fn look(fleet: &Fleet) -> Option<(Contents, Vec<Depth>)> {
    let depths = depths(fleet).await?;
    let mut contents = Contents::default();
    for context in CONTEXTS {
        let Told::Contents(told) = fleet.ask(context, Question::Contents, ANSWER_MAX).await? else {
            return None;
        };
        contents.add(context, &told);
    }
    Some((contents, depths))
}

/// What waits in each context; `None` when no worker answers for one of them.
pub(crate) async fn depths(fleet: &Fleet) -> Option<Vec<Depth>> {
    let mut depths = Vec::new();
    for context in CONTEXTS {
        let Told::Depth(told) = fleet.ask(context, Question::Depth, ANSWER_MAX).await? else {
            return None;
        };
        depths.extend(told.into_iter().filter(|depth| depth.context == context));
    }
    Some(depths)
}

async fn replay(fleet: &Fleet, journal: &Journal, found: &mut Idle) {
    for depth in found.depths.iter().filter(|depth| depth.dead > 0) {
        let told = fleet.ask(&depth.context, Question::Replay, ANSWER_MAX).await;
        let Some(Told::Replayed(reasons)) = told else { continue };
        for reason in reasons.iter().filter(|reason| *reason != LOOK_AGAIN) {
            journal.note_fault(format!("-- an unexpected dead letter: {reason}"));
            found.unexpected_dead_letters += 1;
        }
    }
}
