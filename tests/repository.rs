//! Repositories: what a handler sees of its own writes, pages, streams, and errors that name what
//! is missing.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::TryStreamExt;
use mamey::criteria::{Value, ValueType};
use mamey::persistence::{MemoryDatabase, SqliteDatabase, SqliteOptions};
use mamey::store::{CommitOutcome, Database};
use mamey::testing::TestContext;
use mamey::{Aggregate, BoundedContext, Criteria, ErrorKind, IndexValue};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IndexValue)]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, PartialEq, Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "tiles")]
struct Tile {
    #[aggregate(id)]
    number: i64,
    #[aggregate(index)]
    colour: Option<Colour>,
    #[aggregate(unique)]
    label: Option<String>,
}

/// Written as it is, and indexed in lower case by its own `IndexValue`.
#[derive(Clone, Serialize, Deserialize)]
struct Loud(String);

impl IndexValue for Loud {
    const TYPE: ValueType = ValueType::Text;

    fn to_value(&self) -> Value {
        Value::Text(self.0.to_lowercase())
    }
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "signs")]
#[serde(rename_all = "camelCase")]
struct Sign {
    #[aggregate(id)]
    number: i64,
    #[aggregate(index)]
    main_text: Loud,
}

const TILES: i64 = 250;

fn tile(number: i64) -> Tile {
    let colour = [None, Some(Colour::Red), Some(Colour::Green)][(number % 3) as usize];
    Tile { number, colour, label: (number % 2 == 0).then(|| format!("tile {number}")) }
}

fn floor() -> BoundedContext {
    BoundedContext::new("floor").aggregate::<Tile>()
}

async fn call(database: &dyn Database) -> TestContext {
    TestContext::new(floor(), database).await
}

async fn committed(cx: TestContext) {
    assert!(matches!(cx.commit().await.unwrap(), CommitOutcome::Committed(_)));
}

async fn lay(database: &dyn Database) {
    let cx = call(database).await;
    for number in 0..TILES {
        cx.repository().add(&tile(number)).unwrap();
    }
    committed(cx).await;
}

async fn a_handler_sees_its_own_writes(database: &dyn Database) {
    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    assert!(tiles.get(&1).await.unwrap().is_none());
    tiles.add(&tile(1)).unwrap();
    let mut added = tiles.load(&1).await.unwrap();
    assert_eq!((added.version(), &*added), (0, &tile(1)));
    added.colour = Some(Colour::Green);
    tiles.save(&added).unwrap();
    assert_eq!(tiles.load(&1).await.unwrap().colour, Some(Colour::Green));
    assert_eq!(tiles.add(&tile(1)).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(tiles.count(Criteria::all()).await.unwrap(), 0, "counting sees what is committed");
    committed(cx).await;

    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    let stored = tiles.load(&1).await.unwrap();
    assert_eq!((stored.version(), stored.colour), (1, Some(Colour::Green)));
    tiles.remove(&stored).unwrap();
    assert!(tiles.get(&1).await.unwrap().is_none());
    committed(cx).await;

    let cx = call(database).await;
    let error = cx.repository::<Tile>().load(&1).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::NotFound, "there is no tiles/1".into())
    );
}

async fn pages_and_streams_give_each_document_once_and_in_order(database: &dyn Database) {
    lay(database).await;
    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    let sorted = || Criteria::all().sort_by(Tile::COLOUR.desc()).limit(7);

    let (mut paged, mut criteria) = (Vec::new(), Some(sorted()));
    while let Some(asked) = criteria.take() {
        let page = tiles.find(asked.clone()).await.unwrap();
        assert!(page.items.len() <= 7);
        paged.extend(page.items.iter().map(|tile| (tile.colour.is_some(), tile.number)));
        // As a token, the way an HTTP client would send it back.
        criteria = page.next.map(|next| asked.after(next.to_string().parse().unwrap()));
    }
    let streamed: Vec<_> = tiles
        .stream(sorted())
        .map_ok(|tile| (tile.colour.is_some(), tile.number))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(paged.len() as i64, TILES);
    assert_eq!(streamed, paged);
    let without = paged.iter().position(|(coloured, _)| !coloured).unwrap();
    assert!(paged[without..].iter().all(|(coloured, _)| !coloured), "null comes last descending");
}

