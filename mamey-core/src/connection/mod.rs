//! What a backend needs to connect: the URL, and the credentials of each new connection.

mod credentials;
mod url;

pub use credentials::{CredentialSource, Credentials, PasswordFile};
pub use url::ConnectionUrl;
