//! An aggregate comes back equal from every store, and is found by what its indexed fields hold.

#![cfg(all(feature = "testing", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use mamey::criteria::INDEXED_TEXT_BYTES_MAX;
use mamey::persistence::{
    MemoryDatabase, PostgresDatabase, PostgresOptions, SqliteDatabase, SqliteOptions,
};
use mamey::store::{CommitOutcome, Database};
use mamey::testing::TestContext;
use mamey::{Aggregate, BoundedContext, Criteria, Timestamp};
use mamey_test_support::{postgres, require};
use serde::{Deserialize, Serialize};

/// Which variant is read depends on how a number is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Reading {
    Whole(u64),
    Measured(f64),
    Noted(String),
    Several(Vec<Reading>),
    Nothing(Option<()>),
}

#[derive(Clone, Debug, PartialEq, Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "samples")]
struct Sample {
    #[aggregate(id)]
    number: i64,
    #[aggregate(index)]
    label: String,
    #[aggregate(index)]
    level: f64,
    #[aggregate(index)]
    at: Timestamp,
    readings: Vec<Reading>,
    by_name: BTreeMap<String, Option<f64>>,
}

fn samples() -> Vec<Sample> {
    use Reading::{Measured, Noted, Nothing, Several, Whole};
    let texts = ["", "\0", "a\0b", "\u{1}", "A", "a", "é", "e\u{301}", "\u{10ffff}\u{feff}"];
    let longest = "😀".repeat(INDEXED_TEXT_BYTES_MAX / 4);
    let texts = texts.into_iter().chain([longest.as_str()]);
    let levels = [0.0, 1e16, -1e16, 5e-324, f64::MAX, f64::MIN, 0.1, 1e-300, 9e15, 1e300];
    let sample = |(number, (text, level)): (i64, (&str, f64))| Sample {
        number,
        label: text.to_owned(),
        level,
        at: [i64::MIN, -1, 0, 1_790_000_000_123_456, i64::MAX].map(Timestamp::from_micros)
            [usize::try_from(number).unwrap() % 5],
        readings: vec![
            Whole(u64::MAX),
            Measured(level),
            Measured(-level),
            Measured(-0.0),
            Measured(1e16),
            Noted(text.to_owned()),
            Several(vec![Measured(1e-300); 100]),
            Nothing(None),
        ],
        by_name: BTreeMap::from([
            (String::new(), None),
            (text.to_owned(), Some(level)),
            ("Z".to_owned(), Some(-0.0)),
        ]),
    };
    (0..).zip(texts.zip(levels)).map(sample).collect()
}

fn lab() -> BoundedContext {
    BoundedContext::new("lab").aggregate::<Sample>()
}

async fn samples_come_back_equal(database: &dyn Database) {
    let samples = samples();
    let cx = TestContext::new(lab(), database).await;
    for sample in &samples {
        cx.repository().add(sample).unwrap();
    }
    assert!(matches!(cx.commit().await.unwrap(), CommitOutcome::Committed(_)));
    let cx = TestContext::new(lab(), database).await;
    let stored = cx.repository::<Sample>();
    for sample in &samples {
        let loaded = stored.load(&sample.number).await.unwrap();
        // Text, because -0.0 and 0.0 are equal as numbers.
        assert_eq!(format!("{:?}", *loaded), format!("{sample:?}"));
        let same = Sample::LABEL.eq(sample.label.clone()).and(Sample::LEVEL.eq(sample.level));
        let found = stored.find(same.and(Sample::AT.eq(sample.at))).await.unwrap().items;
        assert_eq!(found.iter().map(|found| found.number).collect::<Vec<_>>(), [sample.number]);
    }
    let mut expected: Vec<_> = samples.iter().collect();
    expected.sort_by(|one, two| one.label.as_bytes().cmp(two.label.as_bytes()));
    let by_label = Criteria::all().sort_by(Sample::LABEL.asc()).limit(3);
    let streamed: Vec<_> = stored.stream(by_label).try_collect().await.unwrap();
    assert_eq!(streamed.iter().map(|sample| &**sample).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn in_memory() {
    samples_come_back_equal(&MemoryDatabase::new()).await;
}

#[tokio::test]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lab.db");
    let database = SqliteDatabase::open(path.to_str().unwrap(), SqliteOptions::default());
    samples_come_back_equal(&database.await.unwrap()).await;
}

#[tokio::test]
async fn on_postgres() {
    let test = require!(postgres::database().await);
    let database = PostgresDatabase::connect(test.url(), PostgresOptions::default());
    samples_come_back_equal(&database.await.unwrap()).await;
}
