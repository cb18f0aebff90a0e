//! Every operator on an indexed field, every page and every order uses an index.

use std::sync::Arc;

use mamey_core::criteria::{
    Collection, Comparison, Filter, Find, Index, SortKey, Value, ValueType,
};
use mamey_core::store::{Database, Store};
use mamey_persistence::{PostgresDatabase, PostgresOptions};
use mamey_test_support::{postgres, require};
use uuid::Uuid;

use super::support::{Admin, at, open};

const fn index(field: &'static str, value: ValueType, unique: bool) -> Index {
    Index::new(field, value).with_unique(unique)
}

static ITEMS: Collection = Collection::new("items", ValueType::Int).with_indexes(&[
    index("number", ValueType::Int, true),
    index("label", ValueType::Text, false),
    index("ratio", ValueType::Float, false),
    index("owner", ValueType::Uuid, false),
    index("at", ValueType::Time, false),
    // Nearly all have the same value, so the others are rare.
    index("common", ValueType::Int, false),
]);

const ITEMS_MAX: i64 = 40_000;

/// Inserts what the store would write, only faster.
const INSERT: &str = "\
INSERT INTO mamey.items
    (id, version, layout, data, f_number, f_label, f_ratio, f_owner, f_at, f_common)
SELECT n, 1, 0, '{}', n, 'label-' || lpad((n / 4)::text, 6, '0'), n / 8.0,
    lpad(to_hex(n / 4), 32, '0')::uuid, 1790000000000000 + n * 1000,
    CASE WHEN n % 50 = 0 THEN NULL WHEN n % 50 = 1 THEN n ELSE 7 END
FROM generate_series(1::bigint, $max) AS n;
ANALYZE mamey.items";

fn compare(field: &'static str, comparison: Comparison, value: Value) -> Filter {
    Filter::Compare { field, comparison, value }
}

fn by(field: &'static str, descending: bool) -> Vec<SortKey> {
    match field {
        "id" => vec![SortKey::new(field, descending)],
        field => vec![SortKey::new(field, descending), SortKey::new("id", descending)],
    }
}

/// "After this document" in ascending order, as a page of criteria has it.
fn after(field: &'static str, value: Value, id: i64) -> Filter {
    Filter::Any(vec![
        Filter::All(vec![compare(field, Comparison::Greater, value.clone())]),
        Filter::All(vec![
            compare(field, Comparison::Equal, value),
            compare("id", Comparison::Greater, Value::Int(id)),
        ]),
    ])
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// The filters and orders, and the column whose index each must use.
fn questions() -> Vec<(Filter, Vec<SortKey>, &'static str)> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let owner = Value::Uuid(Uuid::from_u128(77));
    let last = ITEMS_MAX - 100;
    let one_of = |values| Filter::OneOf { field: "number", values };
    let prefix = Filter::StartsWith { field: "label", prefix: "label-0012".to_owned() };
    vec![
        (compare("number", Equal, Value::Int(5)), by("id", false), "f_number"),
        (compare("label", Equal, text("label-000005")), by("id", false), "f_label"),
        (compare("ratio", Equal, Value::Float(2.5)), by("id", false), "f_ratio"),
        (compare("owner", Equal, owner), by("id", false), "f_owner"),
        (compare("at", Less, Value::Time(at(1_790_000_000_090_000))), by("id", false), "f_at"),
        (compare("number", LessOrEqual, Value::Int(9)), by("number", false), "f_number"),
        (compare("ratio", Greater, Value::Float(4_990.0)), by("id", false), "f_ratio"),
        (compare("number", GreaterOrEqual, Value::Int(last)), by("number", true), "f_number"),
        (compare("common", NotEqual, Value::Int(7)), by("common", false), "f_common"),
        (compare("common", Equal, Value::Null), by("common", false), "f_common"),
        (compare("number", NotEqual, Value::Null), by("number", false), "f_number"),
        (one_of(vec![Value::Int(3), Value::Int(30_000), Value::Null]), by("id", false), "f_number"),
        (prefix, by("label", false), "f_label"),
        (Filter::TRUE, by("number", false), "f_number"),
        (Filter::TRUE, by("number", true), "f_number"),
        (Filter::TRUE, by("label", false), "f_label"),
        (Filter::TRUE, by("label", true), "f_label"),
        (Filter::TRUE, by("at", true), "f_at"),
        (Filter::TRUE, by("id", true), "id"),
        (compare("id", Greater, Value::Int(20_000)), by("id", false), "id"),
        (after("label", text("label-005000"), 20_001), by("label", false), "f_label"),
        (after("at", Value::Time(at(1_790_000_020_000_000)), 20_000), by("at", false), "f_at"),
        (after("common", Value::Int(7), 20_000), by("common", false), "f_common"),
    ]
}

/// The statement that the store's only connection ran last.
async fn statement(admin: &mut Admin) -> String {
    let last = "SELECT query FROM pg_stat_activity
        WHERE application_name = 'mamey' AND datname = current_database()";
    admin.one(last).await
}

/// The plan, and the plan with the numbers of a run.
async fn explain(admin: &mut Admin, sql: &str, values: &[String]) -> (Vec<String>, String) {
    let values = match values {
        [] => String::new(),
        values => format!("({})", values.join(", ")),
    };
    let types: Vec<_> = (1..40)
        .take_while(|number| sql.contains(&format!("${number}")))
        .map(|number| match sql.contains(&format!("${number}::text[]")) {
            true => "text[]",
            false if sql.contains(&format!("LIMIT ${number}")) => "bigint",
            false => "text",
        })
        .collect();
    let prepare = format!("PREPARE asked ({}) AS {sql}", types.join(", "));
    admin.run(&prepare).await;
    let plan: Vec<String> = admin.all(&format!("EXPLAIN EXECUTE asked{values}")).await;
    let analyzed: Vec<String> =
        admin.all(&format!("EXPLAIN (ANALYZE, BUFFERS, TIMING off) EXECUTE asked{values}")).await;
    admin.run("DEALLOCATE asked").await;
    (plan, analyzed.join("\n"))
}

/// The index that begins with a column.
async fn index_on(admin: &mut Admin, column: &str) -> String {
    let index = format!(
        "SELECT relname::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
         JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
         WHERE indrelid = 'mamey.items'::regclass AND attname = '{column}'"
    );
    admin.one(&index).await
}

fn literal(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Time(time) => format!("'{}'", time.as_micros()),
        other => format!("'{other}'"),
    })
}

