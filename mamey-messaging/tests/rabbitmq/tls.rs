//! A connection over TLS is made only to a server whose certificate is trusted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mamey_core::transport::{Settlement, Transport};
use mamey_core::{Error, ErrorKind};
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{rabbitmq, require};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::world::{event, next, subscribe_to_all, targeted, topology};

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A proxy in front of the broker: TLS towards clients, plain TCP towards the broker.
struct TlsBroker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A server whose only name is `localhost`.
    fn localhost(&self) -> ServerConfig {
        let (certificate, key) = self.issue("localhost");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }

    /// The same, and it wants a certificate of this authority from each client.
    fn localhost_for_known_clients(&self) -> ServerConfig {
        let (certificate, key) = self.issue("localhost");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }

    fn issue(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

impl TlsBroker {
    async fn start(config: ServerConfig, broker: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, broker) = (acceptor.clone(), broker.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the connection here.
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(broker).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { address, task }
    }

    /// The broker's URL with this proxy's port, and with a scheme and a host name.
    fn url(&self, url: &str, scheme: &str, host: &str) -> String {
        let (login, rest) = url.split_once("://").unwrap().1.split_once('@').unwrap();
        let vhost = rest.split_once('/').unwrap().1;
        format!("{scheme}://{login}@{host}:{}/{vhost}", self.address.port())
    }
}

impl Drop for TlsBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(url: &str, trusted: Option<&Authority>) -> Result<RabbitTransport, Error> {
    let mut options = RabbitOptions::default();
    options.trusted_certificates = trusted.map(|authority| authority.pem.clone());
    RabbitTransport::connect(url, options).await
}

async fn refused(url: &str, trusted: Option<&Authority>, why: &str) {
    let error = connect(url, trusted).await.expect_err("it was trusted");
    let (text, whole) = (error.to_string(), format!("{error:?}"));
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{whole}");
    assert!(text.contains("no secure connection") && text.contains(why), "{whole}");
    let password = url.split(['@', ':']).nth(2).unwrap();
    assert!(!whole.contains(password), "{whole}");
}

#[tokio::test]
async fn a_broker_whose_certificate_does_not_prove_its_name_is_refused() {
    let vhost = require!(rabbitmq::vhost().await);
    let plain = vhost.url();
    let broker = plain.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let tls = TlsBroker::start(ours.localhost(), broker).await;
    let by_name = tls.url(plain, "amqps", "localhost");

    let transport = connect(&by_name, Some(&ours)).await.unwrap();
    transport.apply(&topology(1)).await.unwrap();
    let mut payments = subscribe_to_all(&transport).await;
    // Larger than one record of TLS.
    for sent in [event("order-1", vec![b'x'; 100_000]), targeted("order-1")] {
        transport.publisher().publish(&sent).await.unwrap();
        let delivery = next(&mut payments).await;
        assert!(delivery.envelope() == &sent);
        delivery.settle(Settlement::Ack);
    }
    transport.close().await;

    refused(&by_name, Some(&other), "UnknownIssuer").await;
    // The system's authorities do not know it either.
    refused(&by_name, None, "UnknownIssuer").await;
    refused(&tls.url(plain, "amqps", "127.0.0.1"), Some(&ours), "not valid for name").await;
    // A plain connection to the TLS port fails.
    assert!(connect(&tls.url(plain, "amqp", "localhost"), Some(&ours)).await.is_err());
}

#[tokio::test]
async fn a_broker_that_wants_a_certificate_is_shown_it() {
    let vhost = require!(rabbitmq::vhost().await);
    let plain = vhost.url();
    let broker = plain.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let tls = TlsBroker::start(ours.localhost_for_known_clients(), broker).await;
    let url = tls.url(plain, "amqps", "localhost");
    let trusting = RabbitOptions::default().with_trusted_certificates(ours.pem.clone());
    let (certificate, key) = ours.issue("orders");

    let shown = trusting.clone().with_client_certificate(certificate.pem(), key.serialize_pem());
    RabbitTransport::connect(url.as_str(), shown).await.unwrap().ping().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let files = format!(
        "{url}?cacertfile={}&certfile={}&keyfile={}",
        file("ca.pem", &ours.pem),
        file("client.pem", &certificate.pem()),
        file("client.key", &key.serialize_pem())
    );
    let transport = RabbitTransport::connect(files, RabbitOptions::default()).await.unwrap();
    transport.ping().await.unwrap();

    assert!(RabbitTransport::connect(url.as_str(), trusting.clone()).await.is_err());
    let (certificate, key) = other.issue("orders");
    let strange = trusting.with_client_certificate(certificate.pem(), key.serialize_pem());
    let error = RabbitTransport::connect(url.as_str(), strange).await.unwrap_err();
    assert!(!format!("{error:?}").contains("PRIVATE KEY"), "{error:?}");
}
