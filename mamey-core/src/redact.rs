//! Hides the secrets in a URL so that it can be logged.

/// The URL with its user information's password and every query value replaced by `***`.
///
/// Text that is not a URL is treated as one without a scheme, so that a mistyped URL does not leak its
/// password either.
///
/// ```
/// use mamey::redact_url;
///
/// assert_eq!(redact_url("postgres://app:s3cret@db/orders"), "postgres://app:***@db/orders");
/// ```
#[must_use]
pub fn redact_url(url: &str) -> String {
    let (base, query) = match url.split_once('?') {
        Some((base, query)) => (base, Some(query)),
        None => (url, None),
    };
    if query_may_hold_password(url) {
        return url
            .split_once("://")
            .map_or("***".to_owned(), |(scheme, _)| format!("{scheme}://***"));
    }
    let mut redacted = redact_userinfo(base);
    if let Some(query) = query {
        redacted.push('?');
        redacted.push_str(&redact_query(query));
    }
    redacted
}

/// Whether what stands behind the `?` of a URL may be the rest of a password that was not
/// percent-encoded. It cannot be told from parameters, so nothing of it may be shown.
#[must_use]
pub fn query_may_hold_password(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, query)| query.contains('@'))
}

fn redact_userinfo(base: &str) -> String {
    let (scheme, rest) = match base.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), base),
    };
    // The last `@` ends the user information: a password may contain an unescaped one.
    match rest.rsplit_once('@') {
        Some((userinfo, host)) => {
            let user = userinfo.split(':').next().unwrap_or_default();
            format!("{scheme}{user}:***@{host}")
        }
        None => format!("{scheme}{rest}"),
    }
}

fn redact_query(query: &str) -> String {
    let redact = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    };
    query.split('&').map(redact).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::redact_url;

    #[test]
    fn passwords_and_query_values_are_hidden() {
        for (url, shown) in [
            ("postgres://app:s3cret@db/orders", "postgres://app:***@db/orders"),
            ("amqp://app:p@ss:w@rd@mq:5672/%2f", "amqp://app:***@mq:5672/%2f"),
            ("redis://:s3cret@cache", "redis://:***@cache"),
            (
                "postgres://db/orders?password=x&sslmode=require",
                "postgres://db/orders?password=***&sslmode=***",
            ),
            ("postgres://app:s3?cr@et@db/orders", "postgres://***"),
            ("app:s3?cret@db", "***"),
            ("postgres://db/orders?password=s3&cret", "postgres://db/orders?password=***&***"),
            ("sqlite:orders.db", "sqlite:orders.db"),
            ("app:s3cret@db", "app:***@db"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }
}
