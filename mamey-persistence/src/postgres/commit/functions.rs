//! The functions that commit: written for a context's collections, so that their plans are kept.

use std::sync::Arc;

use mamey_core::criteria::Index;
use uuid::Uuid;

use crate::postgres::schema::migrate::in_schema;
use crate::postgres::schema::state::State;
use crate::postgres::schema::table::{Table, column, sql_type};

const COMMIT: &str = include_str!("functions/batch.sql");
const LOCK: &str = include_str!("functions/batch_lock.sql");
const STEP: &str = include_str!("functions/batch_step.sql");
const COMMIT_ONE: &str = include_str!("functions/lone.sql");
const STEP_ONE: &str = include_str!("functions/lone_step.sql");

const CALL: &str = "SELECT mamey.{name}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
    $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)";

const CALL_ONE: &str = "SELECT mamey.{name}_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
    $12, $13, $14, $15, $16)";

/// Of how many builds a schema keeps the functions: of those that were opened lately. Only a build
/// that still runs beside so many others would miss its own, and it must be started anew then.
const FUNCTIONS_MAX: i64 = 32;

const TOUCH: &str = "\
INSERT INTO mamey._commits (name, opened_at) VALUES ('{name}', now())
ON CONFLICT (name) DO UPDATE SET opened_at = excluded.opened_at";

const FORGET: &str = "\
DO $forget$
DECLARE
    old text;
BEGIN
    FOR old IN DELETE FROM mamey._commits WHERE name IN
        (SELECT name FROM mamey._commits ORDER BY opened_at DESC, name OFFSET {functions_max})
        RETURNING name
    LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS mamey.%I', old);
        EXECUTE format('DROP FUNCTION IF EXISTS mamey.%I', old || '_one');
    END LOOP;
END
$forget$";

/// The functions of one context, as one build declares its collections: for many units in a call,
/// and for one of the usual shape.
pub(crate) struct Functions {
    name: String,
    many: String,
    one: String,
}

/// The statements that call them.
pub(crate) struct Calls {
    pub(crate) many: Arc<str>,
    pub(crate) one: Arc<str>,
}

impl Functions {
    /// `tables` stand at the places by which calls number them.
    pub(crate) fn new(schema: &str, tables: &[Table]) -> Self {
        let blocks = |template: &'static str| -> String {
            tables.iter().enumerate().map(|(number, table)| fill(template, number, table)).collect()
        };
        let many = COMMIT.replace("{locks}\n", &blocks(LOCK)).replace("{steps}\n", &blocks(STEP));
        let one = COMMIT_ONE.replace("{steps}\n", &blocks(STEP_ONE));
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{many}{one}").as_bytes());
        let name = format!("_commit_{}", digest.simple());
        let many = in_schema(schema, &many.replace("{name}", &name));
        let one = in_schema(schema, &one.replace("{name}", &format!("{name}_one")));
        Self { name, many, one }
    }

    pub(crate) fn calls(&self, schema: &str) -> Calls {
        let call = |template: &str| in_schema(schema, &template.replace("{name}", &self.name));
        Calls { many: call(CALL).into(), one: call(CALL_ONE).into() }
    }

    /// Creates them unless they are there, and drops those that were not used for the longest time.
    pub(crate) fn plan(&self, schema: &str, state: &State) -> Vec<String> {
        if state.functions.contains(&self.name) {
            return Vec::new();
        }
        let forget = FORGET.replace("{functions_max}", &FUNCTIONS_MAX.to_string());
        let (many, one) = (self.many.clone(), self.one.clone());
        vec![many, one, self.touch(schema), in_schema(schema, &forget)]
    }

    /// Says that they are in use.
    pub(crate) fn touch(&self, schema: &str) -> String {
        in_schema(schema, &TOUCH.replace("{name}", &self.name))
    }
}

/// The part of a function that concerns one table. All names in it were checked by `Declared`.
fn fill(template: &str, number: usize, table: &Table) -> String {
    let indexes = table.collection.indexes;
    let value = |at: usize, index: &Index| format!("(indexed->>{at})::{}", sql_type(index.value));
    let each = |part: &dyn Fn(usize, &Index) -> String| -> String {
        indexes.iter().enumerate().map(|(at, index)| part(at, index)).collect()
    };
    let give_up =
        |index: &&Index| index.unique.then(|| format!(", {} = NULL", column(index.field)));
    template
        .replace("{number}", &number.to_string())
        .replace("{table}", &table.name)
        .replace("{id}", sql_type(table.collection.id))
        .replace("{layout}", &table.layout.to_string())
        .replace("{columns}", &each(&|_, index| format!(", {}", column(index.field))))
        .replace("{values}", &each(&|at, index| format!(", {}", value(at, index))))
        .replace(
            "{set}",
            &each(&|at, index| format!(", {} = {}", column(index.field), value(at, index))),
        )
        .replace(
            "{give_up}",
            &indexes.iter().filter_map(|index| give_up(&index)).collect::<String>(),
        )
}
