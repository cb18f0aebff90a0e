//! Passwords in URLs: in no error, no `Debug` and no line of the log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use mamey::{Service, Settings, redact_url};
use tracing_subscriber::filter::LevelFilter;

use crate::domain::speaker;

const SECRETS: [&str; 3] = ["s3cret", "p@s3cret", "s3?cr/et"];

fn urls(secret: &str) -> [String; 6] {
    [
        format!("postgres://app:{secret}@db:5432/orders"),
        format!("amqp://app:{secret}@mq/%2f?heartbeat=5"),
        format!("amqps://:{secret}@mq"),
        format!("oracle://db/orders?password={secret}"),
        format!("app:{secret}@db"),
        format!("memory://app:{secret}@nowhere"),
    ]
}

/// The log of one test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "current_thread")]
async fn no_secret_is_printed() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let mut printed = String::new();
    for url in SECRETS.into_iter().flat_map(urls) {
        let settings = Settings::default().with_store_url(url.clone());
        let service = Service::new(settings.clone()).host(speaker());
        printed += &format!("{settings:?} {service:?} {} ", redact_url(&url));
        let store = service.start().await.unwrap_err();
        let service = Service::in_memory().transport_url(&url).host(speaker());
        printed += &format!("{service:?} ");
        let transport = service.start().await.unwrap_err();
        printed += &format!("{store} {store:?} {transport} {transport:?}\n");
        let variable = ("MAMEY_STORE".to_owned(), url);
        printed += &format!("{:?}\n", Settings::from_variables([variable]));
    }
    // A service that does start leaves a log, so the check below is of something.
    let running = Service::in_memory().host(speaker()).start().await.unwrap();
    running.shutdown().await.unwrap();
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("the service starts"), "{logged}");
    for part in ["s3cret", "s3?", "cr/et"] {
        assert!(!printed.contains(part), "{part} is in: {printed}");
        assert!(!logged.contains(part), "{part} is in: {logged}");
    }
}
