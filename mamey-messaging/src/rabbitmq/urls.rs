//! Where the brokers are: one URL, or several of one cluster. Their secrets do not print.

use std::fmt;

use lapin::uri::AMQPUri;
use mamey_core::{Error, Result, redact_url};

/// The brokers of one cluster, in the order in which they are tried.
pub(super) struct Urls(Vec<BrokerUrl>);

/// One broker's URL.
pub(super) struct BrokerUrl {
    pub(super) uri: AMQPUri,
    /// Scheme, host, port and virtual host: what may be shown of it.
    pub(super) server: String,
}

impl Urls {
    /// Reads one URL, or several, separated by commas.
    ///
    /// # Errors
    /// `Misconfigured` for a URL of another form, without its secrets.
    pub(super) fn parse(urls: &str) -> Result<Self> {
        let each = urls.split(',').map(|url| BrokerUrl::parse(url.trim(), urls));
        each.collect::<Result<_>>().map(Self)
    }

    /// The URL for this try: each in turn.
    pub(super) fn for_try(&self, number: usize) -> Option<&BrokerUrl> {
        self.0.get(number.checked_rem(self.0.len())?)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// All servers, as they may be shown.
    pub(super) fn servers(&self) -> String {
        let servers: Vec<&str> = self.0.iter().map(|url| url.server.as_str()).collect();
        servers.join(",")
    }
}

impl BrokerUrl {
    /// Reads one of all the URLs. A password may hold a comma that was not percent-encoded, so a
    /// part alone does not show where a password ends: errors show all of it, redacted, and leave
    /// out the driver's words, which may repeat the part.
    fn parse(url: &str, all: &str) -> Result<Self> {
        let uri: AMQPUri = url.parse().map_err(|_| {
            Error::misconfigured(format!(
                "`{}` is no URL of RabbitMQ; use amqp://user:password@host:port/vhost, with a \
                 number as the port, %2F for a slash in the virtual host and %2C for a comma",
                redact_url(all)
            ))
        })?;
        let (scheme, authority) = (&uri.scheme, &uri.authority);
        let server = format!("{scheme}://{}:{}/{}", authority.host, authority.port, uri.vhost);
        Ok(Self { uri, server })
    }
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.servers())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_urls_are_taken_and_no_secret_prints() {
        let urls = Urls::parse("amqp://app:s3cret@one:5673/shop, amqps://app:s3cret@two").unwrap();
        let shown = format!("{urls:?}");
        assert!(shown.contains("one:5673/shop") && shown.contains("two:5671"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn urls_of_another_form_are_refused_without_their_secrets() {
        for url in
            ["http://app:s3cret@host", "amqp://app:s3cret@host:port", "amqp//app:s3cret@h", ""]
        {
            let error = Urls::parse(url).unwrap_err().to_string();
            assert!(error.contains("amqp://user:password@host"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
