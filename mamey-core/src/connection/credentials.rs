//! The user and the password of a connection, asked for each time one is made.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::{Error, Result};

/// The user and the password of one connection. The password does not print.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The user; `None` for the one in the URL.
    pub user: Option<String>,
    /// The password; `None` for the one in the URL.
    pub password: Option<String>,
}

impl Credentials {
    /// A password for the user in the URL.
    #[must_use]
    pub fn password(password: impl Into<String>) -> Self {
        Self { user: None, password: Some(password.into()) }
    }

    /// The same for this user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Gives the credentials of each new connection, so that a password that was changed, or a token
/// that expires, needs no restart. A closure that returns a future is one, too.
///
/// ```
/// use mamey::connection::Credentials;
/// use mamey::messaging::RabbitOptions;
///
/// async fn token() -> mamey::Result<String> {
///     // Ask the cloud for a token that is valid for some minutes.
///     Ok("a-token".to_owned())
/// }
///
/// let options = RabbitOptions::default()
///     .with_credentials(|| async { Ok(Credentials::password(token().await?)) });
/// ```
#[async_trait]
pub trait CredentialSource: Send + Sync + 'static {
    /// The credentials of a connection that is about to be made. It counts towards the time that
    /// connecting may take.
    ///
    /// # Errors
    /// When they cannot be had now: connecting fails, and is tried again like any other failure.
    async fn credentials(&self) -> Result<Credentials>;
}

#[async_trait]
impl<F, T> CredentialSource for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<Credentials>> + Send,
{
    async fn credentials(&self) -> Result<Credentials> {
        self().await
    }
}

/// A file that holds a password and nothing else; a line break at its end does not count. It is
/// read for each new connection. `password_file=PATH` in a URL means this.
#[derive(Clone, Debug)]
pub struct PasswordFile(PathBuf);

impl PasswordFile {
    /// A file that can be read now.
    ///
    /// # Errors
    /// `Misconfigured` when it cannot be read, or is empty.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let file = Self(path.into());
        file.read()?;
        Ok(file)
    }

    fn read(&self) -> Result<Credentials> {
        read(&self.0).map(Credentials::password)
    }
}

#[async_trait]
impl CredentialSource for PasswordFile {
    async fn credentials(&self) -> Result<Credentials> {
        self.read()
    }
}

/// The content of a file that holds a secret, without a line break at its end.
pub(super) fn read(path: &Path) -> Result<String> {
    let content = std::fs::read_to_string(path).map_err(|cause| {
        Error::misconfigured(format!("{} cannot be read: {cause}", path.display()))
            .with_retry(crate::Retry::Later)
    })?;
    let secret = content.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Error::misconfigured(format!("{} is empty", path.display()))
            .with_retry(crate::Retry::Later));
    }
    Ok(secret.to_owned())
}
