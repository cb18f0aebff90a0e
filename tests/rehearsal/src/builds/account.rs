//! What the ledger has applied of one account, in the order in which it applied it.

use std::collections::BTreeMap;

use mamey::{Aggregate, Context, Criteria, Query, ReadContext, Result};
use serde::{Deserialize, Serialize};

/// Consecutive numbers that were applied in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Run {
    /// Appends a number. While all is well there is one run.
    pub(crate) fn append(runs: &mut Vec<Self>, number: u64) {
        match runs.last_mut() {
            Some(run) if run.last + 1 == number => run.last = number,
            _ => runs.push(Self { first: number, last: number }),
        }
    }

    /// All numbers in the order in which they were appended.
    pub(crate) fn numbers(runs: &[Self]) -> impl Iterator<Item = u64> {
        runs.iter().flat_map(|run| run.first..=run.last)
    }
}

/// An account as it is reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountState {
    pub(crate) runs: Vec<Run>,
    /// How many of the messages each build handled.
    pub(crate) by: BTreeMap<String, u64>,
    /// Whether a search by the index finds it; none in a build without the index.
    pub(crate) is_found: Option<bool>,
}

/// All accounts by name.
#[derive(Query)]
#[query(reply = BTreeMap<String, AccountState>)]
pub(crate) struct ShowAccounts;

const ACCOUNTS_MAX: u32 = 1000;

/// An account of a build, and what the build does with it. The builds differ in its index.
macro_rules! account {
    ($(#[$index:meta])*) => {
        #[derive(Serialize, Deserialize, Aggregate)]
        #[aggregate(collection = "accounts")]
        pub(crate) struct Account {
            #[aggregate(id)]
            name: String,
            $(#[$index])*
            last: i64,
            runs: Vec<Run>,
            by: BTreeMap<String, u64>,
        }

        impl Account {
            fn apply(&mut self, number: u64, by: &str) {
                Run::append(&mut self.runs, number);
                self.last = i64::try_from(number).unwrap_or(i64::MAX);
                *self.by.entry(by.to_owned()).or_default() += 1;
            }

            fn state(self) -> AccountState {
                AccountState { runs: self.runs, by: self.by, is_found: None }
            }
        }

        /// Applies a message to its account.
        pub(crate) async fn enter(
            cx: &Context,
            account: String,
            number: u64,
            by: &str,
        ) -> Result<()> {
            let accounts = cx.repository::<Account>();
            if let Some(mut found) = accounts.get(&account).await? {
                found.apply(number, by);
                return accounts.save(&found);
            }
            let (runs, by_build) = (Vec::new(), BTreeMap::new());
            let mut new = Account { name: account, last: 0, runs, by: by_build };
            new.apply(number, by);
            accounts.add(&new)
        }

        async fn all(cx: &ReadContext) -> Result<BTreeMap<String, AccountState>> {
            let criteria = Criteria::all().limit(ACCOUNTS_MAX);
            let page = cx.repository::<Account>().find(criteria).await?;
            let items = page.items.into_iter().map(mamey::Versioned::into_inner);
            Ok(items.map(|account| (account.name.clone(), account.state())).collect())
        }
    };
}

pub(super) mod plain {
    use super::*;

    account!();

    pub(crate) async fn show(
        _: ShowAccounts,
        cx: &ReadContext,
    ) -> Result<BTreeMap<String, AccountState>> {
        all(cx).await
    }
}

pub(super) mod indexed {
    use super::*;

    account!(#[aggregate(index)]);

    /// As the plain one, and looks each account up by its last number.
    pub(crate) async fn show(
        _: ShowAccounts,
        cx: &ReadContext,
    ) -> Result<BTreeMap<String, AccountState>> {
        let mut accounts = all(cx).await?;
        for (name, account) in &mut accounts {
            let last = account.runs.last().map_or(0, |run| run.last);
            let last = i64::try_from(last).unwrap_or(i64::MAX);
            let criteria = Account::LAST.eq(last).limit(ACCOUNTS_MAX);
            let page = cx.repository::<Account>().find(criteria).await?;
            account.is_found = Some(page.items.iter().any(|found| found.name == *name));
        }
        Ok(accounts)
    }
}
