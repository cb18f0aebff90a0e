//! Waits until everything has come to rest, or nothing moves any more although it should.

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

/// For how many times the patience nobody may answer at all.
const SILENCE_MAX: u32 = 4;

/// What was found when it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest {
    pub(crate) contents: Contents,
    pub(crate) depths: Vec<Depth>,
    pub(crate) unexpected_dead_letters: u64,
    /// Since when everything rested; `None` when it did not.
    pub(crate) since: Option<Instant>,
}

/// Replays the dead letters of the workload, and waits until nothing waits anywhere and every read
/// model is complete, or nothing has changed for as long as `patience` says.
///
/// # Errors
/// When nobody says what is stored.
pub(crate) async fn rest(
    fleet: &Fleet,
    journal: &Journal,
    expected: &Expected,
    patience: Duration,
) -> Result<Rest> {
    let (mut found, mut changed) = (Rest::default(), Instant::now());
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
            // Only who was asked and answered can be said to have stood still.
            if changed.elapsed() >= patience {
                return Ok(found);
            }
        } else if answered.elapsed() >= patience * SILENCE_MAX {
            return Err(Error::Worker("the workers do not say what they have stored".to_owned()));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Ages grow by themselves, which is no change.
fn depths_differ(now: &[Depth], before: &[Depth]) -> bool {
    let ageless = |depth: &Depth| Depth { lag_ms: 0, ..depth.clone() };
    !now.iter().map(ageless).eq(before.iter().map(ageless))
}

fn is_empty(depths: &[Depth]) -> bool {
    depths.iter().all(|depth| depth.outbox + depth.parked + depth.dead == 0)
}

/// What waits and what is stored; `None` when nobody answers for one of the contexts.
///
/// What waits is asked first: what moves on meanwhile is then missing nowhere.
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

/// What waits in each context; `None` when nobody answers for one of them.
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

async fn replay(fleet: &Fleet, journal: &Journal, found: &mut Rest) {
    for depth in found.depths.iter().filter(|depth| depth.dead > 0) {
        let told = fleet.ask(&depth.context, Question::Replay, ANSWER_MAX).await;
        let Some(Told::Replayed(reasons)) = told else { continue };
        for reason in reasons.iter().filter(|reason| *reason != LOOK_AGAIN) {
            journal.note_fault(format!("-- a dead letter nobody expects: {reason}"));
            found.unexpected_dead_letters += 1;
        }
    }
}
