//! Takes a server's URL apart, so that a namespace or a proxy can be put into it.

use mamey_core::redact_url;

use crate::{Error, Result};

/// A URL of one server: `scheme://[user[:password]@]host[:port][/path][?query]`.
#[derive(Clone)]
pub(crate) struct Url {
    scheme: String,
    userinfo: Option<String>,
    host: String,
    path: Option<String>,
    query: Vec<String>,
}

impl Url {
    /// # Errors
    ///
    /// [`Error::Url`] if it is no URL, or one of several servers.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        Self::split(url).ok_or_else(|| Error::Url { url: redact_url(url) })
    }

    fn split(url: &str) -> Option<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) = base.split_once("://")?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path.to_owned())),
            None => (rest, None),
        };
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo.to_owned()), host),
            None => (None, authority),
        };
        if scheme.is_empty() || host.is_empty() || host.contains(',') {
            return None;
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Some(Self {
            scheme: scheme.to_owned(),
            userinfo,
            host: host.to_owned(),
            path,
            query: pairs.map(ToOwned::to_owned).collect(),
        })
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host and port, with the scheme's own port where the URL names none.
    pub(crate) fn address(&self) -> String {
        let after_ipv6 = self.host.rsplit_once(']').map_or(self.host.as_str(), |(_, rest)| rest);
        if after_ipv6.contains(':') {
            return self.host.clone();
        }
        let port = match self.scheme.as_str() {
            "postgres" | "postgresql" => 5432,
            "amqp" => 5672,
            "redis" => 6379,
            "mongodb" => 27017,
            _ => 80,
        };
        format!("{}:{port}", self.host)
    }

    pub(crate) fn port(&self) -> String {
        self.address().rsplit(':').next().unwrap_or_default().to_owned()
    }

    #[cfg(feature = "mongodb")]
    pub(crate) fn path(&self) -> Option<&str> {
        self.path.as_deref().filter(|path| !path.is_empty())
    }

    /// User and password as the URL writes them, joined by a colon.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn userinfo(&self) -> Option<&str> {
        self.userinfo.as_deref()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.query.iter().any(|pair| is_of(pair, name))
    }

    #[must_use]
    pub(crate) fn with_address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.host);
        self
    }

    #[cfg(any(feature = "postgres", feature = "rabbitmq", feature = "mongodb"))]
    #[must_use]
    pub(crate) fn with_path(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// With the query's `name` set to `value`, which is written as it is.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.query.retain(|pair| !is_of(pair, name));
        self.query.push(format!("{name}={value}"));
        self
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}://", self.scheme);
        if let Some(userinfo) = &self.userinfo {
            text.push_str(userinfo);
            text.push('@');
        }
        text.push_str(&self.host);
        if let Some(path) = &self.path {
            text.push('/');
            text.push_str(path);
        }
        if !self.query.is_empty() {
            text.push('?');
            text.push_str(&self.query.join("&"));
        }
        text
    }
}

fn is_of(pair: &str, name: &str) -> bool {
    pair.split_once('=').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn a_url_comes_back_as_it_was() {
        for url in [
            "postgres://mamey:s3cret@127.0.0.1:21100/mamey",
            "amqp://mamey:s3cret@127.0.0.1:21400/%2f",
            "redis://:p@ss@[::1]:21200/0",
            "mongodb://h/orders?authSource=admin&replicaSet=rs0",
            "http://h",
        ] {
            assert_eq!(Url::parse(url).unwrap().to_text(), url);
        }
    }

    #[test]
    fn the_address_has_a_port() {
        for (url, address) in [
            ("postgres://u:p@db:21100/x", "db:21100"),
            ("postgres://db/x", "db:5432"),
            ("redis://[::1]/0", "[::1]:6379"),
            ("redis://[::1]:7/0", "[::1]:7"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(url.address(), address);
            assert_eq!(url.port(), address.rsplit(':').next().unwrap());
        }
    }

    #[test]
    fn a_query_value_is_replaced_not_doubled() {
        let url = Url::parse("mongodb://h/?appname=a&w=1").unwrap().with("appName", "b");
        assert_eq!(url.to_text(), "mongodb://h/?w=1&appName=b");
    }

    #[test]
    fn what_is_no_url_of_one_server_is_refused_without_its_password() {
        for text in ["u:s3cret@db", "mongodb://u:s3cret@a:1,b:2/x", "://x", "redis://"] {
            let error = Url::parse(text).err().unwrap().to_string();
            assert!(error.starts_with("not a URL"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
