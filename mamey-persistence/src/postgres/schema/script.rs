//! Prints what a schema lacks as SQL, for an administrator to run.

use super::backfill;
use super::plan::Plan;

/// The plan for `psql`, which stops at the first error. The script may be run again.
pub(crate) fn script(schema: &str, plan: &Plan<'_>) -> String {
    if plan.at_once.is_empty() && plan.builds.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "-- What the schema {schema} lacks. Run it with: psql -v ON_ERROR_STOP=1 -f FILE\n\
         -- Then let the service's role, here app, use the schema:\n\
         --   GRANT USAGE ON SCHEMA {schema} TO app;\n\
         --   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO app;\n\
         --   GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO app;\n\
         --   GRANT EXECUTE ON ALL ROUTINES IN SCHEMA {schema} TO app;\n"
    );
    if !plan.at_once.is_empty() {
        text.push_str("\nBEGIN;\nSET LOCAL lock_timeout = '1s';\nSET LOCAL standard_conforming_strings = on;\n\n");
        for statement in &plan.at_once {
            text.push_str(statement.trim_end().trim_end_matches(';'));
            text.push_str(";\n\n");
        }
        text.push_str("COMMIT;\n");
    }
    for (table, build) in &plan.builds {
        text.push_str("\n-- Not within a transaction.\n");
        for statement in backfill::statements(table, build) {
            text.push_str(&statement);
            text.push_str(";\n");
        }
    }
    text
}
