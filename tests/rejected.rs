//! A service gets a message that it cannot read: an operator lists it, and replays it to a build that
//! can.
#![cfg(feature = "rabbitmq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use mamey::id::MessageId;
use mamey::message::{Envelope, Metadata};
use mamey::messaging::{RabbitOptions, RabbitTransport};
use mamey::transport::{RejectReason, Routed, Transport};
use mamey::{
    Aggregate, BoundedContext, Context, Event, Query, ReadContext, Result, RunningService, Service,
    Settings,
};
use mamey_test_support::{rabbitmq, require, until};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the first build reads at most.
const LIMIT: usize = 512;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "scanner.scanned", key = page)]
struct Scanned {
    page: String,
    text: String,
}

#[derive(Aggregate, Serialize, Deserialize)]
#[aggregate(collection = "pages")]
struct Page {
    #[aggregate(id)]
    page: String,
    /// The lengths of all texts, as often as they had an effect.
    lengths: Vec<usize>,
}

#[derive(Query)]
#[query(reply = Vec<usize>)]
struct Lengths(String);

async fn on_scanned(event: Scanned, cx: &Context) -> Result<()> {
    let (pages, length) = (cx.repository::<Page>(), event.text.len());
    match pages.get(&event.page).await? {
        Some(mut page) => {
            page.lengths.push(length);
            pages.save(&page)
        }
        None => pages.add(&Page { page: event.page, lengths: vec![length] }),
    }
}

async fn lengths(query: Lengths, cx: &ReadContext) -> Result<Vec<usize>> {
    let page = cx.repository::<Page>().get(&query.0).await?;
    Ok(page.map(|page| page.lengths.clone()).unwrap_or_default())
}

async fn start(url: &str, folder: &Path, bytes_max: usize) -> RunningService {
    let options = RabbitOptions::default().with_message_bytes_max(bytes_max);
    let transport = RabbitTransport::connect(url, options).await.unwrap();
    let archive = BoundedContext::new("archive").aggregate::<Page>().on(on_scanned).query(lengths);
    let store = format!("sqlite:{}", folder.join("archive.db").display());
    let settings = Settings::default().with_poll(Duration::from_millis(50));
    let service = Service::new(settings).store_url(store).transport(transport);
    service.host(archive).start().await.unwrap()
}

/// A scan as another system publishes it.
fn scan(number: usize, length: usize) -> Envelope {
    let id = MessageId::from_foreign("scanner", &number.to_string());
    let metadata = Metadata::new(id, "scanner.scanned", "scanner").with_key(Some("page".into()));
    let text = "x".repeat(length);
    Envelope::new(metadata, format!(r#"{{"page":"page","text":"{text}"}}"#).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_listed_and_replayed_to_a_build_that_reads_it() {
    let vhost = require!(rabbitmq::vhost().await);
    let folder = tempfile::tempdir().unwrap();
    let service = start(vhost.url(), folder.path(), LIMIT).await;
    let scanner = RabbitTransport::connect(vhost.url(), RabbitOptions::default()).await.unwrap();
    let publisher = scanner.publisher();
    let (large, small) = (scan(1, LIMIT * 2), scan(2, 10));
    for scan in [&large, &small] {
        assert_eq!(publisher.publish(scan).await.unwrap(), Routed::Delivered);
    }
    let handled = async |service: &RunningService, all: &[usize]| {
        let heard = async || service.query(Lengths("page".into())).await.unwrap() == all;
        until("the scans are handled", PATIENCE, heard).await;
    };
    handled(&service, &[10]).await;
    let rejected = service.rejected("archive").unwrap();
    until("it is rejected", PATIENCE, async || rejected.count().await.unwrap() == 1).await;
    let one = rejected.list(None, 10).await.unwrap().remove(0);
    assert_eq!((one.reason, &one.payload), (RejectReason::OverLimit, &large.payload));
    assert!(one.place.starts_with("archive.") && one.detail.contains("512"), "{one:?}");
    assert!(one.headers.contains(&("type".to_owned(), "scanner.scanned".to_owned())));
    assert_eq!(service.totals().await.unwrap().rejected.over_limit, 1);
    service.shutdown().await.unwrap();

    let fixed = start(vhost.url(), folder.path(), LIMIT * 100).await;
    let rejected = fixed.rejected("archive").unwrap();
    assert_eq!(rejected.replay(&[one.id]).await.unwrap(), 1);
    handled(&fixed, &[10, LIMIT * 2]).await;
    // A replay that was cut off before it was settled comes twice, and so may the sender's publish.
    assert_eq!(publisher.publish(&large).await.unwrap(), Routed::Delivered);
    let absorbed = async || fixed.totals().await.unwrap().duplicates_absorbed == 1;
    until("the second one is absorbed", PATIENCE, absorbed).await;
    handled(&fixed, &[10, LIMIT * 2]).await;
    assert_eq!(rejected.list(None, 10).await.unwrap(), []);
    assert_eq!(fixed.totals().await.unwrap().rejected.all(), 0);
    fixed.shutdown().await.unwrap();
}
