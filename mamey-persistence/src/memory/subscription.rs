//! Remembers what the builds of a context declare of messages.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::message::{ContextName, Envelope};
use mamey_core::store::{
    Declaration, Origin, Outcome, Receipt, Subscriber, Subscription, SubscriptionStore, UnitOfWork,
};

use super::store::MemoryStore;
use crate::common::errors::no_context;
use crate::common::lock::lock;

#[async_trait]
impl SubscriptionStore for MemoryStore {
    async fn declare_subscriptions(&self, declaration: &Declaration) -> Result<()> {
        let now = self.shared.clock.now();
        self.state()?.subscriptions.declare(declaration, now);
        Ok(())
    }

    async fn subscriptions(&self, names: &[&str]) -> Result<Vec<Subscription>> {
        let now = self.shared.clock.now();
        Ok(self.state()?.subscriptions.get(names, now))
    }

    async fn subscribers(&self) -> Result<Vec<Subscriber>> {
        let now = self.shared.clock.now();
        let mut subscribers = Vec::new();
        for (context, state) in self.shared.states()? {
            let declared = lock(&state);
            let of_context = |it| Subscriber::new(context.clone(), it);
            subscribers.extend(declared.subscriptions.in_process(now).map(of_context));
        }
        Ok(subscribers)
    }

    async fn park_for(&self, to: &ContextName, envelope: &Envelope) -> Result<()> {
        let states = self.shared.states()?;
        let state = states.iter().find(|(context, _)| context == to).map(|(_, state)| state);
        let state = state.ok_or_else(|| no_context(to))?;
        let receipt = Receipt::new(envelope.clone(), Origin::Delivery, Outcome::waiting());
        let unit = UnitOfWork::default().with_receipt(receipt);
        lock(state).commit(unit, self.shared.clock.now()).map(drop)
    }
}
