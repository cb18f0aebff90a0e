//! The settings that each context may have of its own: their variables, and what they may hold.

use std::ops::RangeInclusive;
use std::time::Duration;

use mamey_core::{Error, Result};
use mamey_cqrs::ContextSettings;
use mamey_messaging::{ConsumerOptions, IN_FLIGHT_MAX, LANES_MAX, PREFETCH_MAX, RelayOptions};

use super::value::number;

/// How the names of all variables begin.
pub(super) const PREFIX: &str = "MAMEY_";

/// A day: no handler and no pause lasts longer.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

const U32: u64 = u32::MAX as u64;

/// A setting of a context.
pub(super) struct Setting {
    /// The end of its variable's name.
    pub(super) variable: &'static str,
    /// Its name in code.
    field: &'static str,
    range: RangeInclusive<u64>,
    set: fn(&mut ContextSettings, u64),
    get: fn(&ContextSettings) -> Option<u64>,
}

/// All of them. No variable is the end of another one's name, so each name is read in one way.
pub(super) const SETTINGS: [Setting; 12] = [
    Setting {
        variable: "TIMEOUT_MS",
        field: "timeout",
        range: 1..=DAY_MS,
        set: |settings, value| settings.timeout = Some(Duration::from_millis(value)),
        get: |settings| settings.timeout.map(millis),
    },
    Setting {
        variable: "RETRY_IMMEDIATE",
        field: "retry.immediate",
        range: 0..=U32,
        set: |settings, value| settings.retry.immediate = Some(value as _),
        get: |settings| settings.retry.immediate.map(u64::from),
    },
    Setting {
        variable: "RETRY_DELAYED",
        field: "retry.delayed",
        range: 0..=U32,
        set: |settings, value| settings.retry.delayed = Some(value as _),
        get: |settings| settings.retry.delayed.map(u64::from),
    },
    Setting {
        variable: "RETRY_FIRST_MS",
        field: "retry.first_pause",
        range: 1..=DAY_MS,
        set: |settings, value| settings.retry.first_pause = Some(Duration::from_millis(value)),
        get: |settings| settings.retry.first_pause.map(millis),
    },
    Setting {
        variable: "RETRY_LONGEST_MS",
        field: "retry.longest_pause",
        range: 1..=DAY_MS,
        set: |settings, value| settings.retry.longest_pause = Some(Duration::from_millis(value)),
        get: |settings| settings.retry.longest_pause.map(millis),
    },
    Setting {
        variable: "RETRY_ABORTS",
        field: "retry.aborts",
        range: 1..=U32,
        set: |settings, value| settings.retry.aborts = Some(value as _),
        get: |settings| settings.retry.aborts.map(u64::from),
    },
    Setting {
        variable: "PREFETCH",
        field: "prefetch",
        range: 1..=PREFETCH_MAX as u64,
        set: |settings, value| settings.prefetch = Some(value as _),
        get: |settings| settings.prefetch.map(u64::from),
    },
    Setting {
        variable: "LANES_MAX",
        field: "lanes_max",
        range: 1..=LANES_MAX as u64,
        set: |settings, value| settings.lanes_max = Some(value as _),
        get: |settings| settings.lanes_max.map(|lanes| lanes as u64),
    },
    Setting {
        variable: "RETRIES_MAX",
        field: "retries_max",
        range: 1..=LANES_MAX as u64,
        set: |settings, value| settings.retries_max = Some(value as _),
        get: |settings| settings.retries_max.map(|retries| retries as u64),
    },
    Setting {
        variable: "IN_FLIGHT_MAX",
        field: "in_flight_max",
        range: 1..=IN_FLIGHT_MAX as u64,
        set: |settings, value| settings.in_flight_max = Some(value as _),
        get: |settings| settings.in_flight_max.map(|messages| messages as u64),
    },
    Setting {
        variable: "SLOW_AFTER_MS",
        field: "slow_after",
        range: 1..=DAY_MS,
        set: |settings, value| settings.slow_after = Some(Duration::from_millis(value)),
        get: |settings| settings.slow_after.map(millis),
    },
    Setting {
        variable: "PARKED_MESSAGES_MAX",
        field: "parked_messages_max",
        range: 1..=1_000_000_000,
        set: |settings, value| settings.parked_messages_max = Some(value),
        get: |settings| settings.parked_messages_max,
    },
];

