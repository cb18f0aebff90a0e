//! What is fuzzed: each decoder that meets bytes from outside, with the laws it must keep.
//!
//! A target takes any bytes and panics when a law is broken. `./dev fuzz` feeds them with guidance
//! by coverage; the tests of this crate feed them the seeds of `fuzz/corpus` and mutations of them.

mod codecs;
mod cursor;
mod settings;
mod trace;
mod urls;

/// One decoder and its laws.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Feeds it; panics when a law is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "cloudevents", run: codecs::cloud_events_json },
    Target { name: "cloudevents_binary", run: codecs::cloud_events_binary },
    Target { name: "plain", run: codecs::plain },
    Target { name: "foreign", run: codecs::foreign },
    Target { name: "envelopes", run: codecs::envelopes },
    Target { name: "cursor", run: cursor::token },
    Target { name: "trace", run: trace::headers },
    Target { name: "settings", run: settings::variables },
    Target { name: "urls", run: urls::secrets },
];
