//! Bounds filters, and checks that they compare indexed fields with values of their types.

use mamey_core::criteria::{Collection, Filter, Value, ValueType};
use mamey_core::{Error, Result, Retry};

use super::fields::{field_type, type_fits, wrong_type};

/// The most conditions in one filter.
const CONDITIONS_PER_FILTER_MAX: usize = 256;

/// The most values in one filter.
const VALUES_PER_FILTER_MAX: usize = 8192;

/// Refuses a filter that is too large, names a field without an index, or has a value of another
/// type.
pub(crate) fn check_filter(collection: &'static Collection, filter: &Filter) -> Result<()> {
    FilterSize::default().add(collection, filter)
}

/// How large a filter is; callers can build one of any size.
#[derive(Default)]
struct FilterSize {
    conditions: usize,
    values: usize,
}

impl FilterSize {
    fn add(&mut self, collection: &'static Collection, filter: &Filter) -> Result<()> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_PER_FILTER_MAX {
            return Err(too_large("conditions", CONDITIONS_PER_FILTER_MAX));
        }
        match filter {
            Filter::All(filters) | Filter::Any(filters) => {
                filters.iter().try_for_each(|filter| self.add(collection, filter))
            }
            Filter::Compare { field, value, .. } => {
                self.add_values(collection, field, std::slice::from_ref(value))
            }
            Filter::OneOf { field, values } => self.add_values(collection, field, values),
            Filter::StartsWith { field, .. } => match field_type(collection, field)? {
                ValueType::Text => Ok(()),
                _ => Err(wrong_type(collection, field)),
            },
        }
    }

    fn add_values(
        &mut self,
        collection: &'static Collection,
        field: &str,
        values: &[Value],
    ) -> Result<()> {
        self.values += values.len();
        if self.values > VALUES_PER_FILTER_MAX {
            return Err(too_large("values", VALUES_PER_FILTER_MAX));
        }
        let expected = field_type(collection, field)?;
        if values.iter().all(|value| type_fits(expected, value)) {
            return Ok(());
        }
        Err(wrong_type(collection, field))
    }
}

fn too_large(what: &str, max: usize) -> Error {
    let message = format!("a filter takes at most {max} {what}; split it into several queries");
    Error::limit_exceeded(message).with_retry(Retry::Never)
}
