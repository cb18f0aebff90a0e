//! What a build needs of a context's schema, and what the schema lacks of it.

use mamey_core::Result;
use sqlx::postgres::PgConnection;

use super::collection::{self, Build, Missing};
use super::functions::Functions;
use super::migrate;
use super::state::State;
use super::statement::{execute, in_schema};
use super::table::Table;
use super::tables::Tables;
use crate::postgres::error::Stop;

/// Everything in the plan is true of one moment.
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What is created belongs to its owner, and to the services that may write.
const PROTECT: &str = include_str!("protect.sql");

/// What one context needs.
pub(crate) struct Wanted<'w> {
    pub(crate) tables: &'w Tables,
    pub(crate) functions: &'w Functions,
}

/// All that a schema lacks.
pub(crate) struct Plan<'w> {
    /// Statements for one transaction.
    pub(crate) at_once: Vec<String>,
    /// Indexes to add while others write.
    pub(crate) builds: Vec<(&'w Table, Build)>,
}

impl<'w> Wanted<'w> {
    /// The quoted name of the context's schema.
    pub(crate) fn schema(&self) -> &'w str {
        &self.tables.schema
    }

    /// What is missing, read in a transaction of its own.
    pub(crate) async fn look(&self, connection: &mut PgConnection) -> Result<Plan<'w>, Stop> {
        execute(connection, BEGIN_READ.to_owned()).await?;
        let plan = self.read(connection).await?;
        execute(connection, "COMMIT".to_owned()).await?;
        Ok(plan)
    }

    /// As [`Wanted::look`], within the caller's transaction.
    pub(crate) async fn read(&self, connection: &mut PgConnection) -> Result<Plan<'w>, Stop> {
        let state = State::read(connection, self.tables.context(), self.schema()).await?;
        Ok(self.plan(&state)?)
    }

    fn plan(&self, state: &State) -> Result<Plan<'w>> {
        let mut at_once = migrate::plan(self.schema(), state)?;
        let mut builds = Vec::new();
        for table in &self.tables.all {
            let missing: Missing = collection::plan(table, state)?;
            at_once.extend(missing.at_once);
            builds.extend(missing.builds.into_iter().map(|build| (table, build)));
        }
        at_once.extend(self.functions.plan(self.schema(), state));
        if !at_once.is_empty() {
            at_once.push(in_schema(self.schema(), PROTECT));
        }
        Ok(Plan { at_once, builds })
    }
}