/// The values of a filter in the order in which its SQL binds them.
fn bound(filter: &Filter, values: &mut Vec<String>) {
    match filter {
        Filter::All(filters) => filters.iter().for_each(|filter| bound(filter, values)),
        Filter::Any(filters) => {
            // The value of the first key and the id.
            let mut all = Vec::new();
            filters.iter().for_each(|filter| bound(filter, &mut all));
            values.extend([all[0].clone(), all[2].clone()]);
        }
        Filter::Compare { comparison, value, .. } => {
            let times = if *comparison == Comparison::NotEqual { 2 } else { 1 };
            values.extend(std::iter::repeat_n(literal(value), times).flatten());
        }
        Filter::OneOf { values: all, .. } => {
            let all: Vec<_> = all.iter().filter_map(literal).collect();
            values.push(format!("ARRAY[{}]", all.join(", ")));
        }
        Filter::StartsWith { prefix, .. } => {
            let end = format!("{}3", &prefix[..prefix.len() - 1]);
            values.extend([format!("'{prefix}'"), format!("'{end}'")]);
        }
    }
}

#[tokio::test]
async fn operators_pages_and_orders_use_the_index() {
    let test = require!(postgres::database().await);
    let options = PostgresOptions::default().with_connections_max(1).with_listen(false);
    let database = PostgresDatabase::connect(test.url(), options).await.unwrap();
    let store: Arc<dyn Store> = open(&database, &[&ITEMS]).await.unwrap();
    let mut admin = Admin::of(test.url()).await;
    admin.run(&INSERT.replace("$max", &ITEMS_MAX.to_string())).await;
    for (filter, order, column) in questions() {
        let find = Find::new(&ITEMS, filter.clone(), 20).with_order(order);
        let found = store.find(&find).await.unwrap().documents.len();
        let sql = statement(&mut admin).await;
        let mut values = Vec::new();
        bound(&filter, &mut values);
        values.push("20".to_owned());
        let (plan, analyzed) = explain(&mut admin, &sql, &values).await;
        let plan = plan.join("\n");
        assert!(found > 0, "{filter:?}");
        assert!(!plan.contains("Seq Scan"), "{sql}\n{plan}");
        let index = index_on(&mut admin, column).await;
        assert!(plan.contains(&index), "{column}: {sql}\n{plan}");
        let skipped = analyzed.lines().filter_map(|line| line.split_once("Removed by Filter: "));
        let skipped: u64 = skipped.map(|(_, number)| number.parse::<u64>().unwrap()).sum();
        assert!(skipped < 1000, "{sql}\n{analyzed}");
    }
    database.close().await;
}
