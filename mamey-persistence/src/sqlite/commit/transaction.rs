//! A transaction as its units see it: the connection, and what is still to be sent to it.

use sqlx::sqlite::SqliteConnection;

/// A transaction of the writer, which several units may share.
pub(crate) struct Transaction<'c> {
    pub(crate) connection: &'c mut SqliteConnection,
    /// Statements that open the unit. They are sent with its first statement, to save a trip.
    pub(crate) opening: Option<Opening>,
    /// The statement that ends the transaction. It is sent with the last statement of the last
    /// unit, to save a trip.
    pub(crate) closing: Option<&'static str>,
    /// Whether the transaction has ended by `closing`.
    pub(crate) closed: bool,
    /// The number of the transaction, for commit tokens.
    pub(crate) number: u64,
}

/// The statements that must run before a unit's first, and how many they are.
#[derive(Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) sql: &'static str,
    pub(crate) statements: usize,
}

impl<'c> Transaction<'c> {
    /// The `number`th, which begins as `opening` says.
    pub(crate) fn new(
        connection: &'c mut SqliteConnection,
        opening: Option<Opening>,
        number: u64,
    ) -> Self {
        Self { connection, opening, closing: None, closed: false, number }
    }

    /// The connection, once the unit is open.
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        if let Some(opening) = self.opening.take() {
            sqlx::raw_sql(opening.sql).execute(&mut *self.connection).await?;
        }
        Ok(self.connection)
    }
}
