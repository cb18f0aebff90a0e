//! A URL as it is written, or as a file holds it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::credentials::{CredentialSource, Credentials, read};
use crate::{Result, redact_url};

/// The URL of a server, which may have come from a file. Its secrets do not print.
///
/// Text is one, as it is. From a file, the user and the password are read again for each new
/// connection; the rest counts as it was at the start.
#[derive(Clone)]
pub struct ConnectionUrl {
    url: String,
    file: Option<PathBuf>,
}

impl ConnectionUrl {
    /// The URL that a file holds, such as a secret that an orchestrator mounts.
    ///
    /// # Errors
    /// `Misconfigured` when the file cannot be read, or is empty.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        Ok(Self { url: read(&path)?.trim().to_owned(), file: Some(path) })
    }

    /// The URL, with its secrets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Where the credentials of each new connection come from, if not from the URL as it is.
    #[must_use]
    pub fn credentials(&self) -> Option<Arc<dyn CredentialSource>> {
        let file = self.file.clone()?;
        Some(Arc::new(UrlFile(file)))
    }
}

impl From<&str> for ConnectionUrl {
    fn from(url: &str) -> Self {
        Self { url: url.to_owned(), file: None }
    }
}

impl From<&String> for ConnectionUrl {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}

impl From<String> for ConnectionUrl {
    fn from(url: String) -> Self {
        Self { url, file: None }
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.url))
    }
}

/// A file that holds a URL, whose user and password are taken.
struct UrlFile(PathBuf);

#[async_trait]
impl CredentialSource for UrlFile {
    async fn credentials(&self) -> Result<Credentials> {
        Ok(login(read(&self.0)?.trim()))
    }
}

/// The user and the password in a URL.
fn login(url: &str) -> Credentials {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let Some((login, _)) = authority.rsplit_once('@') else {
        return Credentials::default();
    };
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let user = (!user.is_empty()).then(|| decode(user));
    Credentials { user, password: password.map(decode) }
}

/// The text behind percent-encoding; what is no encoding stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let encoded = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        if let Some(value) = encoded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(value);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_of_a_url_is_taken_and_decoded() {
        for (url, user, password) in [
            ("postgres://app:s3cret@db/shop", Some("app"), Some("s3cret")),
            ("postgres://app:s%40cr%2Fet%25@db", Some("app"), Some("s@cr/et%")),
            ("amqp://app@mq", Some("app"), None),
            ("amqp://:s3cret@mq", None, Some("s3cret")),
            ("postgres://db/shop?x=a@b", None, None),
            ("postgres://app:100%@db", Some("app"), Some("100%")),
            ("postgres://app:%é@db", Some("app"), Some("%é")),
        ] {
            let login = login(url);
            assert_eq!((login.user.as_deref(), login.password.as_deref()), (user, password));
        }
    }

    #[test]
    fn a_file_is_read_again_and_its_line_break_left_out() {
        let folder = std::env::temp_dir().join(format!("mamey-url-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("store");
        std::fs::write(&file, "postgres://app:one@db/shop\r\n").unwrap();
        let url = ConnectionUrl::from_file(&file).unwrap();
        assert_eq!(url.as_str(), "postgres://app:one@db/shop");
        assert!(!format!("{url:?}").contains("one"));
        std::fs::write(&file, "").unwrap();
        assert!(ConnectionUrl::from_file(&file).unwrap_err().to_string().contains("is empty"));
        std::fs::remove_dir_all(&folder).unwrap();
        let missing = ConnectionUrl::from_file(&file).unwrap_err().to_string();
        assert!(missing.contains("cannot be read"), "{missing}");
    }
}