/// Less than a millisecond is none, and so is refused.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The setting of all contexts that a variable names, or that of one context and how the context is
/// written in it.
pub(super) fn named(variable: &str) -> Option<(Option<&str>, &'static Setting)> {
    let name = variable.strip_prefix(PREFIX)?;
    SETTINGS.iter().find_map(|setting| {
        let rest = name.strip_suffix(setting.variable)?;
        if rest.is_empty() {
            return Some((None, setting));
        }
        rest.strip_suffix('_').filter(|it| !it.is_empty()).map(|it| (Some(it), setting))
    })
}

/// Sets what the settings of a context say of its consumer.
pub(crate) fn of_consumer(
    settings: &ContextSettings,
    mut options: ConsumerOptions,
) -> ConsumerOptions {
    set(&mut options.prefetch, settings.prefetch);
    set(&mut options.lanes_max, settings.lanes_max);
    set(&mut options.retries_max, settings.retries_max);
    set(&mut options.slow_after, settings.slow_after);
    set(&mut options.parked_messages_max, settings.parked_messages_max);
    options
}

/// Sets what the settings of a context say of its relay.
pub(crate) fn of_relay(settings: &ContextSettings, mut options: RelayOptions) -> RelayOptions {
    set(&mut options.in_flight_max, settings.in_flight_max);
    options
}

fn set<T>(option: &mut T, setting: Option<T>) {
    if let Some(setting) = setting {
        *option = setting;
    }
}

/// A context's name as variables have it.
pub(super) fn in_variables(context: &str) -> String {
    context.to_uppercase().replace('-', "_")
}

impl Setting {
    /// Reads its variable.
    pub(super) fn read(
        &self,
        settings: &mut ContextSettings,
        variable: &str,
        value: &str,
    ) -> Result<()> {
        (self.set)(settings, number(variable, value, self.range.clone())?);
        Ok(())
    }

    /// Its value, as its variable has it.
    #[cfg(test)]
    pub(super) fn value(&self, settings: &ContextSettings) -> Option<u64> {
        (self.get)(settings)
    }

    /// Refuses a value that code has set and that cannot work.
    pub(super) fn check(&self, settings: &ContextSettings, context: &str) -> Result<()> {
        let Some(value) = (self.get)(settings).filter(|value| !self.range.contains(value)) else {
            return Ok(());
        };
        let (field, (least, most)) = (self.field, (self.range.start(), self.range.end()));
        let unit = if self.variable.ends_with("_MS") { " ms" } else { "" };
        Err(Error::misconfigured(format!(
            "`{field}` of context `{context}` is {value}{unit}; it must be from {least} to {most}{unit}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_in_one_way() {
        for setting in &SETTINGS {
            let same_end = SETTINGS.iter().filter(|it| setting.variable.ends_with(it.variable));
            assert_eq!(same_end.count(), 1, "{}", setting.variable);
        }
        for (name, context) in [
            ("MAMEY_PREFETCH", Some(None)),
            ("MAMEY_ORDERS_PREFETCH", Some(Some("ORDERS"))),
            ("MAMEY_ORDER_BOOK_PREFETCH", Some(Some("ORDER_BOOK"))),
            ("MAMEY__PREFETCH", None),
            ("MAMEY_ORDERSPREFETCH", None),
            ("MAMEY_ORDERS_PREFETCHED", None),
            ("ORDERS_PREFETCH", None),
        ] {
            assert_eq!(named(name).map(|(context, _)| context), context, "{name}");
        }
        assert_eq!(in_variables("order-book-2"), "ORDER_BOOK_2");
    }

    #[test]
    fn each_value_of_code_is_checked_by_name() {
        for setting in &SETTINGS {
            for outside in [setting.range.start().checked_sub(1), Some(setting.range.end() + 1)] {
                let mut settings = ContextSettings::default();
                let Some(outside) = outside else { continue };
                (setting.set)(&mut settings, outside);
                if (setting.get)(&settings) != Some(outside) {
                    continue; // The type does not hold it.
                }
                let error = setting.check(&settings, "orders").unwrap_err().to_string();
                let range = format!("from {} to {}", setting.range.start(), setting.range.end());
                for word in [setting.field, "`orders`", &range] {
                    assert!(error.contains(word), "{error}");
                }
            }
        }
    }
}
