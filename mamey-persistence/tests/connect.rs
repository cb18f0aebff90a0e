//! A URL picks the store; one that names none is refused by an error that lists those of this build.

use std::sync::Arc;

use mamey_core::ErrorKind;
use mamey_core::clock::SystemClock;
use mamey_persistence::connect;

#[cfg(feature = "memory")]
#[tokio::test]
async fn memory_is_named_by_its_scheme_alone() {
    let database = connect("memory:", Arc::new(SystemClock)).await.unwrap();
    assert_eq!(database.describe(), "memory:");
    let named = connect("memory:orders", Arc::new(SystemClock)).await;
    assert_eq!(named.err().unwrap().kind(), ErrorKind::Misconfigured);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_is_named_by_a_path_and_never_by_memory() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/deep/store.db", folder.path().display());
    let database = connect(&url, Arc::new(SystemClock)).await.unwrap();
    assert_eq!(database.describe(), url);
    database.close().await;
    let refused = connect("sqlite::memory:", Arc::new(SystemClock)).await;
    let error = refused.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("`memory:`"), "{error}");
}

#[tokio::test]
async fn an_unknown_store_is_refused_without_its_secret() {
    let url = "mysql://app:s3cret@db/orders";
    let error = connect(url, Arc::new(SystemClock)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let text = format!("{error:?}");
    assert!(!text.contains("s3cret"), "{text}");
    assert!(text.contains("mysql://app:***@db/orders"), "{text}");
    #[cfg(feature = "sqlite")]
    assert!(text.contains("sqlite:"), "{text}");
}

#[cfg(not(feature = "sqlite"))]
#[tokio::test]
async fn a_store_that_was_left_out_names_its_feature() {
    let error = connect("sqlite:a.db", Arc::new(SystemClock)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("feature `sqlite`"), "{error}");
}
