//! Where the brokers are: one URL, or several of one cluster. Their secrets do not print.

mod parameters;

use std::fmt;

use lapin::uri::AMQPUri;
use mamey_core::{Error, Result, query_may_hold_password, redact_url};
use url::{Host, Url};

pub(super) use parameters::Parameters;

/// The brokers of one cluster, in the order in which they are tried.
pub(super) struct Urls(Vec<BrokerUrl>);

/// One broker's URL.
pub(super) struct BrokerUrl {
    pub(super) uri: AMQPUri,
    /// Scheme, host, port and virtual host: what may be shown of it.
    pub(super) server: String,
    pub(super) parameters: Parameters,
}

impl Urls {
    /// Reads one URL, or several, separated by commas.
    ///
    /// # Errors
    /// `Misconfigured` for a URL of another form, without its secrets.
    pub(super) fn parse(urls: &str) -> Result<Self> {
        let each = urls.split(',').map(|url| BrokerUrl::parse(url.trim(), urls));
        let each = Self(each.collect::<Result<_>>()?);
        each.warn_ignored();
        Ok(each)
    }

    /// The URL for this try: each in turn.
    pub(super) fn for_try(&self, number: usize) -> Option<&BrokerUrl> {
        self.0.get(number.checked_rem(self.0.len())?)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    fn warn_ignored(&self) {
        let ignored: Vec<&str> =
            self.0.iter().flat_map(|url| &url.parameters.ignored).map(String::as_str).collect();
        if !ignored.is_empty() {
            tracing::warn!(
                parameters = ignored.join(", "),
                "the URL of RabbitMQ has parameters that this build does not know; it works \
                 without them"
            );
        }
    }

    /// All servers, as they may be shown.
    pub(super) fn servers(&self) -> String {
        let servers: Vec<&str> = self.0.iter().map(|url| url.server.as_str()).collect();
        servers.join(",")
    }
}

impl BrokerUrl {
    /// Reads one of all the URLs. A password may hold a comma or a `?` that was not
    /// percent-encoded, so a part alone does not show where a password ends: errors show all of it,
    /// redacted, and leave out the words of the driver, which may repeat the part.
    fn parse(url: &str, all: &str) -> Result<Self> {
        let unusable = || {
            Error::misconfigured(format!(
                "`{}` is no URL of RabbitMQ; use amqp://user:password@host:port/vhost, with a \
                 number as the port, %2F for a slash in the virtual host, %2C for a comma and %3F \
                 for a question mark",
                redact_url(all)
            ))
        };
        let plain = Url::parse(url).map_err(|_| unusable())?;
        // The driver gives up numbers of parameters in words that do not name them.
        let mut without = plain.clone();
        without.set_query(None);
        let mut uri: AMQPUri = without.as_str().parse().map_err(|_| unusable())?;
        // The driver takes an address in brackets for no host at all, and connects to this machine.
        if let Some(Host::Ipv6(address)) = plain.host() {
            uri.authority.host = address.to_string();
        }
        if uri.vhost.is_empty() {
            tracing::info!("the URL of RabbitMQ ends with `/`, which is taken for the vhost `/`");
            uri.vhost = "/".to_owned();
        }
        let parameters = Parameters::read(&plain, &mut uri);
        let parameters = match (parameters, query_may_hold_password(url)) {
            (Ok(read), true) if !read.ignored.is_empty() => return Err(unusable()),
            (Err(_), true) => return Err(unusable()),
            (read, _) => read?,
        };
        let server = shown(&uri);
        Ok(Self { uri, server, parameters })
    }
}

/// Scheme, host, port and virtual host.
fn shown(uri: &AMQPUri) -> String {
    let (scheme, vhost, port) = (&uri.scheme, &uri.vhost, uri.authority.port);
    match uri.authority.host.as_str() {
        host if host.contains(':') => format!("{scheme}://[{host}]:{port}/{vhost}"),
        host => format!("{scheme}://{host}:{port}/{vhost}"),
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
        for url in [
            "http://app:s3cret@host",
            "amqp://app:s3cret@host:port",
            "amqp//app:s3cret@h",
            "",
            "amqp://app:1?verify=s3cret@host",
            "amqp://app:s3cret@2001:db8::5:5672/v",
            "amqp://app:s3cret@[2001:db8::5/v",
            "amqp://app:s3cret@[fe80::1%25eth0]/v",
        ] {
            let error = Urls::parse(url).unwrap_err().to_string();
            assert!(error.contains("amqp://user:password@host"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    fn one(url: &str) -> BrokerUrl {
        Urls::parse(url).unwrap().0.remove(0)
    }

    #[test]
    fn the_host_is_the_one_that_was_written() {
        for (url, host, server) in [
            ("amqp://u:p@[2001:db8::5]:5673/v", "2001:db8::5", "amqp://[2001:db8::5]:5673/v"),
            ("amqps://[::1]", "::1", "amqps://[::1]:5671//"),
            ("amqp://[::ffff:10.0.0.1]/v", "::ffff:10.0.0.1", "amqp://[::ffff:10.0.0.1]:5672/v"),
            ("amqp://10.0.0.1/v", "10.0.0.1", "amqp://10.0.0.1:5672/v"),
            ("amqp://mq.internal/v", "mq.internal", "amqp://mq.internal:5672/v"),
        ] {
            let read = one(url);
            assert_eq!((read.uri.authority.host.as_str(), read.server.as_str()), (host, server));
        }
    }

    #[test]
    fn a_slash_alone_names_the_vhost_slash() {
        for (url, vhost) in [
            ("amqp://mq", "/"),
            ("amqp://mq/", "/"),
            ("amqp://mq/?heartbeat=5", "/"),
            ("amqp://mq?heartbeat=5", "/"),
            ("amqp://mq/%2f", "/"),
            ("amqp://mq/shop", "shop"),
            ("amqp://mq/%2fshop", "/shop"),
        ] {
            assert_eq!(one(url).uri.vhost, vhost, "{url}");
        }
    }

    #[test]
    fn parameters_that_are_harmless_to_leave_out_are_named_and_left_out() {
        let url = "amqp://mq/v?heartbeat=5&connection_timeout=700&locale=en&retry_delay=3";
        let read = one(url);
        assert_eq!(read.uri.query.heartbeat, Some(5));
        assert_eq!(read.parameters.connect_timeout, Some(std::time::Duration::from_millis(700)));
        assert_eq!(read.parameters.ignored, ["locale", "retry_delay"]);
        let checked = one("amqps://mq/v?verify=verify_peer&server_name_indication=mq");
        assert!(checked.parameters.ignored.is_empty());
    }

    #[test]
    fn what_cannot_be_meant_or_would_weaken_security_is_refused_by_name() {
        for (url, named) in [
            ("amqp://mq?heartbeat=0", "`heartbeat`"),
            ("amqp://mq?heartbeat=0.5", "`heartbeat`"),
            ("amqp://mq?heartbeat=70000", "`heartbeat`"),
            ("amqp://mq?connection_timeout=0", "`connection_timeout`"),
            ("amqp://mq?channel_max=-1", "`channel_max`"),
            ("amqp://mq?auth_mechanism=magic", "`auth_mechanism`"),
            ("amqps://mq?verify=verify_none", "`verify`"),
            ("amqps://mq?server_name_indication=disable", "`server_name_indication`"),
            ("amqps://mq?ssl_options={}", "`ssl_options`"),
            ("amqps://mq?tls_min_version=1.3", "`tls_min_version`"),
            ("amqps://mq?depth=1", "`depth`"),
            ("amqps://mq?cacertfile=/no/ca.pem", "/no/ca.pem"),
            ("amqps://mq?certfile=/dev/null", "`keyfile`"),
            ("amqps://mq?keyfile=/dev/null", "`certfile`"),
            ("amqp://mq?cacertfile=/dev/null", "amqps://"),
            ("amqp://u@mq?password_file=/no/secret", "/no/secret"),
            ("amqp://u@mq?password_file=/dev/null", "empty"),
        ] {
            let error = Urls::parse(url).unwrap_err();
            assert_eq!(error.kind(), mamey_core::ErrorKind::Misconfigured);
            assert!(error.to_string().contains(named), "{url}: {error}");
        }
    }
}
