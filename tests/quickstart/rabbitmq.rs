//! The quickstart over RabbitMQ: the same totals, in one process and as three.

use std::process::Child;

use mamey::message::ContextName;
use mamey::messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{rabbitmq, require, terminate};

use crate::program::{Quickstart, first_orders, quickstart};

const ORDERS: usize = 300;

/// A process that is terminated and awaited on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        terminate(&self.0);
        let _ = self.0.wait();
    }
}

fn over(vhost: &rabbitmq::Vhost, quickstart: Quickstart) -> Quickstart {
    quickstart.environment("MAMEY_TRANSPORT", vhost.url())
}

#[tokio::test]
async fn the_totals_are_those_of_the_transport_in_the_process() {
    let vhost = require!(rabbitmq::vhost().await);
    let (memory, rabbit) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let orders = first_orders(memory.path(), ORDERS);
    let expected = quickstart(memory.path()).orders(&orders).totals();
    let run = || over(&vhost, quickstart(rabbit.path()).orders(&orders)).totals();
    assert_eq!(run(), expected);
    assert_eq!(run(), expected, "a second run changes nothing");
}

#[tokio::test]
async fn three_contexts_in_three_processes_have_the_totals_of_one() {
    let vhost = require!(rabbitmq::vhost().await);
    let folders: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let [memory, first, orders_of, payments_of, catalog_of] = &folders[..] else {
        unreachable!("five were made");
    };
    let orders = first_orders(memory.path(), ORDERS);
    let expected = quickstart(memory.path()).orders(&orders).totals();
    // An event reaches only subscriptions that exist: this run declares all three and places nothing.
    let nothing = first_orders(first.path(), 0);
    over(&vhost, quickstart(first.path()).orders(&nothing)).totals();
    // Its store is not theirs.
    let transport = RabbitTransport::connect(vhost.url(), RabbitOptions::default()).await.unwrap();
    for context in ["orders", "payments", "catalog"] {
        transport.forget_owner(&ContextName::new(context).unwrap()).await.unwrap();
    }

    let context = |name, folder: &tempfile::TempDir| {
        over(&vhost, quickstart(folder.path()).orders(&orders).context(name))
    };
    let _payments = Running(context("payments", payments_of).spawn());
    let _catalog = Running(context("catalog", catalog_of).spawn());
    let totals = context("orders", orders_of).totals();
    assert_eq!(
        (totals.orders, totals.paid, totals.refused, totals.out_of_stock, totals.dead_letters),
        (expected.orders, expected.paid, expected.refused, expected.out_of_stock, 0)
    );
}
