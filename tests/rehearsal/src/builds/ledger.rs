//! The ledger: applies what the till sends to accounts, as each build knows it.

use mamey::{BoundedContext, Context, Error, Result};

use super::Build;
use super::account::{indexed, plain};
use super::messages::{Charged, Moved, Noted, Priced, Refunded, former};

/// One of so many runs fails, so that lanes are parked at any time.
const FAILS_ONE_IN: u32 = 60;

fn hiccup() -> Result<()> {
    match fastrand::u32(..FAILS_ONE_IN) {
        0 => Err(Error::other("the ledger is being cleaned")),
        _ => Ok(()),
    }
}

/// The handlers of a build: each applies its message to an account of that build.
macro_rules! handlers {
    ($build:expr, $accounts:ident: $($name:ident($message:ty))+) => {$(
        pub(super) async fn $name(event: $message, cx: &Context) -> Result<()> {
            hiccup()?;
            $accounts::enter(cx, event.account, event.number, $build.as_str()).await
        }
    )+};
}

mod old {
    use super::*;

    handlers!(Build::Old, plain:
        on_charged(Charged) on_noted(Noted) on_priced(former::Priced) on_moved(former::Moved));
}

mod expanded {
    use super::*;

    handlers!(Build::Expanded, indexed:
        on_charged(Charged) on_noted(Noted) on_priced(Priced) on_moved(Moved)
        on_refunded(Refunded));
}

mod contracted {
    use super::*;

    handlers!(Build::Contracted, indexed:
        on_charged(Charged) on_priced(Priced) on_moved(Moved) on_refunded(Refunded));
}

pub(super) fn context(build: Build) -> BoundedContext {
    let ledger = BoundedContext::new("ledger");
    match build {
        Build::Old => ledger
            .aggregate::<plain::Account>()
            .query(plain::show)
            .on(old::on_charged)
            .on(old::on_noted)
            .on(old::on_priced)
            .on(old::on_moved),
        Build::Expanded => ledger
            .aggregate::<indexed::Account>()
            .query(indexed::show)
            .on(expanded::on_charged)
            .on(expanded::on_noted)
            .on(expanded::on_priced)
            .on(expanded::on_moved)
            .on(expanded::on_refunded),
        Build::Contracted => ledger
            .aggregate::<indexed::Account>()
            .query(indexed::show)
            .on(contracted::on_charged)
            .on(contracted::on_priced)
            .on(contracted::on_moved)
            .on(contracted::on_refunded)
            .ignores::<Noted>(),
    }
}
