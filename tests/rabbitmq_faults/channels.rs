//! Channels that the broker closes while messages go through them.

use mamey_test_support::{ChannelsThat, StrayAcks, rabbitmq, require};

use crate::broker::Sides;
use crate::outcome::until_reaches;

const MESSAGES: u64 = 5_000;

/// How often every channel in use is closed.
const FAULTS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_closed_for_an_unknown_delivery_tag_lose_nothing() {
    let vhost = require!(rabbitmq::vhost().await);
    let stray = StrayAcks::start(vhost.url()).await.unwrap();
    let mut sides = Sides::start(&stray.url_for(vhost.url()).unwrap()).await;
    sides.sender.emit(MESSAGES, 0).await;
    let mut ended = 0;
    for fault in 1..=FAULTS {
        sides.sender.until_confirmed(MESSAGES * fault / (FAULTS + 2)).await;
        let published = stray.acknowledge_on(ChannelsThat::Publish).await;
        assert!(published > 0, "nothing was being published");
        ended += stray.acknowledge_on(ChannelsThat::Consume).await;
    }
    assert!(ended > 0, "nothing was being consumed");
    // The fault shows in the totals, not only in the logs.
    let counted = async || sides.receiver.totals().await.unwrap().subscription_failures;
    until_reaches("subscription failures", 1, counted).await;
    sides.finish().await.check("channels closed for an unknown delivery tag", FAULTS);
}
