//! Errors, panics, timeouts and conflicts of handlers.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mamey_core::id::MessageId;
use mamey_core::{Command, Context, Error, ErrorKind, Message, Result, Retry};
use mamey_cqrs::{BoundedContext, CommandHandler};

use crate::no_store::open;

#[derive(Clone, Copy)]
enum Work {
    Fail,
    Panic,
    PanicBeforeAwait,
    Hang,
    Busy,
    Send,
    Invalid,
}

impl Message for Work {
    const NAME: &'static str = "work";

    fn validate(&self) -> Result<()> {
        match self {
            Self::Invalid => Err(Error::invalid("hours: greater than 24")),
            _ => Ok(()),
        }
    }
}

impl Command for Work {
    type Reply = ();
}

async fn work(command: Work, cx: &Context) -> Result<()> {
    match command {
        Work::Fail => Err(Error::other("no tools")),
        Work::Panic => {
            tokio::task::yield_now().await;
            panic!("broke {} things", 3)
        }
        Work::PanicBeforeAwait => panic!("broke"),
        Work::Hang => std::future::pending().await,
        Work::Busy => loop {
            // Uses up the task's budget again and again: the timer must fire nevertheless.
            tokio::task::coop::consume_budget().await;
        },
        Work::Send => cx.send("elsewhere", &Done),
        Work::Invalid => unreachable!("validation comes first"),
    }
}

#[derive(serde::Serialize)]
struct Done;

impl Message for Done {
    const NAME: &'static str = "done";
}

async fn fail(command: Work) -> Error {
    let context = BoundedContext::new("site").command(work).timeout(Duration::from_millis(20));
    open(context).send(command).await.unwrap_err()
}

#[tokio::test]
async fn an_error_says_what_was_being_handled_and_where() {
    let error = fail(Work::Fail).await;
    assert_eq!(error.to_string(), "handling `work` in context `site`: no tools");
    assert_eq!(error.kind(), ErrorKind::Other);
}

#[tokio::test]
async fn a_panic_becomes_an_error_that_names_handler_and_message() {
    let error = fail(Work::Panic).await;
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(error.message() == "handler of `work` panicked: broke 3 things", "{error}");
    let error = fail(Work::PanicBeforeAwait).await;
    assert!(error.message() == "handler of `work` panicked: broke", "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_cancelled() {
    let error = fail(Work::Hang).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TimedOut, Retry::Later));
    assert!(error.message().contains("within 20ms"), "{error}");
}

#[tokio::test]
async fn a_handler_that_never_yields_is_cancelled_at_its_next_await() {
    assert_eq!(fail(Work::Busy).await.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn validation_comes_before_the_handler() {
    let error = fail(Work::Invalid).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().ends_with("hours: greater than 24"), "{error}");
}

#[tokio::test]
async fn what_was_buffered_is_committed() {
    // There is no store, so the commit fails; a handler without effect would not need one.
    let error = fail(Work::Send).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[derive(Clone)]
struct Compete;

impl Message for Compete {
    const NAME: &'static str = "compete";
}

impl Command for Compete {
    type Reply = u32;
}

/// Loses to another commit a number of times.
#[derive(Default)]
struct Competing {
    losses: u32,
    runs: Arc<AtomicU32>,
    ids: Arc<Mutex<Vec<MessageId>>>,
}

impl CommandHandler<Compete> for Competing {
    async fn handle(&self, _: Compete, cx: &Context) -> Result<u32> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst);
        self.ids.lock().unwrap().push(cx.message_id());
        if run < self.losses {
            // What a run that lost has buffered is dropped with its context.
            cx.send("elsewhere", &Done)?;
            return Err(Error::conflict("somebody was faster"));
        }
        Ok(run)
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_runs_the_handler_again_with_a_fresh_context() {
    let ids = Arc::default();
    let handler = Competing { losses: 5, ids: Arc::clone(&ids), ..Competing::default() };
    let runtime = open(BoundedContext::new("site").command(handler));
    assert_eq!(runtime.send(Compete).await.unwrap(), 5);
    let ids = ids.lock().unwrap();
    assert_eq!(ids.len(), 6);
    assert!(ids.iter().all(|id| *id == ids[0]), "every run has the same message id");
}

#[tokio::test(start_paused = true)]
async fn runs_after_conflicts_are_bounded() {
    for retries in [0, 3] {
        let runs = Arc::default();
        let handler = Competing { losses: 100, runs: Arc::clone(&runs), ..Competing::default() };
        let context = BoundedContext::new("site").command(handler).conflict_retries(retries);
        let error = open(context).send(Compete).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(runs.load(Ordering::SeqCst), retries + 1);
    }
}

#[derive(Clone)]
struct Register;

impl Message for Register {
    const NAME: &'static str = "register";
}

impl Command for Register {
    type Reply = ();
}

/// Finds its name taken each time.
struct Registering(Arc<AtomicU32>);

impl CommandHandler<Register> for Registering {
    async fn handle(&self, _: Register, _: &Context) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(Error::already_exists("the name is taken"))
    }
}

#[tokio::test]
async fn a_taken_name_is_tried_once_more_and_then_reported() {
    let runs = Arc::default();
    let handler = Registering(Arc::clone(&runs));
    let runtime = open(BoundedContext::new("site").command(handler));
    let error = runtime.send(Register).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}
