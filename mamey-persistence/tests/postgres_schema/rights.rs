//! Who may do what: a stranger nothing, a reader only read, and a service what it was granted.

use mamey_core::criteria::{Collection, Index, ValueType};
use mamey_core::store::Expected;
use mamey_test_support::{postgres, require};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::support::{Admin, connect, open, put, unit};

static PLAIN: Collection = Collection::new("orders", ValueType::Int);

static LABELLED: Collection =
    Collection::new("orders", ValueType::Int).with_indexes(&[Index::new("label", ValueType::Text)]);

/// Calls of every function and procedure, with nothing for each argument.
const CALLS: &str = "\
SELECT CASE prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END || oid::regproc || '('
    || coalesce((SELECT string_agg('NULL::' || format_type(type, NULL), ', ' ORDER BY at)
        FROM unnest(proargtypes) WITH ORDINALITY AS arguments (type, at)), '') || ')'
FROM pg_proc WHERE pronamespace = '\"pg-shop\"'::regnamespace";

const TABLES: &str = "\
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = '\"pg-shop\"'::regnamespace AND relkind IN ('r', 'p')";

const SEQUENCES: &str = "\
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = '\"pg-shop\"'::regnamespace AND relkind = 'S'";

/// Functions that look up names on the path of whoever calls them. The procedure sets its path itself.
const UNPINNED: &str = "\
SELECT proname::text FROM pg_proc
WHERE pronamespace = '\"pg-shop\"'::regnamespace AND prokind = 'f'
    AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY(proconfig), false)";

/// What PUBLIC may do with anything in the schema.
const PUBLIC: &str = "\
SELECT name || ' ' || privilege_type FROM (
    SELECT relname::text AS name, relacl AS acl FROM pg_class
    WHERE relnamespace = '\"pg-shop\"'::regnamespace
    UNION ALL
    SELECT proname::text, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
    WHERE pronamespace = '\"pg-shop\"'::regnamespace
    UNION ALL
    SELECT nspname::text, nspacl FROM pg_namespace WHERE nspname = 'pg-shop') AS things,
    aclexplode(acl) WHERE grantee = 0";

/// How many days the inbox has, which a dropped one would change.
const DAYS: &str = "SELECT count(*) FROM mamey._inbox_days()";

/// A role of the test's own, and a session of it.
async fn role(admin: &mut Admin, url: &str, name: &str) -> PgConnection {
    admin.run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'loopback'")).await;
    let (_, place) = url.rsplit_once('@').unwrap();
    PgConnection::connect(&format!("postgres://{name}:loopback@{place}")).await.unwrap()
}

