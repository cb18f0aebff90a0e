//! Plants a fault in the SQL functions of each test's database, to show that a test notices it.

use std::env;

use serde::Deserialize;

/// Names the fault that is planted.
const VARIABLE: &str = "MAMEY_SQL_MUTATION";

const LIST: &str = include_str!("../../../mamey-persistence/src/postgres/mutations.toml");

/// Whatever creates or replaces a function in the database, this changes it at once.
const PLANT: &str = "\
CREATE FUNCTION public._plant() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $plant$
DECLARE
    created oid;
    text    text;
BEGIN
    IF current_setting('mamey_test.planting', true) = 'on' THEN
        RETURN;
    END IF;
    PERFORM set_config('mamey_test.planting', 'on', true);
    FOR created IN SELECT objid FROM pg_event_trigger_ddl_commands()
        WHERE object_type IN ('function', 'procedure') LOOP
        text := pg_get_functiondef(created);
        IF position({find} IN text) > 0 THEN
            EXECUTE replace(text, {find}, {replace});
        END IF;
    END LOOP;
    PERFORM set_config('mamey_test.planting', 'off', true);
END
$plant$;
CREATE EVENT TRIGGER _plant ON ddl_command_end
    WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE') EXECUTE FUNCTION public._plant();";

#[derive(Deserialize)]
struct List {
    mutation: Vec<Mutation>,
}

#[derive(Deserialize)]
struct Mutation {
    name: String,
    find: String,
    replace: String,
}

/// The statements that plant the fault which the environment names, if it names one.
pub(crate) fn planting() -> Option<String> {
    let wanted = env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
    let list: List = toml::from_str(LIST).unwrap_or_else(|error| panic!("mutations.toml: {error}"));
    let planted = list.mutation.into_iter().find(|mutation| mutation.name == wanted);
    let planted =
        planted.unwrap_or_else(|| panic!("{VARIABLE}: no mutation has the name {wanted}"));
    let literal = |text: &str| format!("$find${text}$find$");
    let plant = PLANT.replace("{find}", &literal(&planted.find));
    Some(plant.replace("{replace}", &literal(&planted.replace)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a fault is looked for in: the templates, before names are filled in.
    const SOURCES: [&str; 7] = [
        include_str!("../../../mamey-persistence/src/postgres/commit/functions/batch.sql"),
        include_str!("../../../mamey-persistence/src/postgres/commit/functions/batch_lock.sql"),
        include_str!("../../../mamey-persistence/src/postgres/commit/functions/batch_step.sql"),
        include_str!("../../../mamey-persistence/src/postgres/commit/functions/lone.sql"),
        include_str!("../../../mamey-persistence/src/postgres/commit/functions/lone_step.sql"),
        include_str!("../../../mamey-persistence/src/postgres/schema/migrations/0002_commit.sql"),
        include_str!("../../../mamey-persistence/src/postgres/schema/migrations/0003_inbox.sql"),
    ];

    /// A fault that is planted nowhere would be called a survivor, or worse, noticed.
    #[test]
    fn each_mutation_is_found_in_the_functions() {
        let list: List = toml::from_str(LIST).unwrap();
        for Mutation { name, find, .. } in &list.mutation {
            assert!(SOURCES.iter().any(|source| source.contains(find)), "{name}");
        }
    }
}
