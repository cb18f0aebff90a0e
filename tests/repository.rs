//! Repositories: what a handler sees of its own writes, pages, streams, and errors that name what
//! is missing.

#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::{StreamExt, TryStreamExt};
use mamey::criteria::{PAGE_BYTES_MAX, Value, ValueType};
use mamey::persistence::{MemoryDatabase, SqliteDatabase, SqliteOptions};
use mamey::store::{
    Change, CommitOutcome, Database, Expected, LOAD_BYTES_MAX, LOAD_IDS_MAX, UnitOfWork, Write,
};
use mamey::testing::TestContext;
use mamey::{Aggregate, BoundedContext, Criteria, ErrorKind, IndexValue, Retry};
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

#[derive(Debug, Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "posters")]
struct Poster {
    #[aggregate(id)]
    number: i64,
    picture: String,
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

/// Documents that another build wrote, or that were damaged, under the numbers from 1000 on, each with
/// the words that say what is wrong with it. In the index they stand between those of `lay`.
const UNREADABLE: [(i64, &str, &str); 4] = [
    (1000, r#"{"number":1000,"colour":"Blue","label":null}"#, "unknown variant `Blue`"),
    (1001, r#"{"colour":"Red","label":"1001"}"#, "missing field `number`"),
    (1002, r#"{"number":1002,"colour":"Bl"#, "EOF while parsing a string at line 1 column 27"),
    (1003, "7", "invalid type"),
];

async fn damage(database: &dyn Database) {
    let store = database.open(&floor().schema().unwrap()).await.unwrap();
    let write = |(number, data, _): (i64, &'static str, &str)| {
        let label = if number == 1001 { Value::Text("1001".into()) } else { Value::Null };
        let index = vec![Value::Text("Blue".to_owned()), label];
        let change = Change::Put { data: data.into(), index };
        Write::new(Tile::COLLECTION, Value::Int(number), Expected::Absent, change)
    };
    let unit = UnitOfWork::default().with_writes(UNREADABLE.map(write).into());
    store.commit(unit).await.unwrap();
}

async fn a_document_that_cannot_be_read_costs_itself_alone(database: &dyn Database) {
    lay(database).await;
    damage(database).await;
    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    let total = TILES as u64 + UNREADABLE.len() as u64;
    assert_eq!(tiles.count(Criteria::all()).await.unwrap(), total);

    // With pages of one, each of them is the last of a page once.
    for (page_size, descending) in [(1, false), (1, true), (7, false), (1000, true)] {
        let colour = if descending { Tile::COLOUR.desc() } else { Tile::COLOUR.asc() };
        let sorted = Criteria::all().sort_by(colour).limit(page_size);
        let (mut read, mut unreadable) = (Vec::new(), Vec::new());
        let mut criteria = Some(sorted.clone());
        while let Some(asked) = criteria.take() {
            let page = tiles.find(asked.clone()).await.unwrap();
            read.extend(page.items.iter().map(|tile| tile.number));
            unreadable.extend(page.unreadable);
            criteria = page.next.map(|next| asked.after(next));
        }
        read.sort_unstable();
        assert_eq!(read, (0..TILES).collect::<Vec<_>>());
        if descending {
            unreadable.reverse();
        }
        assert_eq!(unreadable.len(), UNREADABLE.len());
        for (document, (number, _, why)) in unreadable.iter().zip(UNREADABLE) {
            let place = (document.collection, &document.id, document.version);
            assert_eq!(place, ("tiles", &Value::Int(number), 1));
            assert!(document.why.contains(why), "{}", document.why);
        }
        // In a stream each is an error in its place, and the stream goes on.
        let streamed: Vec<_> = tiles.stream(sorted).collect().await;
        assert_eq!(streamed.len() as u64, total);
        let errors: Vec<_> = streamed.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), UNREADABLE.len());
        assert!(errors.iter().all(|error| error.to_string().contains("tiles/100")), "{errors:?}");
    }
}

async fn a_document_that_cannot_be_read_is_named_and_removed(database: &dyn Database) {
    lay(database).await;
    damage(database).await;
    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    let blue = || Tile::ID.ge(1000_i64);
    for (number, _, why) in UNREADABLE {
        let error = tiles.load(&number).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Invalid, Retry::Later));
        for named in [&format!("tiles/{number} at version 1"), "`remove_unreadable`", why, "line 1"]
        {
            assert!(error.to_string().contains(named), "{error}");
        }
    }
    assert!(tiles.exists(blue()).await.unwrap());
    let first = tiles.find_one(Tile::LABEL.eq("1001".to_owned())).await.unwrap_err();
    assert!(first.to_string().contains("tiles/1001"), "it is not `None`: {first}");

    let page = tiles.find(blue()).await.unwrap();
    assert!(page.items.is_empty() && page.unreadable.len() == UNREADABLE.len());
    for document in &page.unreadable {
        tiles.remove_unreadable(document).unwrap();
        let mut foreign = document.clone();
        foreign.collection = "posters";
        let error = tiles.remove_unreadable(&foreign).unwrap_err();
        assert!(error.to_string().contains("posters/"), "{error}");
    }
    let stale = page.unreadable[0].clone();
    committed(cx).await;
    let cx = call(database).await;
    let tiles = cx.repository::<Tile>();
    assert!(tiles.get(&1000).await.unwrap().is_none());
    assert_eq!(tiles.count(Criteria::all()).await.unwrap(), TILES as u64);
    tiles.remove_unreadable(&stale).unwrap();
    assert_eq!(cx.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
}

async fn pages_streams_and_loads_keep_to_their_bytes(database: &dyn Database) {
    const POSTER_BYTES: usize = 6 * 1024 * 1024;
    let hall = || BoundedContext::new("hall").aggregate::<Poster>();
    let cx = TestContext::new(hall(), database).await;
    for number in 0..5 {
        let picture = "x".repeat(POSTER_BYTES);
        cx.repository().add(&Poster { number, picture }).unwrap();
    }
    committed(cx).await;
    let cx = TestContext::new(hall(), database).await;
    let posters = cx.repository::<Poster>();
    let (mut met, mut criteria) = (Vec::new(), Some(Criteria::all()));
    while let Some(asked) = criteria.take() {
        let page = posters.find(asked.clone()).await.unwrap();
        assert!(page.items.len() == 2 || page.next.is_none(), "{PAGE_BYTES_MAX} bytes a page");
        met.extend(page.items.iter().map(|poster| poster.number));
        criteria = page.next.map(|next| asked.after(next));
    }
    assert_eq!(met, [0, 1, 2, 3, 4]);
    let streamed = posters.stream(Criteria::all()).map_ok(|poster| poster.number);
    assert_eq!(streamed.try_collect::<Vec<_>>().await.unwrap(), met);
    assert_eq!(posters.get_many(&met).await.unwrap().len(), 5);
    for (ids, limit) in [(vec![0; 11], LOAD_BYTES_MAX), (vec![9; LOAD_IDS_MAX + 1], LOAD_IDS_MAX)] {
        let error = posters.get_many(&ids).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
    }
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
    a_document_that_cannot_be_read_costs_itself_alone
    a_document_that_cannot_be_read_is_named_and_removed
    pages_streams_and_loads_keep_to_their_bytes
    errors_name_what_is_taken_or_foreign
}