/// Whether the server refused a statement for want of a right.
async fn is_denied(session: &mut PgConnection, sql: &str) -> bool {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).await {
        Ok(_) => false,
        Err(cause) => {
            let cause = cause.into_database_error().unwrap();
            assert!(cause.code().as_deref() == Some("42501"), "{sql}: {cause}");
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_may_do_nothing_and_readers_only_read() {
    let test = require!(postgres::database().await);
    let [stranger, reader] =
        ["stranger", "reader"].map(|kind| test.name().replace("mamey_test", kind));
    let mut admin = Admin::of(test.url()).await;
    // Whatever an administrator gives to everybody by default.
    admin.run("ALTER DEFAULT PRIVILEGES GRANT SELECT, DELETE ON TABLES TO PUBLIC").await;
    admin.run("ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO PUBLIC").await;
    let checked =
        tokio::spawn(try_everything(test.url().to_owned(), stranger.clone(), reader.clone()));
    let checked = checked.await;
    admin
        .run(&format!(
            "DROP OWNED BY {stranger}, {reader}; DROP ROLE {stranger}; DROP ROLE {reader}"
        ))
        .await;
    checked.unwrap();
}

async fn try_everything(url: String, stranger: String, reader: String) {
    let store = open(&connect(&url).await, &[&PLAIN]).await.unwrap();
    // With a column to fill, there is a trigger and its function too.
    open(&connect(&url).await, &[&LABELLED]).await.unwrap();
    let write = put(&PLAIN, 1, Expected::Absent, r#"{"label":"a"}"#.to_owned(), Vec::new());
    store.commit(unit(write)).await.unwrap();
    let mut admin = Admin::of(&url).await;
    assert_eq!(admin.all::<String>(UNPINNED).await, Vec::<String>::new());
    assert_eq!(admin.all::<String>(PUBLIC).await, Vec::<String>::new());
    let mut stranger = role(&mut admin, &url, &stranger).await;
    let name = reader;
    let mut reader = role(&mut admin, &url, &name).await;
    let grant = format!(
        "GRANT USAGE ON SCHEMA \"pg-shop\" TO {name};
         GRANT SELECT ON ALL TABLES IN SCHEMA \"pg-shop\" TO {name}"
    );
    admin.run(&grant).await;
    let (calls, tables): (Vec<String>, Vec<String>) =
        (admin.all(CALLS).await, admin.all(TABLES).await);
    assert!(calls.len() > 15 && tables.len() > 15, "{calls:?} {tables:?}");
    let days: i64 = admin.one(DAYS).await;
    for call in calls {
        assert!(is_denied(&mut stranger, &call).await, "{call}");
        assert!(is_denied(&mut reader, &call).await, "{call}");
    }
    for table in tables {
        let read = format!("SELECT * FROM {table}");
        assert!(is_denied(&mut stranger, &read).await, "{read}");
        assert!(!is_denied(&mut reader, &read).await, "{read}");
        for change in [
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("SELECT 1 FROM {table} FOR UPDATE"),
            format!("DROP TABLE {table}"),
            format!("CREATE TRIGGER own BEFORE INSERT ON {table} EXECUTE FUNCTION now()"),
        ] {
            assert!(is_denied(&mut stranger, &change).await, "{change}");
            assert!(is_denied(&mut reader, &change).await, "{change}");
        }
    }
    for sequence in admin.all::<String>(SEQUENCES).await {
        let draw = format!("SELECT nextval('{sequence}')");
        assert!(is_denied(&mut stranger, &draw).await && is_denied(&mut reader, &draw).await);
    }
    let create = "CREATE TABLE \"pg-shop\".own (id int)";
    assert!(is_denied(&mut stranger, create).await && is_denied(&mut reader, create).await);
    assert_eq!(admin.one::<i64>(DAYS).await, days);
}

/// A build that still runs keeps the functions it commits with, however many sets of collections others
/// declare; those of builds that are gone for long are dropped.
#[tokio::test]
async fn a_build_that_runs_keeps_its_functions_beside_many_others() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await;
    let first = open(&database, &[&PLAIN]).await.unwrap();
    let mut admin = Admin::of(test.url()).await;
    let sets: Vec<&'static Collection> = (0..40)
        .map(|number| {
            let name: &'static str = Box::leak(format!("set_{number}").into_boxed_str());
            &*Box::leak(Box::new(Collection::new(name, ValueType::Int)))
        })
        .collect();
    let count = "SELECT count(*) FROM pg_proc WHERE proname LIKE '\\_commit\\_%'";
    for set in &sets[..35] {
        open(&database, &[set]).await.unwrap();
    }
    assert_eq!(admin.one::<i64>(count).await, 2 * 36);
    let commit = async |id| {
        let write = put(&PLAIN, id, Expected::Absent, "{}".to_owned(), Vec::new());
        first.commit(unit(write)).await.unwrap();
    };
    commit(1).await;
    // All were last used long ago; the first is the oldest, but its build still runs.
    admin.run("UPDATE mamey._commits SET used_at = now() - interval '31 days'").await;
    first.expire_inbox(std::time::Duration::from_hours(24)).await.unwrap();
    for set in &sets[35..] {
        open(&database, &[set]).await.unwrap();
    }
    assert_eq!(admin.one::<i64>(count).await, 2 * 32);
    commit(2).await;
}
