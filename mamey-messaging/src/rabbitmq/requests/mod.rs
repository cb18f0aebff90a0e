//! Requests over RabbitMQ: asking other contexts, and serving those that ask.

pub(super) mod requester;
pub(super) mod serving;

mod reply_channel;
