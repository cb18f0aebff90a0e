//! The till, which tells the ledger what happened to each account: it sends what only the new ledger
//! reads on some accounts, and what only the old one reads on others.

use mamey::{BoundedContext, Command, Context, Event, Result};
use serde::{Deserialize, Serialize};

use crate::builds::{new, old};

/// Both builds handle it.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.charged", key = account)]
pub struct Charged {
    pub account: String,
    pub number: u32,
}

/// Which of the two builds an account needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Messages with a name, a variant and a version that the old build does not know.
    New,
    /// Messages without a field that the new build requires.
    Old,
}

impl Needs {
    /// How many messages one round of an account has.
    pub const fn each(self) -> u32 {
        match self {
            Self::New => 5,
            Self::Old => 3,
        }
    }

    /// Whether any build handles this message of a round.
    pub const fn is_for_any(self, at: u32) -> bool {
        at == 0 || at == self.each() - 1
    }
}

/// Publishes one round of messages about one account, in one commit.
#[derive(Clone, Command)]
pub struct Round {
    pub account: String,
    pub needs: Needs,
    pub round: u32,
}

async fn round(command: Round, cx: &Context) -> Result<()> {
    let Round { account, needs, round } = command;
    let first = round * needs.each();
    let charged = |number| Charged { account: account.clone(), number };
    cx.publish(&charged(first))?;
    match needs {
        Needs::New => {
            cx.publish(&new::Refunded { account: account.clone(), number: first + 1 })?;
            let (account, way) = (account.clone(), new::Way::Swift);
            cx.publish(&new::Moved { account: account.clone(), number: first + 2, way })?;
            let currency = "EUR".to_owned();
            cx.publish(&new::Priced { account, number: first + 3, currency })?;
        }
        Needs::Old => {
            cx.publish(&old::Settled { account: account.clone(), number: first + 1 })?;
        }
    }
    cx.publish(&charged(first + needs.each() - 1))
}

pub fn till() -> BoundedContext {
    BoundedContext::new("till")
        .command(round)
        .publishes::<Charged>()
        .publishes::<new::Refunded>()
        .publishes::<new::Moved>()
        .publishes::<new::Priced>()
        .publishes::<old::Settled>()
}