async fn what_would_be_indexed_otherwise_than_written_is_refused(database: &dyn Database) {
    let cx = TestContext::new(BoundedContext::new("walls").aggregate::<Sign>(), database).await;
    let signs = cx.repository::<Sign>();
    signs.add(&Sign { number: 1, main_text: Loud("exit".to_owned()) }).unwrap();
    let error = signs.add(&Sign { number: 2, main_text: Loud("EXIT".to_owned()) }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    for named in ["`mainText` of signs/2", "`EXIT`", "`exit`"] {
        assert!(error.to_string().contains(named), "{error}");
    }
    committed(cx).await;
    let cx = TestContext::new(BoundedContext::new("walls").aggregate::<Sign>(), database).await;
    let found = cx.repository::<Sign>().find(Sign::MAIN_TEXT.eq(Loud("EXIT".to_owned()))).await;
    let numbers: Vec<_> = found.unwrap().items.iter().map(|sign| sign.number).collect();
    assert_eq!(numbers, [1], "what was refused was not stored");
}

async fn criteria_find_what_they_say(database: &dyn Database) {
    lay(database).await;
    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    let red = || Tile::COLOUR.eq(Colour::Red);
    assert_eq!(tiles.count(red()).await.unwrap(), 83);
    assert_eq!(tiles.count(red().or(Tile::COLOUR.is_none())).await.unwrap(), 167);
    let labelled = Tile::LABEL.is_some().and(Tile::ID.lt(10_i64));
    assert_eq!(tiles.count(labelled).await.unwrap(), 5);
    assert!(!tiles.exists(Tile::ID.gt(TILES)).await.unwrap());
    let one = tiles.find_one(Tile::LABEL.eq("tile 8".to_owned())).await.unwrap();
    assert_eq!(one.unwrap().number, 8);
    let many = tiles.get_many(&[3, TILES, 1]).await.unwrap();
    let numbers: Vec<_> = many.iter().map(|tile| tile.as_ref().map(|tile| tile.number)).collect();
    assert_eq!(numbers, [Some(3), None, Some(1)]);
}

async fn errors_name_what_is_taken_or_foreign(database: &dyn Database) {
    lay(database).await;
    let cx = call(database).await;
    let twin = Tile { number: TILES, colour: None, label: Some("tile 8".into()) };
    cx.repository().add(&twin).unwrap();
    let error = cx.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("tiles") && error.to_string().contains("label"), "{error}");

    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    let by_colour = tiles.find(Criteria::all().sort_by(Tile::COLOUR.asc())).await.unwrap();
    let foreign = Criteria::all().after(by_colour.next.unwrap());
    let error = tiles.find(foreign).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Invalid && error.to_string().contains("first page"),
        "{error}"
    );
}

macro_rules! on_each_store {
    ($($case:ident)*) => {
        mod memory {$(
            #[tokio::test]
            async fn $case() {
                super::$case(&super::MemoryDatabase::new()).await;
            }
        )*}
        mod sqlite {$(
            #[tokio::test]
            async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("floor.db");
                let options = super::SqliteOptions::default();
                let database = super::SqliteDatabase::open(path.to_str().unwrap(), options);
                super::$case(&database.await.unwrap()).await;
            }
        )*}
    };
}

on_each_store! {
    a_handler_sees_its_own_writes
    pages_and_streams_give_each_document_once_and_in_order
    criteria_find_what_they_say
    what_would_be_indexed_otherwise_than_written_is_refused
    errors_name_what_is_taken_or_foreign
}
