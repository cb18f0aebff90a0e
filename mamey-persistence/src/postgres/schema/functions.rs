//! Creates the functions that commit, and drops those of builds that are long gone.

use super::state::State;
use super::statement::in_schema;

/// Of how many builds a schema keeps the functions in any case: of those that were used last.
const FUNCTIONS_MAX: i64 = 32;

/// The others are kept for as long after their last use, in days. Each build that runs renews the time
/// with its retention job, every hour.
const UNUSED_DAYS_MAX: u32 = 30;

const TOUCH: &str = "\
INSERT INTO mamey._commits (name, used_at) VALUES ('{name}', now())
ON CONFLICT (name) DO UPDATE SET used_at = excluded.used_at";

const DROP_OLD: &str = "\
DO $drop$
DECLARE
    old text;
BEGIN
    FOR old IN DELETE FROM mamey._commits WHERE used_at < now() - interval '{unused_days_max} days'
        AND name IN (SELECT name FROM mamey._commits
            ORDER BY used_at DESC, name OFFSET {functions_max})
        RETURNING name
    LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS mamey.%I', old);
        EXECUTE format('DROP FUNCTION IF EXISTS mamey.%I', old || '_one');
    END LOOP;
END
$drop$";

/// The functions of one context, as one build declares its collections.
pub(crate) struct Functions {
    /// The name of the function for a batch; the one for a lone unit adds `_one`.
    pub(crate) name: String,
    /// The statements that create the two.
    pub(crate) create: [String; 2],
}

impl Functions {
    /// The statements that create the functions, unless they exist.
    pub(crate) fn plan(&self, schema: &str, state: &State) -> Vec<String> {
        if state.functions.contains(&self.name) {
            return Vec::new();
        }
        let drop_old = DROP_OLD
            .replace("{functions_max}", &FUNCTIONS_MAX.to_string())
            .replace("{unused_days_max}", &UNUSED_DAYS_MAX.to_string());
        let mut statements = self.create.to_vec();
        statements.extend([self.touch(schema), in_schema(schema, &drop_old)]);
        statements
    }

    /// Records that the functions are in use.
    pub(crate) fn touch(&self, schema: &str) -> String {
        in_schema(schema, &TOUCH.replace("{name}", &self.name))
    }
}
