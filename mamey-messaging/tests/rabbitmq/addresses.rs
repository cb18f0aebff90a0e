//! Where the broker is and who connects, as tutorials, clouds and orchestrators say it.

use std::net::{Ipv6Addr, SocketAddr};

use mamey_core::ErrorKind;
use mamey_core::connection::{ConnectionUrl, Credentials};
use mamey_core::transport::Transport;
use mamey_messaging::{RabbitOptions, RabbitTransport};
use mamey_test_support::{FaultProxy, Mode, rabbitmq, require, until};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{SOON, connect};

/// `login`, `host:port` and virtual host of a URL.
fn parts(url: &str) -> (&str, &str, &str) {
    let (login, rest) = url.split_once("://").unwrap().1.rsplit_once('@').unwrap();
    let (host, vhost) = rest.split_once('/').unwrap();
    (login, host, vhost)
}

/// Forwards from an address of version 6.
async fn over_ipv6(broker: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&broker).await.unwrap();
            tokio::spawn(
                async move { tokio::io::copy_bidirectional(&mut client, &mut server).await },
            );
        }
    });
    address
}

#[tokio::test]
async fn an_ipv6_address_is_the_one_that_is_connected_to() {
    let test = require!(rabbitmq::vhost().await);
    let (login, broker, vhost) = parts(test.url());
    let address = over_ipv6(broker.to_owned()).await;
    let transport = connect(&format!("amqp://{login}@{address}/{vhost}")).await;
    transport.ping().await.unwrap();
    assert_eq!(transport.describe(), format!("amqp://{address}/{vhost}"));
    // Nobody listens there, while the broker listens on this machine.
    let elsewhere = format!("amqp://{login}@[::1]:1/{vhost}");
    let error = RabbitTransport::connect(elsewhere, RabbitOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("[::1]:1"), "{error}");
}

#[tokio::test]
async fn a_slash_at_the_end_means_the_vhost_slash() {
    let test = require!(rabbitmq::vhost().await);
    let (login, broker, _) = parts(test.url());
    let transport = connect(&format!("amqp://{login}@{broker}/")).await;
    transport.ping().await.unwrap();
    assert_eq!(transport.describe(), format!("amqp://{broker}//"));
}

#[tokio::test]
async fn a_password_that_changes_needs_no_restart() {
    let test = require!(rabbitmq::vhost().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let url = proxy.url_for(test.url()).unwrap();
    let (login, host, vhost) = parts(&url);
    let (user, password) = login.split_once(':').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (secret, whole) = (folder.path().join("password"), folder.path().join("url"));
    let write = |password: &str| {
        std::fs::write(&secret, format!("{password}\n")).unwrap();
        std::fs::write(&whole, format!("amqp://{user}:{password}@{host}/{vhost}\n")).unwrap();
    };
    write(password);
    let plain = format!("amqp://{user}@{host}/{vhost}");
    let by_file = connect(&format!("{plain}?password_file={}", secret.display())).await;
    let url = ConnectionUrl::from_file(&whole).unwrap();
    let by_url = RabbitTransport::connect(url, RabbitOptions::default()).await.unwrap();
    let path = secret.clone();
    let options = RabbitOptions::default().with_credentials(move || {
        let read = std::fs::read_to_string(&path).map(|text| text.trim().to_owned());
        async { Ok(Credentials::password(read.expect("the test wrote it"))) }
    });
    let by_code = RabbitTransport::connect(plain.as_str(), options).await.unwrap();

    for transport in [by_file, by_url, by_code] {
        write("another");
        proxy.set(Mode::Reset).await.unwrap();
        proxy.set(Mode::Forward).await.unwrap();
        let refused = async || match transport.ping().await {
            Err(error) => error.to_string().contains("ACCESS_REFUSED"),
            Ok(()) => false,
        };
        until("what the file holds now is refused", SOON, refused).await;
        write(password);
        until("it is used again", SOON, async || transport.ping().await.is_ok()).await;
    }
}
