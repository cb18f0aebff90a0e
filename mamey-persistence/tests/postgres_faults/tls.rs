//! A connection is as secure as its URL demands, or is refused.

use std::path::{Path, PathBuf};

use mamey_core::{Error, ErrorKind, Retry};
use mamey_test_support::{OwnPostgres, Plan, postgres, require};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::support::{connect, open, sends, with};

/// An authority in a file, as an administrator provides it, which issues certificates.
struct Authority {
    path: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let path = folder.join(name);
        std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { path, issuer: Issuer::new(params, key) }
    }

    /// A server with a certificate for `localhost` alone.
    async fn server(&self) -> mamey_test_support::Result<OwnPostgres> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Plan::default()
            .setting("ssl = on")
            .file("server.crt", &certificate.pem())
            .file("server.key", &key.serialize_pem())
            .start()
            .await
    }

    fn verifying(&self, url: &str, mode: &str) -> String {
        with(url, &format!("sslmode={mode}&sslrootcert={}", self.path.display()))
    }
}

async fn refused(url: &str) -> Error {
    let error = connect(url).await.unwrap_err();
    let text = format!("{error:?}");
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{text}");
    assert_eq!(error.retry(), Retry::Later, "a person can fix it: {text}");
    assert!(text.contains("no secure connection"), "{text}");
    assert!(!text.contains("mamey-loopback"), "{text}");
    error
}

#[tokio::test]
async fn a_server_is_the_one_its_certificate_names_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours.pem");
    let other = Authority::new(folder.path(), "other.pem");
    let server = require!(ours.server().await);
    let by_address = server.url();
    let by_name = by_address.replace("127.0.0.1", "localhost");

    let database = connect(&ours.verifying(&by_name, "verify-full")).await.unwrap();
    let store = open(&database, "bank").await;
    store.commit(sends(1)).await.unwrap();

    // The connections of the listener and the notifier too: nothing is sent in plain text.
    let mut admin = <sqlx::PgConnection as sqlx::Connection>::connect(&by_address).await.unwrap();
    let plain: Vec<(bool, i64)> = sqlx::query_as(
        "SELECT ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'mamey' GROUP BY ssl",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(plain, [(true, 3)]);

    let stranger = refused(&other.verifying(&by_name, "verify-full")).await;
    assert!(stranger.to_string().contains("UnknownIssuer"), "{stranger}");
    let misnamed = refused(&ours.verifying(&by_address, "verify-full")).await;
    assert!(misnamed.to_string().contains("not valid for name"), "{misnamed}");
    refused(&other.verifying(&by_name, "verify-ca")).await;
    connect(&ours.verifying(&by_address, "verify-ca")).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let test = require!(postgres::database().await);
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = refused(&with(test.url(), &format!("sslmode={mode}"))).await;
        assert!(error.to_string().contains("does not support TLS"), "{error}");
    }
    connect(&with(test.url(), "sslmode=prefer")).await.unwrap();
}
