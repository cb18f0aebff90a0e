//! URLs of stores and transports: read or refused, and their password is in no text.

use mamey::{ErrorKind, Settings, messaging, persistence, redact_url};

const SECRET: &str = "s3cr3t";

/// The input is four lines that become `1://2:s3cr3t3@4`, whatever is in them.
pub(crate) fn secrets(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.contains(SECRET) {
        return;
    }
    let mut lines = text.splitn(4, '\n');
    let [scheme, user, tail, place] = [(); 4].map(|()| lines.next().unwrap_or_default());
    let url = format!("{scheme}://{user}:{SECRET}{tail}@{place}");
    hidden("redacted", &redact_url(&url));
    hidden("redacted twice", &redact_url(&redact_url(&url)));
    check("store", persistence::check_url(&url));
    check("transport", messaging::check_url(&url));
    for name in ["MAMEY_STORE", "MAMEY_TRANSPORT", "MAMEY_PARTITIONS", "MAMEY_LEASE_MS"] {
        // Also where it does not belong: variables get mixed up.
        match Settings::from_variables([(name.to_owned(), url.clone())]) {
            Ok(settings) => hidden(name, &format!("{settings:?}")),
            Err(error) => hidden(name, &format!("{error} {error:?}")),
        }
    }
}

fn check(what: &str, checked: mamey::Result<()>) {
    if let Err(error) = checked {
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{what}: {error:?}");
        hidden(what, &format!("{error} {error:?}"));
    }
}

fn hidden(what: &str, text: &str) {
    assert!(!text.contains(SECRET), "{what} shows the password: {text}");
}
