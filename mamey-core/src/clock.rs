//! Time as a port: timestamps, the system clock, and a clock that tests set.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Error, Result};

/// A moment in microseconds since the Unix epoch, in UTC.
///
/// Microseconds are what every supported store keeps. On the wire it is RFC 3339.
///
/// ```
/// use std::time::Duration;
/// use mamey::Timestamp;
///
/// let noon = Timestamp::parse_rfc3339("2026-01-01T12:00:00Z")?;
/// assert_eq!(noon.plus(Duration::from_secs(90)).to_string(), "2026-01-01T12:01:30.000000Z");
/// # Ok::<(), mamey::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus `duration`; saturates at the end of the representable range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This moment minus `duration`; saturates at the start of the representable range.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_micros(micros.unsigned_abs())
    }

    /// Reads RFC 3339 in any offset, and `…us`: the form in which a moment outside of RFC 3339's
    /// range is written.
    ///
    /// # Errors
    /// `Invalid` when the text is not an RFC 3339 date and time.
    pub fn parse_rfc3339(text: &str) -> Result<Self> {
        // Whatever `Display` writes must be readable, or a document that holds it is lost.
        if let Some(Ok(micros)) = text.strip_suffix("us").map(str::parse) {
            return Ok(Self(micros));
        }
        let parsed = OffsetDateTime::parse(text, &Rfc3339);
        let time = parsed.or_else(|cause| leap_second(text).ok_or(cause)).map_err(|cause| {
            Error::invalid(format!("`{text}` is not an RFC 3339 time")).with_source(cause)
        })?;
        let micros = time.unix_timestamp_nanos().div_euclid(1000);
        i64::try_from(micros)
            .map(Self)
            .map_err(|_| Error::invalid(format!("`{text}` is out of range")))
    }
}

/// Reads a second 60 wherever it stands, as RFC 3339 lets senders write it before the end of a
/// month is known to have one: it is the end of the second 59.
fn leap_second(text: &str) -> Option<OffsetDateTime> {
    const SECONDS: std::ops::Range<usize> = 17..19;
    if text.get(SECONDS)? != "60" {
        return None;
    }
    let (start, rest) = (text.get(..SECONDS.start)?, text.get(SECONDS.end..)?);
    let offset = rest.trim_start_matches(|it: char| it == '.' || it.is_ascii_digit());
    OffsetDateTime::parse(&format!("{start}59.999999{offset}"), &Rfc3339).ok()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A moment as RFC 3339 in UTC with exactly six fractional digits, so that text order is time order.
type Rfc3339Utc = [u8; 27];

impl Timestamp {
    /// RFC 3339 has the years 0 to 9999; `None` for other moments.
    fn to_rfc3339(self) -> Option<Rfc3339Utc> {
        let seconds = self.0.div_euclid(MICROS_PER_SECOND);
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        let year = u32::try_from(year).ok().filter(|year| *year <= 9999)?;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        write_digits(&mut text[0..4], year);
        write_digits(&mut text[5..7], u8::from(month).into());
        write_digits(&mut text[8..10], day.into());
        write_digits(&mut text[11..13], hour.into());
        write_digits(&mut text[14..16], minute.into());
        write_digits(&mut text[17..19], second.into());
        // Below a million, so the conversion loses nothing.
        write_digits(&mut text[20..26], self.0.rem_euclid(MICROS_PER_SECOND) as u32);
        Some(text)
    }
}

/// Fills all of `text` with the last decimal digits of a number.
fn write_digits(text: &mut [u8], mut number: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with exactly six fractional digits; other moments are written as a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_rfc3339().as_ref().map(|text| str::from_utf8(text)) {
            Some(Ok(text)) => f.write_str(text),
            _ => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.to_rfc3339().as_ref().map(|text| str::from_utf8(text)) {
            Some(Ok(text)) => serializer.serialize_str(text),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

/// Where the time comes from. Tests replace it to be deterministic.
pub trait Clock: Send + Sync + 'static {
    /// The current time. It may jump forwards and backwards, as wall clocks do.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(micros(since_epoch))
    }
}

/// A clock that stands still until a test moves it.
///
/// ```
/// use std::time::Duration;
/// use mamey::Timestamp;
/// use mamey::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::at(Timestamp::EPOCH);
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now().as_millis(), 1000);
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(micros(duration), Ordering::SeqCst);
    }

    /// Sets the clock to `now`, which may be earlier.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_timestamp_survives_rfc3339_to_the_microsecond() {
        let time = Timestamp::from_micros(1_790_000_000_123_456);
        assert_eq!(time.to_string(), "2026-09-21T14:13:20.123456Z");
        assert_eq!(Timestamp::parse_rfc3339(&time.to_string()).unwrap(), time);
        assert_eq!(Timestamp::parse_rfc3339("2026-09-21T16:13:20.123456+02:00").unwrap(), time);
        assert!(Timestamp::parse_rfc3339("yesterday").is_err());
    }

    #[test]
    fn every_legal_form_is_read() {
        let time = Timestamp::from_micros(1_790_000_000_123_456);
        let fraction = "123456789012345678901234567890";
        for text in [
            "2026-09-21t14:13:20.123456z".to_owned(),
            "2026-09-21 14:13:20.123456-00:00".to_owned(),
            "2026-09-22T14:12:20.123456+23:59".to_owned(),
            format!("2026-09-21T14:13:20.{fraction}Z"),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(&text).unwrap(), time, "{text}");
        }
        let tenth = Timestamp::parse_rfc3339("2026-09-21T14:13:20.1Z").unwrap();
        assert_eq!(tenth.as_micros() % 1_000_000, 100_000);
        for (text, end) in [
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
            ("2016-12-31T23:59:60.25z", "2016-12-31T23:59:59.999999Z"),
            ("2017-01-01T00:59:60+01:00", "2016-12-31T23:59:59.999999Z"),
            ("2026-03-04t05:06:60-00:00", "2026-03-04T05:06:59.999999Z"),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_string(), end, "{text}");
        }
        for bad in ["2026-03-04T05:06:61Z", "2026-03-04T05:60:00Z", "2026-03-04T05:06:60"] {
            assert!(Timestamp::parse_rfc3339(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn extremes_do_not_panic() {
        for micros in [i64::MIN, i64::MAX] {
            let time = Timestamp::from_micros(micros);
            assert!(!time.to_string().is_empty());
            assert_eq!(time.plus(Duration::MAX), Timestamp(micros.saturating_add(i64::MAX)));
        }
    }

    #[test]
    fn moments_at_the_edges_of_rfc3339_are_read_as_they_were_written() {
        for text in ["0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59.9999999-23:59"] {
            let time = Timestamp::parse_rfc3339(text).unwrap();
            assert_eq!(Timestamp::parse_rfc3339(&time.to_string()).unwrap(), time, "{time}");
        }
        for bad in ["us", "1.5us", "1 us", "99999999999999999999us", "µs"] {
            assert!(Timestamp::parse_rfc3339(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_moment_survives_its_text(micros in any::<i64>(), near in -1_i64 << 52..1 << 52) {
            for time in [Timestamp(micros), Timestamp(near)] {
                prop_assert_eq!(Timestamp::parse_rfc3339(&time.to_string()).unwrap(), time);
                let json = serde_json::to_string(&time).unwrap();
                prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
            }
        }

        #[test]
        fn text_order_is_time_order(one in 0_i64..1 << 52, two in 0_i64..1 << 52) {
            let (one, two) = (Timestamp(one), Timestamp(two));
            prop_assert_eq!(one.cmp(&two), one.to_string().cmp(&two.to_string()));
        }
    }
}
