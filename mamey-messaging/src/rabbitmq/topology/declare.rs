//! Declares a plan on the broker, or finds what others have declared.

use futures_util::future::try_join_all;
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use mamey_core::Result;

use super::drift::not_declared;
use super::plan::{Argument, Destination, RabbitPlan, Step};
use crate::rabbitmq::error::short;

impl RabbitPlan {
    /// Declares everything but the owner; what exists already stays as it is.
    pub(crate) async fn declare(&self, channel: &Channel) -> Result<()> {
        let (unbinds, steps): (Vec<_>, Vec<_>) =
            self.steps.iter().partition(|step| matches!(step, Step::Unbind { .. }));
        let (binds, others): (Vec<&Step>, Vec<&Step>) =
            steps.into_iter().partition(|step| matches!(step, Step::Bind { .. }));
        for step in others {
            step.declare(channel).await?;
        }
        // Sent together and answered in order: one round trip for all.
        let (outer, inner): (Vec<&Step>, Vec<&Step>) =
            binds.into_iter().partition(|step| step.lets_in());
        try_join_all(inner.into_iter().map(|step| step.declare(channel))).await?;
        try_join_all(outer.into_iter().map(|step| step.declare(channel))).await?;
        // Last: a message that is bound twice for a moment is handled once, one that is not is lost.
        try_join_all(unbinds.into_iter().map(|step| step.declare(channel))).await?;
        Ok(())
    }
}

impl Step {
    /// Whether it connects a context with what is published.
    const fn lets_in(&self) -> bool {
        matches!(self, Self::Bind { destination: Destination::Exchange(_), .. })
    }

    async fn declare(&self, channel: &Channel) -> Result<()> {
        let declared = match self {
            Self::Find(what) => find(channel, what).await?,
            Self::Exchange { name, kind } => declare_exchange(channel, short(name)?, kind).await,
            Self::Queue { name, arguments } => {
                let options = QueueDeclareOptions::durable();
                let declared = channel.queue_declare(short(name)?, options, table(arguments)).await;
                declared.map(drop)
            }
            Self::Unbind { source, key, destination } => {
                let (source, key) = (short(source)?, short(key)?);
                let none = FieldTable::default();
                match destination {
                    Destination::Exchange(name) => {
                        let options = ExchangeUnbindOptions::default();
                        channel.exchange_unbind(short(name)?, source, key, options, none).await
                    }
                    Destination::Queue(name) => {
                        channel.queue_unbind(short(name)?, source, key, none).await
                    }
                }
            }
            Self::Bind { source, key, destination } => {
                let (source, key) = (short(source)?, short(key)?);
                let none = FieldTable::default();
                match destination {
                    Destination::Exchange(name) => {
                        let options = ExchangeBindOptions::default();
                        channel.exchange_bind(short(name)?, source, key, options, none).await
                    }
                    Destination::Queue(name) => {
                        let options = QueueBindOptions::default();
                        channel.queue_bind(short(name)?, source, key, options, none).await
                    }
                }
            }
        };
        declared.map_err(|cause| not_declared(&self.what(), cause))
    }

    fn what(&self) -> String {
        match self {
            Self::Find(what) => format!("predefined {what}"),
            Self::Exchange { name, .. } => format!("exchange `{name}`"),
            Self::Queue { name, .. } => format!("queue `{name}`"),
            Self::Unbind { source, destination, .. } => {
                format!("the end of the binding of {destination} to exchange `{source}`")
            }
            Self::Bind { source, destination, .. } => {
                format!("the binding of {destination} to exchange `{source}`")
            }
        }
    }
}

async fn find(channel: &Channel, what: &Destination) -> Result<lapin::Result<()>> {
    let none = FieldTable::default();
    match what {
        Destination::Exchange(name) => {
            let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
            // Of whichever type: a passive declaration does not compare it.
            let name = short(name)?;
            Ok(channel.exchange_declare(name, ExchangeKind::Topic, options, none).await)
        }
        Destination::Queue(name) => {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            Ok(channel.queue_declare(short(name)?, options, none).await.map(drop))
        }
    }
}

async fn declare_exchange(
    channel: &Channel,
    name: ShortString,
    kind: &'static str,
) -> lapin::Result<()> {
    let kind = match kind {
        "fanout" => ExchangeKind::Fanout,
        _ => ExchangeKind::Topic,
    };
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name, kind, options, FieldTable::default()).await
}

pub(super) fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, argument) in arguments {
        let value = match argument {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongInt(*number),
            Argument::Flag(flag) => AMQPValue::Boolean(*flag),
        };
        table.insert((*name).into(), value);
    }
    table
}
