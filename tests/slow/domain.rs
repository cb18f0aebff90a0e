//! A shop that sells, and ledgers that keep what was sold, some of them only when they are told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::{
    Aggregate, BoundedContext, Command, Context, Error, Event, MessageHandler, Query, ReadContext,
    Result,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Longer than a test may take: what is held does not fail.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Sells the next `count` pieces of each article.
#[derive(Clone, Command)]
pub struct Sell {
    pub articles: Vec<String>,
    pub count: i64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "shop.sold", key = article)]
pub struct Sold {
    pub article: String,
    pub number: i64,
}

/// The numbers of one article in the order in which they were kept.
#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "articles")]
struct Article {
    #[aggregate(id)]
    name: String,
    numbers: Vec<i64>,
}

/// What a ledger has kept of an article.
macro_rules! kept {
    ($query:ident, $answer:ident) => {
        #[derive(Query)]
        #[query(reply = Vec<i64>)]
        pub struct $query(pub String);

        async fn $answer(query: $query, cx: &ReadContext) -> Result<Vec<i64>> {
            let article = cx.repository::<Article>().get(&query.0).await?;
            Ok(article.map(|article| article.numbers.clone()).unwrap_or_default())
        }
    };
}

kept!(KeptBySlow, kept_by_slow);
kept!(KeptByFast, kept_by_fast);

/// What a handler does before it keeps a number.
#[derive(Clone, Copy)]
pub enum Before {
    Nothing,
    /// It waits until the gate is opened.
    Wait,
    /// It fails until the gate is opened.
    Fail,
    Sleep(Duration),
}

/// Stands before the handlers of a ledger, until it is opened, and counts their runs.
#[derive(Clone)]
pub struct Gate(Arc<State>);

struct State {
    before: fn(&str) -> Before,
    open: watch::Sender<bool>,
    runs: Mutex<BTreeMap<(String, i64), u32>>,
}

impl Gate {
    /// A closed gate, which says what happens to each article.
    pub fn closed(before: fn(&str) -> Before) -> Self {
        let (open, runs) = (watch::Sender::new(false), Mutex::default());
        Self(Arc::new(State { before, open, runs }))
    }

    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// How often the handler has begun to run for each message of an article.
    pub fn runs(&self, article: &str) -> Vec<u32> {
        let runs = self.0.runs.lock().unwrap();
        runs.iter().filter(|((of, _), _)| of == article).map(|(_, count)| *count).collect()
    }

    async fn pass(&self, event: &Sold) -> Result<()> {
        let key = (event.article.clone(), event.number);
        *self.0.runs.lock().unwrap().entry(key).or_default() += 1;
        let mut open = self.0.open.subscribe();
        match (self.0.before)(&event.article) {
            Before::Nothing => {}
            Before::Wait => drop(open.wait_for(|open| *open).await.unwrap()),
            Before::Fail if !*open.borrow() => return Err(Error::other("not yet")),
            Before::Fail => {}
            Before::Sleep(time) => tokio::time::sleep(time).await,
        }
        Ok(())
    }
}

impl MessageHandler<Sold> for Gate {
    async fn handle(&self, event: Sold, cx: &Context) -> Result<()> {
        self.pass(&event).await?;
        append(cx, &event.article, event.number).await.map(drop)
    }
}

pub fn shop() -> BoundedContext {
    BoundedContext::new("shop").aggregate::<Article>().command(sell).publishes::<Sold>()
}

pub fn slow(gate: &Gate) -> BoundedContext {
    ledger("slow", gate).query(kept_by_slow)
}

pub fn fast(gate: &Gate) -> BoundedContext {
    ledger("fast", gate).query(kept_by_fast)
}

fn ledger(name: &str, gate: &Gate) -> BoundedContext {
    BoundedContext::new(name).aggregate::<Article>().on(gate.clone()).timeout(TIMEOUT)
}

async fn sell(command: Sell, cx: &Context) -> Result<()> {
    for article in &command.articles {
        let sold = cx.repository::<Article>().get(article).await?;
        let mut number = sold.as_ref().map_or(0, |sold| sold.numbers.len() as i64);
        let mut numbers = sold.map(|sold| sold.numbers.clone()).unwrap_or_default();
        for _ in 0..command.count {
            cx.publish(&Sold { article: article.clone(), number })?;
            numbers.push(number);
            number += 1;
        }
        put(cx, article, numbers).await?;
    }
    Ok(())
}

async fn append(cx: &Context, name: &str, number: i64) -> Result<()> {
    let article = cx.repository::<Article>().get(&name.to_owned()).await?;
    let mut numbers = article.map(|article| article.numbers.clone()).unwrap_or_default();
    numbers.push(number);
    put(cx, name, numbers).await
}

async fn put(cx: &Context, name: &str, numbers: Vec<i64>) -> Result<()> {
    let articles = cx.repository::<Article>();
    match articles.get(&name.to_owned()).await? {
        Some(mut article) => {
            article.numbers = numbers;
            articles.save(&article)
        }
        None => articles.add(&Article { name: name.to_owned(), numbers }).map(drop),
    }
}
