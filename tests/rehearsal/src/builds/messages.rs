//! What the till tells the others, in the forms of the builds.

use mamey::Event;
use serde::{Deserialize, Serialize};

/// All builds send and handle it; the audit as well.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.charged", key = account)]
pub(crate) struct Charged {
    pub(crate) account: String,
    pub(crate) number: u64,
}

/// The last build does not want it any more.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.noted", key = account)]
pub(crate) struct Noted {
    pub(crate) account: String,
    pub(crate) number: u64,
}

/// Added by the second build.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.refunded", key = account)]
pub(crate) struct Refunded {
    pub(crate) account: String,
    pub(crate) number: u64,
}

/// The forms of the first build.
pub(crate) mod former {
    use super::{Deserialize, Event, Serialize};

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.priced", key = account)]
    pub(crate) struct Priced {
        pub(crate) account: String,
        pub(crate) number: u64,
    }

    #[derive(Serialize, Deserialize)]
    pub(crate) enum Way {
        Slow,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(name = "till.moved", key = account)]
    pub(crate) struct Moved {
        pub(crate) account: String,
        pub(crate) number: u64,
        pub(crate) way: Way,
    }
}

/// With a field that every reader must know.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.priced", key = account, version = 2, from = former::Priced)]
pub(crate) struct Priced {
    pub(crate) account: String,
    pub(crate) number: u64,
    pub(crate) currency: String,
}

impl From<former::Priced> for Priced {
    fn from(former: former::Priced) -> Self {
        let former::Priced { account, number } = former;
        Self { account, number, currency: "EUR".to_owned() }
    }
}

/// With a variant that the first build cannot read.
#[derive(Serialize, Deserialize)]
pub(crate) enum Way {
    Slow,
    Swift,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "till.moved", key = account)]
pub(crate) struct Moved {
    pub(crate) account: String,
    pub(crate) number: u64,
    pub(crate) way: Way,
}
