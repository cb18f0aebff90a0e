//! A book: what a read model has applied of one key, in the order in which it applied it.

use mamey::{Aggregate, Context, Criteria, Query, ReadContext, Result};
use serde::{Deserialize, Serialize};

/// Consecutive numbers that were applied in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// What was applied of one key. While all laws hold it is a single run from 1, so it stays small, and
/// it shows every loss, duplicate and wrong order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Aggregate)]
#[aggregate(collection = "books")]
pub(crate) struct Book {
    #[aggregate(id)]
    pub(crate) name: String,
    pub(crate) balance: i64,
    pub(crate) runs: Vec<Run>,
}

/// All books of the context that is asked.
#[derive(Query, Serialize, Deserialize)]
#[query(name = "books.show", reply = Vec<Book>)]
pub(crate) struct ShowBooks;

impl Book {
    /// Appends one application.
    pub(crate) fn apply(&mut self, sequence: u64, amount: i64) {
        self.balance += amount;
        match self.runs.last_mut() {
            Some(run) if run.last + 1 == sequence => run.last = sequence,
            _ => self.runs.push(Run { first: sequence, last: sequence }),
        }
    }

    /// Everything that was applied, in that order.
    pub(crate) fn applied(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(|run| run.first..=run.last)
    }
}

/// Where a context keeps its books.
pub(crate) struct Shelf<'c>(pub(crate) &'c Context);

impl Shelf<'_> {
    /// Applies an event to its book and returns how many the book holds now.
    pub(crate) async fn apply(&self, book: String, sequence: u64, amount: i64) -> Result<u64> {
        let books = self.0.repository::<Book>();
        if let Some(mut book) = books.get(&book).await? {
            book.apply(sequence, amount);
            books.save(&book)?;
            return Ok(book.applied().count() as u64);
        }
        let mut book = Book { name: book, balance: 0, runs: Vec::new() };
        book.apply(sequence, amount);
        books.add(&book)?;
        Ok(1)
    }
}

pub(super) async fn show(_: ShowBooks, cx: &ReadContext) -> Result<Vec<Book>> {
    let page = cx.repository::<Book>().find(Criteria::all().limit(1000)).await?;
    Ok(page.items.into_iter().map(mamey::Versioned::into_inner).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_remembers_the_exact_order() {
        let mut book = Book { name: "a".to_owned(), balance: 0, runs: Vec::new() };
        for sequence in [1, 2, 4, 3, 3] {
            book.apply(sequence, 1);
        }
        assert_eq!(book.applied().collect::<Vec<_>>(), [1, 2, 4, 3, 3]);
        assert_eq!(book.balance, 5);
        assert_eq!(book.runs.len(), 4);
    }
}
