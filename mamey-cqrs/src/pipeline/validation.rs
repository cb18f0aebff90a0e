//! Checks a message with garde, and reports everything that is wrong with it at once.

use garde::Validate;
use mamey_core::{Error, Result};

/// The most findings that one error lists: a hostile message must not make it grow without bound.
const FINDINGS_MAX: usize = 64;

/// Checks a message by its garde rules. Messages that are derived with `validate` call it before
/// their handler runs.
///
/// ```
/// use garde::Validate;
/// use mamey::{Command, ErrorKind, validation};
///
/// #[derive(Clone, Command, Validate)]
/// #[command(validate)]
/// struct Register {
///     #[garde(length(min = 3))]
///     name: String,
///     #[garde(range(min = 18))]
///     age: u8,
/// }
///
/// let error = validation::check(&Register { name: "A".into(), age: 3 }).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert!(error.message().contains("name: length is lower than 3"));
/// assert!(error.message().contains("age: lower than 18"));
/// ```
///
/// # Errors
/// `Invalid`, naming each field that is wrong and why.
pub fn check<T>(value: &T) -> Result<()>
where
    T: Validate,
    T::Context: Default,
{
    let Err(report) = value.validate() else {
        return Ok(());
    };
    let mut findings: Vec<String> = report
        .iter()
        .take(FINDINGS_MAX)
        .map(|(path, finding)| match path.to_string() {
            path if path.is_empty() => finding.to_string(),
            path => format!("{path}: {finding}"),
        })
        .collect();
    let left_out = report.iter().count().saturating_sub(FINDINGS_MAX);
    if left_out > 0 {
        findings.push(format!("and {left_out} more"));
    }
    Err(Error::invalid(findings.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mamey_core::ErrorKind;

    #[derive(Validate)]
    struct PlaceOrder {
        #[garde(length(min = 1))]
        customer: String,
        #[garde(dive)]
        lines: Vec<Line>,
    }

    #[derive(Validate)]
    struct Line {
        #[garde(range(min = 1))]
        units: u32,
    }

    #[test]
    fn each_wrong_field_is_named_with_its_path() {
        let lines = [1, 0].map(|units| Line { units }).into();
        let order = PlaceOrder { customer: String::new(), lines };
        let error = check(&order).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains("customer: length"), "{text}");
        assert!(text.contains("lines[1].units: lower than 1"), "{text}");
        assert!(!text.contains("lines[0]"), "{text}");
    }

    #[test]
    fn a_valid_message_passes() {
        let order = PlaceOrder { customer: "ada".to_owned(), lines: vec![Line { units: 1 }] };
        assert!(check(&order).is_ok());
    }

    #[test]
    fn a_hostile_message_cannot_make_the_error_grow_without_bound() {
        let lines = (0..FINDINGS_MAX + 7).map(|_| Line { units: 0 }).collect();
        let order = PlaceOrder { customer: "ada".to_owned(), lines };
        let text = check(&order).unwrap_err().to_string();
        assert!(text.ends_with("and 7 more"), "{text}");
    }
}
