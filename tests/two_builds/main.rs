//! Two builds of one service side by side, over PostgreSQL and RabbitMQ: what one of them cannot handle
//! or read waits for the other, in its order, and is given up only by the retry policy's end.

#![cfg(all(feature = "rabbitmq", feature = "postgres"))]
#![allow(unreachable_pub, reason = "a test program exports nothing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::large_futures, reason = "a test runs once")]

mod builds;
mod given_up;
mod rolling;
mod till;
mod world;
