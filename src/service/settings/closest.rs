//! Which setting of a context goes first: of the service for it, of its declaration, of the service for
//! all.

use mamey_core::Result;
use mamey_cqrs::{BoundedContext, ContextSettings};

use super::Settings;
use super::contexts::{SETTINGS, in_variables};

impl Settings {
    /// The settings of a context: those of this service for it, then those of its declaration, then
    /// those of this service for all contexts.
    ///
    /// # Errors
    /// `Misconfigured`, naming the setting, the context and what it may be.
    pub(crate) fn of(&self, context: &BoundedContext) -> Result<ContextSettings> {
        let name = context.name();
        let own = self.contexts.get(&in_variables(name)).copied().unwrap_or_default();
        let settings = own.or(*context.settings()).or(self.all_contexts);
        SETTINGS.iter().try_for_each(|setting| setting.check(&settings, name))?;
        Ok(settings)
    }

    /// Warns of settings for contexts that the service does not host: most likely a name was
    /// mistyped. Services that share an environment may mean each other's contexts.
    pub(crate) fn report_strangers(&self, hosted: &[BoundedContext]) {
        let names: Vec<_> = hosted.iter().map(BoundedContext::name).collect();
        for stranger in self.contexts.keys() {
            if !names.iter().any(|name| in_variables(name) == *stranger) {
                let hosted = names.join(", ");
                tracing::warn!(
                    "there are settings for context {stranger}, which this service does not host; \
                     it hosts {hosted}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &Settings, context: BoundedContext) -> ContextSettings {
        settings.of(&context).unwrap()
    }

    #[test]
    fn the_closest_setting_goes_first() {
        let lanes = |lanes| ContextSettings::default().with_lanes_max(lanes);
        let settings = Settings::default()
            .with_all_contexts(lanes(1).with_prefetch(1).with_in_flight_max(1))
            .with_context("order-book", lanes(3));
        let declared = || BoundedContext::new("order-book").configure(lanes(2).with_prefetch(2));
        let ContextSettings { lanes_max, prefetch, in_flight_max, slow_after, .. } =
            of(&settings, declared());
        assert_eq!((lanes_max, prefetch), (Some(3), Some(2)));
        assert_eq!((in_flight_max, slow_after), (Some(1), None));
        let other = of(&settings, BoundedContext::new("orders").configure(lanes(2)));
        assert_eq!((other.lanes_max, other.prefetch), (Some(2), Some(1)));
    }
}
