//! Two senders of other systems that use one id send two messages, each of which takes effect once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use mamey::message::Message;
use mamey::{BoundedContext, Context, Error, Event, MessageId, Result, RunningService, Service};
use mamey_test_support::{postgres, rabbitmq, require};
use serde::{Deserialize, Serialize};

use crate::outcome::{settings, until_reaches};

const ID: &str = "0199a5d0-0c00-7abc-8abc-00000000000a";

/// The last two are spelled differently, so they are two.
const SENDERS: [&str; 3] = ["https://one.example", "https://two.example", "HTTPS://two.example"];

#[derive(Event, Serialize, Deserialize)]
#[event(name = "namesakes.sold")]
struct Sold {
    by: String,
    is_poison: bool,
}

/// Who sold, and the key that a system outside would get.
static EFFECTS: Mutex<Vec<(String, MessageId)>> = Mutex::new(Vec::new());

/// From then on no message fails.
static IS_FIXED: AtomicBool = AtomicBool::new(false);

async fn on_sold(sold: Sold, cx: &Context) -> Result<()> {
    if sold.is_poison && !IS_FIXED.load(Ordering::Acquire) {
        return Err(Error::rejected("namesakes.closed", "not yet"));
    }
    EFFECTS.lock().unwrap().push((sold.by, cx.message_id()));
    Ok(())
}

/// What the handler did, in the order of the senders. It may run for a duplicate, whose commit is then
/// refused, with the same key.
fn effects() -> Vec<(String, MessageId)> {
    let mut effects = EFFECTS.lock().unwrap().clone();
    effects.sort();
    effects.dedup();
    effects
}

struct Foreign {
    _connection: Connection,
    channel: Channel,
}

impl Foreign {
    async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { _connection: connection, channel }
    }

    /// Publishes the message of each sender, twice.
    async fn publish(&self, id: &str, is_poison: bool) {
        for sender in SENDERS.into_iter().chain(SENDERS) {
            let event = serde_json::json!({
                "specversion": "1.0", "id": id, "source": sender, "type": Sold::NAME,
                "partitionkey": "k", "data": {"by": sender, "is_poison": is_poison},
            });
            let media = "application/cloudevents+json";
            let properties = BasicProperties::default().with_content_type(media.into());
            let (exchange, key) = ("mamey".into(), "any.namesakes.sold.0".into());
            let (options, body) = (BasicPublishOptions::default(), event.to_string());
            let sent =
                self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
            sent.await.unwrap().await.unwrap();
        }
    }
}

async fn start(store: &str, broker: &str) -> RunningService {
    let receiver = BoundedContext::new("namesakes").on(on_sold);
    let service = Service::new(settings()).store_url(store).transport_url(broker);
    service.host(receiver).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_of_two_senders_is_two_messages() {
    let database = require!(postgres::database().await);
    let vhost = require!(rabbitmq::vhost().await);
    let service = start(database.url(), vhost.url()).await;
    let foreign = Foreign::connect(vhost.url()).await;
    let totals = async || service.totals().await.unwrap();
    let all = SENDERS.len() as u64;

    foreign.publish(ID, false).await;
    until_reaches("duplicates", all, async || totals().await.duplicates_absorbed).await;
    until_reaches("handled", all, async || totals().await.handled).await;
    let handled = effects();
    let by: Vec<_> = handled.iter().map(|(by, _)| by.as_str()).collect();
    assert_eq!(by, ["HTTPS://two.example", "https://one.example", "https://two.example"]);
    let keys: std::collections::HashSet<_> = handled.iter().map(|(_, key)| *key).collect();
    assert_eq!(keys.len(), SENDERS.len(), "a system outside would take two for one");

    foreign.publish(&ID.replace("000a", "000b"), true).await;
    until_reaches("duplicates", 2 * all, async || totals().await.duplicates_absorbed).await;
    let store = service.store("namesakes").unwrap();
    let letters = store.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), SENDERS.len());
    IS_FIXED.store(true, Ordering::Release);
    let mut left = all;
    for letter in &letters {
        assert!(store.replay_dead_letter(letter.identity).await.unwrap());
        left -= 1;
        until_reaches("handled", 2 * all - left, async || totals().await.handled).await;
        assert_eq!(store.dead_letter_count().await.unwrap(), left, "one is replayed at a time");
        let last = EFFECTS.lock().unwrap().last().unwrap().clone();
        let sender = letter.envelope.metadata.sender.to_string();
        assert_eq!(last, (sender, MessageId::from_uuid(letter.identity.as_uuid())));
    }
    service.shutdown().await.unwrap();
}
