//! A connection over TLS is made only to a server whose certificate is trusted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mamey_core::transport::{Settlement, Transport};
use mamey_core::{Error, ErrorKind};
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{rabbitmq, require};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

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

    /// Certificate and key of a server whose only name is `localhost`.
    fn localhost(&self) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
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
