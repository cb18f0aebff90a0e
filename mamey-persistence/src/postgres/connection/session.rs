//! What a session is set to, whatever the server, the database and the role have as their defaults, and
//! how it is cleaned up after a handler.

use std::time::Duration;

use crate::postgres::options::PostgresOptions;

/// Opens a transaction as every commit needs it: what it sees after it has waited for a lock includes
/// what was committed meanwhile.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Marks the transaction that a handler works in. The query fixes its isolation level too.
pub(crate) const MARK: &str = "SELECT set_config('mamey_handler.transaction', 'open', true)";

/// Holds for as long as the transaction that was marked is open, and its session was not reset.
pub(crate) const IS_MARKED: &str = "current_setting('mamey_handler.transaction', true) = 'open'";

/// What our statements rely on, in any transaction. A transaction that idles for ten minutes belongs to
/// an instance that is paused.
const SETTINGS: [(&str, &str); 3] = [
    ("idle_in_transaction_session_timeout", "600000"),
    ("standard_conforming_strings", "on"),
    ("extra_float_digits", "1"),
];

/// What our statements rely on outside of transactions. A server that is set to read-only stays so: it may
/// be an old primary, and what is written there is lost.
const DEFAULTS: [(&str, &str); 3] = [
    ("default_transaction_isolation", "read committed"),
    ("idle_session_timeout", "0"),
    ("exit_on_error", "off"),
];

/// What a handler may have left in its session: all that `DISCARD ALL` discards, but for the plans and the
/// statements that the driver has prepared.
pub(crate) const RESET: &str = "\
CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *;
SELECT pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP;
DO $$ DECLARE prepared text; BEGIN
  FOR prepared IN SELECT name FROM pg_prepared_statements WHERE from_sql LOOP
    EXECUTE format('DEALLOCATE %I', prepared);
  END LOOP;
END $$";

/// The settings that a session begins with.
pub(crate) fn at_the_start(options: &PostgresOptions) -> Vec<(&'static str, String)> {
    let settings = SETTINGS.iter().chain(&DEFAULTS);
    let settings = settings.map(|(name, value)| (*name, (*value).to_owned()));
    settings.chain(limits(options)).collect()
}

/// Opens a transaction with the settings in it, where a session may change between transactions.
pub(crate) fn begin_with_settings(options: &PostgresOptions) -> String {
    let settings = SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let set = |(name, value)| format!("; SET LOCAL {name} = '{value}'");
    format!("{BEGIN}{}", settings.chain(limits(options)).map(set).collect::<String>())
}

/// How long a statement, and one that waits for a lock, may take.
fn limits(options: &PostgresOptions) -> [(&'static str, String); 2] {
    let millis = |limit: Duration| limit.as_millis().to_string();
    [
        ("lock_timeout", millis(options.lock_timeout)),
        ("statement_timeout", millis(options.statement_timeout)),
    ]
}
