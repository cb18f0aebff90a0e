//! The trigger that fills the columns of fields which a document's writer does not know.

use std::collections::BTreeMap;

use super::names::object_name;
use super::state::{Declaration, StoredIndex};
use super::table::Table;

/// Writes the trigger, or drops it when all writers know all fields. Its condition spares the
/// documents of those that do.
pub(crate) fn keep_columns<'d>(
    table: &Table,
    kept: &BTreeMap<&String, &StoredIndex>,
    declarations: impl Iterator<Item = &'d Declaration>,
) -> Vec<String> {
    let (knowing, lacking): (Vec<_>, Vec<_>) =
        declarations.partition(|one| kept.keys().all(|field| one.fields.contains(field)));
    let name = &table.name;
    if lacking.is_empty() {
        return vec![format!("DROP TRIGGER IF EXISTS _keep_up ON {name}")];
    }
    let function =
        format!("{}.\"{}\"()", table.schema, object_name(table.collection.name, "keep up"));
    let knowing: Vec<_> = knowing.iter().map(|one| one.layout.to_string()).collect();
    vec![
        create_function(&table.schema, &function, kept),
        format!(
            "CREATE OR REPLACE TRIGGER _keep_up BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW \
             WHEN (NEW.layout <> ALL ('{{{}}}'::bigint[])) EXECUTE FUNCTION {function}",
            knowing.join(",")
        ),
    ]
}

/// A write that leaves the version alone leaves the document alone too.
fn create_function(schema: &str, function: &str, kept: &BTreeMap<&String, &StoredIndex>) -> String {
    let set: String = kept
        .iter()
        .map(|(field, index)| {
            format!(
                "    NEW.\"{}\" := {schema}._read_{}(document->'{field}');\n",
                index.column, index.of
            )
        })
        .collect();
    format!(
        "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql \
         SET search_path = pg_catalog, pg_temp AS $keep$\n\
         DECLARE\n    document json := {schema}._readable(NEW.data);\n\
         BEGIN\n    \
             IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN\n        \
                 RETURN NEW;\n    \
             END IF;\n{set}    \
             RETURN NEW;\n\
         END\n$keep$"
    )
}
