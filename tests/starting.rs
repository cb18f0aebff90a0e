//! A service that starts before its servers, and one whose URLs are in files.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::time::{Duration, Instant};

use mamey::{BoundedContext, Command, Context, ErrorKind, Result, Service, Settings};
use mamey_test_support::{FaultProxy, Mode, postgres, require};

#[derive(Clone, Command)]
#[command(reply = u32)]
struct Count;

async fn count(_: Count, _: &Context) -> Result<u32> {
    Ok(1)
}

fn counting() -> BoundedContext {
    BoundedContext::new("counting").command(count)
}

fn settings(name: &str, value: &str) -> Settings {
    Settings::from_variables([(name.to_owned(), value.to_owned())]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_start_waits_for_a_server_as_long_as_it_is_told() {
    let test = require!(postgres::database().await);
    let proxy = FaultProxy::start(test.url()).await.unwrap();
    let url = proxy.url_for(test.url()).unwrap();
    proxy.set(Mode::Refuse).await.unwrap();
    let start = async |wait_ms: &str| {
        let settings = settings("MAMEY_WAIT_MS", wait_ms).with_store_url(url.clone());
        Service::new(settings).transport_url("memory:").host(counting()).start().await
    };

    let began = Instant::now();
    let refused = start("0").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    let refused = start("700").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());

    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.set(Mode::Forward).await.unwrap();
    };
    let (service, ()) = tokio::join!(start("60000"), later);
    let service = service.unwrap();
    assert_eq!(service.send(Count).await.unwrap(), 1);
    service.shutdown().await.unwrap();
}

#[tokio::test]
async fn waiting_does_not_hide_a_wrong_password() {
    let test = require!(postgres::database().await);
    let (login, rest) = test.url().split_once("://").unwrap().1.rsplit_once('@').unwrap();
    let user = login.split(':').next().unwrap();
    let wrong = format!("postgres://{user}:wrong@{rest}");
    let settings = settings("MAMEY_WAIT_MS", "60000").with_store_url(wrong);
    let began = Instant::now();
    let started = Service::new(settings).transport_url("memory:").host(counting()).start().await;
    assert_eq!(started.unwrap_err().kind(), ErrorKind::Misconfigured);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_urls_may_be_in_files() {
    let test = require!(postgres::database().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store");
    std::fs::write(&file, format!("{}\n", test.url())).unwrap();
    let named = settings("MAMEY_STORE_FILE", file.to_str().unwrap());
    let service =
        Service::new(named).transport_url("memory:").host(counting()).start().await.unwrap();
    assert_eq!(service.send(Count).await.unwrap(), 1);
    service.shutdown().await.unwrap();

    let missing = settings("MAMEY_STORE_FILE", "/no/such/file");
    let error = Service::new(missing).host(counting()).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let error = error.to_string();
    assert!(error.contains("store_file") && error.contains("/no/such/file"), "{error}");
}
