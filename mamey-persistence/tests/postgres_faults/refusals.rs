//! What is wrong with a unit or a setting is named, and nothing of the unit is kept.

use std::sync::Arc;
use std::time::Duration;

use mamey_core::clock::{Clock, ManualClock, SystemClock};
use mamey_core::criteria::Value;
use mamey_core::id::{IdSource, UuidV7Source};
use mamey_core::store::{
    CommitOutcome, Expected, InstanceId, LOAD_BYTES_MAX, LeaseRequest, LeaseRole, UnitOfWork,
};
use mamey_core::{ErrorKind, Retry};
use mamey_test_support::{postgres, require};

use super::support::{ACCOUNTS, connect, handles, message, open, put};

const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn a_document_over_the_limit_is_refused_for_good_and_by_name() {
    let test = require!(postgres::database().await);
    let database = connect(test.url()).await.unwrap();
    let store = open(&database, "bank").await;
    let large = |bytes: usize| {
        let mut unit = UnitOfWork::default();
        let text = "x".repeat(bytes - r#"{"t":""}"#.len());
        unit.write(put(7, Expected::Absent, format!(r#"{{"t":"{text}"}}"#))).unwrap();
        unit
    };
    let error = store.commit(large(DOCUMENT_BYTES_MAX + 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never));
    assert!(error.to_string().contains("accounts/7"), "{error}");
    assert_eq!(store.load(&ACCOUNTS, &[Value::Int(7)], LOAD_BYTES_MAX).await.unwrap(), [None]);
    store.commit(large(DOCUMENT_BYTES_MAX)).await.unwrap();
}

#[tokio::test]
async fn a_pgbouncer_that_the_url_does_not_name_is_recognized() {
    let test = require!(postgres::database().await);
    let error = connect(&require!(test.pgbouncer_url())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error:?}");
    assert!(error.to_string().contains("`pgbouncer=true`"), "{error}");
}

/// Leases use the database's clock, and the inbox knows an id whatever day it holds.
#[tokio::test]
async fn instances_whose_clocks_are_hours_off_share_one_database() {
    let test = require!(postgres::database().await);
    let now = SystemClock.now();
    let off = Duration::from_secs(5 * 60 * 60);
    let mut holders = Vec::new();
    for clock in [now.minus(off), now.plus(off)] {
        let database = connect(test.url()).await.unwrap();
        let store = open(&database, "bank").await;
        let ids = UuidV7Source::new(Arc::new(ManualClock::at(clock)));
        let mut received = message(1);
        received.metadata.id = ids.message_id();
        received.metadata.time = clock;
        let version = u64::try_from(holders.len()).unwrap();
        let expected = match version {
            0 => Expected::Absent,
            version => Expected::Version(version),
        };
        let unit = || handles(&received, 1, version + 1, expected);
        assert!(matches!(store.commit(unit()).await.unwrap(), CommitOutcome::Committed(_)));
        assert_eq!(store.commit(unit()).await.unwrap(), CommitOutcome::Duplicate);
        let request = LeaseRequest::new(
            LeaseRole::Relay,
            InstanceId::new(ids.next_uuid()),
            2,
            Duration::from_secs(60),
        );
        holders.push(store.hold_leases(request).await.unwrap().leases.len());
    }
    // The second takes nothing that the first holds, though by its clock hours have passed.
    assert_eq!(holders, [2, 0]);
}
