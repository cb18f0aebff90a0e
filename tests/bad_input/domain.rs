//! Two contexts: a speaker that says things, and a listener that writes them down or misbehaves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mamey::criteria::Criteria;
use mamey::{
    Aggregate, BoundedContext, Command, Context, Error, Event, Message, MessageHandler, Query,
    ReadContext, Result, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use crate::units::Misdeed;

/// How long a handler of the listener may take.
pub const TIMEOUT: Duration = Duration::from_millis(300);

#[derive(Clone, Command)]
pub struct Say {
    pub topic: String,
    pub number: i64,
    pub text: String,
}

/// Keeps a note, and then does something that a handler must not do.
#[derive(Clone, Command)]
pub struct Misdo(pub Misdeed);

#[derive(Clone, Command, Serialize)]
#[command(reply = String)]
pub struct KeepNote {
    pub id: String,
    pub text: String,
}

/// A page of the notes, from a token that came from outside.
#[derive(Query)]
#[query(reply = (Vec<String>, Option<String>))]
pub struct Notes {
    pub by_text: bool,
    pub token: Option<String>,
}

#[derive(Query)]
#[query(reply = Vec<i64>)]
pub struct Heard(pub String);

#[derive(Event, Serialize, Deserialize)]
#[event(name = "speaker.said", version = 2, key = topic)]
pub struct SaidV2 {
    pub topic: String,
}

/// Version 1 was forgotten: nothing upcasts it.
#[derive(Event, Serialize, Deserialize)]
#[event(name = "speaker.said", version = 3, key = topic, from = SaidV2)]
pub struct Said {
    pub topic: String,
    pub number: i64,
    pub text: String,
}

impl From<SaidV2> for Said {
    fn from(old: SaidV2) -> Self {
        let (number, text) = (-1, String::new());
        Self { topic: old.topic, number, text }
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(name = "speaker.undeclared", key = topic)]
pub struct Undeclared {
    pub topic: String,
}

/// No context handles it.
#[derive(Message, Serialize, Deserialize)]
#[message(name = "speaker.letter")]
pub struct Letter {}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "topics")]
pub struct Topic {
    #[aggregate(id)]
    pub name: String,
    pub numbers: Vec<i64>,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "notes")]
pub struct Note {
    #[aggregate(id)]
    pub id: String,
    #[aggregate(index)]
    pub text: String,
    pub body: String,
}

/// No context declares it.
#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "strangers")]
pub struct Stranger {
    #[aggregate(id)]
    pub id: String,
}

/// What the listener does with a number, instead of only writing it down.
#[derive(Clone, Copy)]
pub enum Fault {
    Fail,
    /// As a build that cannot read the number.
    Unread,
    Panic,
    Hang,
    /// Blocks its thread until [`Script::release`].
    Block,
    Misdo(Misdeed),
}

/// The faults by number, and what the handlers report of themselves.
#[derive(Clone, Default)]
pub struct Script(Arc<State>);

#[derive(Default)]
struct State {
    faults: Mutex<HashMap<i64, Fault>>,
    entered: AtomicU32,
    released: AtomicBool,
}

impl Script {
    pub fn fault(&self, number: i64, fault: Fault) {
        self.0.faults.lock().unwrap().insert(number, fault);
    }

    /// From now on nothing fails.
    pub fn clear(&self) {
        self.0.faults.lock().unwrap().clear();
    }

    /// How many runs met a fault.
    pub fn entered(&self) -> u32 {
        self.0.entered.load(Ordering::SeqCst)
    }

    pub fn release(&self) {
        self.0.released.store(true, Ordering::SeqCst);
    }

    fn next(&self, number: i64) -> Option<Fault> {
        let fault = self.0.faults.lock().unwrap().get(&number).copied()?;
        self.0.entered.fetch_add(1, Ordering::SeqCst);
        Some(fault)
    }

    fn block(&self) {
        while !self.0.released.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

pub fn speaker() -> BoundedContext {
    BoundedContext::new("speaker")
        .aggregate::<Note>()
        .command(say)
        .command(keep_note)
        .command(do_wrong)
        .query(notes)
        .publishes::<Said>()
}

pub fn listener(script: &Script) -> BoundedContext {
    deaf_listener().on(Hear(script.clone()))
}

/// The listener after somebody has removed its handler.
pub fn deaf_listener() -> BoundedContext {
    BoundedContext::new("listener")
        .aggregate::<Topic>()
        .aggregate::<Note>()
        .query(heard)
        .publishes::<Said>()
        .timeout(TIMEOUT)
        .retry(quick_retries())
}

/// Two runs at once, then two with pauses of a few milliseconds.
pub fn quick_retries() -> RetryPolicy {
    let mut policy = RetryPolicy::default().with_immediate(1).with_delayed(2);
    policy.backoff.first = Duration::from_millis(20);
    policy.backoff.max = Duration::from_millis(50);
    policy
}

async fn say(command: Say, cx: &Context) -> Result<()> {
    let Say { topic, number, text } = command;
    cx.publish(&Said { topic, number, text })
}

async fn keep_note(command: KeepNote, cx: &Context) -> Result<String> {
    let KeepNote { id, text } = command;
    let body = String::new();
    cx.repository::<Note>().add(&Note { id: id.clone(), text, body })?;
    Ok(id)
}

async fn do_wrong(command: Misdo, cx: &Context) -> Result<()> {
    let id = "before the misdeed".to_owned();
    cx.repository::<Note>().add(&Note { id, text: String::new(), body: String::new() })?;
    command.0.commit(cx)
}

async fn notes(query: Notes, cx: &ReadContext) -> Result<(Vec<String>, Option<String>)> {
    let mut criteria = Criteria::all().limit(2);
    if query.by_text {
        criteria = criteria.sort_by(Note::TEXT.desc());
    }
    if let Some(token) = query.token {
        criteria = criteria.after(token.parse()?);
    }
    let page = cx.repository::<Note>().find(criteria).await?;
    let ids = page.items.iter().map(|note| note.id.clone()).collect();
    Ok((ids, page.next.map(|next| next.to_string())))
}

async fn heard(query: Heard, cx: &ReadContext) -> Result<Vec<i64>> {
    let topic = cx.repository::<Topic>().get(&query.0).await?;
    Ok(topic.map_or_else(Vec::new, |topic| topic.numbers.clone()))
}

struct Hear(Script);

impl MessageHandler<Said> for Hear {
    async fn handle(&self, said: Said, cx: &Context) -> Result<()> {
        // The effect comes first, so that a fault has something to undo.
        write_down(cx, &said).await?;
        match self.0.next(said.number) {
            None => Ok(()),
            Some(Fault::Fail) => Err(Error::other("the script says fail")),
            Some(Fault::Unread) => Err(Error::unreadable("the script says unread")),
            Some(Fault::Panic) => panic!("the script says panic"),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Block) => {
                self.0.block();
                Ok(())
            }
            Some(Fault::Misdo(misdeed)) => misdeed.commit(cx),
        }
    }
}

async fn write_down(cx: &Context, said: &Said) -> Result<()> {
    let topics = cx.repository::<Topic>();
    if let Some(mut topic) = topics.get(&said.topic).await? {
        topic.numbers.push(said.number);
        return topics.save(&topic);
    }
    topics.add(&Topic { name: said.topic.clone(), numbers: vec![said.number] })
}
