//! The audit, a context that the second build adds: it notes which charges it has seen.

use std::collections::BTreeMap;

use mamey::{Aggregate, BoundedContext, Context, Criteria, Query, ReadContext, Result};
use serde::{Deserialize, Serialize};

use super::account::Run;
use super::messages::Charged;

const BOOKS_MAX: u32 = 1000;

/// The charges of each account, in the order in which they were noted.
#[derive(Query)]
#[query(reply = BTreeMap<String, Vec<Run>>)]
pub(crate) struct ShowBooks;

#[derive(Serialize, Deserialize, Aggregate)]
#[aggregate(collection = "books")]
struct Book {
    #[aggregate(id)]
    account: String,
    runs: Vec<Run>,
}

async fn on_charged(event: Charged, cx: &Context) -> Result<()> {
    let books = cx.repository::<Book>();
    if let Some(mut book) = books.get(&event.account).await? {
        Run::append(&mut book.runs, event.number);
        return books.save(&book);
    }
    let mut book = Book { account: event.account, runs: Vec::new() };
    Run::append(&mut book.runs, event.number);
    books.add(&book)
}

async fn show(_: ShowBooks, cx: &ReadContext) -> Result<BTreeMap<String, Vec<Run>>> {
    let page = cx.repository::<Book>().find(Criteria::all().limit(BOOKS_MAX)).await?;
    let items = page.items.into_iter().map(mamey::Versioned::into_inner);
    Ok(items.map(|book| (book.account, book.runs)).collect())
}

pub(super) fn context() -> BoundedContext {
    BoundedContext::new("audit").aggregate::<Book>().query(show).on(on_charged)
}
