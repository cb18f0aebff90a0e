//! What proves who connects: the login and the certificates, read anew for each connection.

use std::path::Path;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use mamey_core::connection::CredentialSource;
use mamey_core::{Error, Result, Retry};

use super::options::{RabbitOptions, heartbeat_seconds};
use super::urls::BrokerUrl;

/// Where and as whom to connect now.
pub(super) async fn login(url: &BrokerUrl, options: &RabbitOptions) -> Result<AMQPUri> {
    let mut uri = url.uri.clone();
    if uri.query.heartbeat.is_none() {
        uri.query.heartbeat = Some(heartbeat_seconds(options.heartbeat)?);
    }
    let file = url.parameters.password_file.as_ref().map(|file| file as &dyn CredentialSource);
    let Some(source) = file.or(options.credentials.as_deref()) else {
        return Ok(uri);
    };
    let login = source.credentials().await?;
    let userinfo = &mut uri.authority.userinfo;
    userinfo.username = login.user.unwrap_or(std::mem::take(&mut userinfo.username));
    userinfo.password = login.password.unwrap_or(std::mem::take(&mut userinfo.password));
    Ok(uri)
}

/// Whom to trust, and what to show a broker that asks for a certificate.
pub(super) fn tls(url: &BrokerUrl, options: &RabbitOptions) -> Result<OwnedTLSConfig> {
    let parameters = &url.parameters;
    let mut trusted = options.trusted_certificates.clone();
    if let Some(file) = &parameters.authority_file {
        let authority = String::from_utf8_lossy(&read(file)?).into_owned();
        trusted = Some(trusted.unwrap_or_default() + &authority);
    }
    let identity = match (&parameters.certificate_file, &parameters.key_file) {
        (Some(certificate), Some(key)) => {
            Some(OwnedIdentity::PKCS8 { pem: read(certificate)?, key: read(key)? })
        }
        _ => options.client_certificate.as_ref().map(|it| OwnedIdentity::PKCS8 {
            pem: it.certificate.as_bytes().to_vec(),
            key: it.key.as_bytes().to_vec(),
        }),
    };
    Ok(OwnedTLSConfig { identity, cert_chain: trusted })
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|cause| {
        let error = Error::misconfigured(format!("{} cannot be read: {cause}", file.display()));
        // A file that is being replaced is there again a moment later.
        error.with_retry(Retry::Later)
    })
}
