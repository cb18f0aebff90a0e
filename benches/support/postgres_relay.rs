//! Drains a full outbox on PostgreSQL: by the relay, and by the loop that is usually written by hand.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mamey::message::{Envelope, Metadata};
use mamey::messaging::{MemoryTransport, Relay, RelayOptions};
use mamey::store::Store;
use mamey::transport::{Publisher, Transport};
use sqlx::postgres::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Copies the sample records, each with an id of its own.
const FILL: &str = "\
INSERT INTO bank._outbox (id, slot, key, sent_at, metadata, payload)
SELECT new, slot, key, sent_at, replace(metadata, id::text, new::text), payload
FROM (SELECT *, gen_random_uuid() AS new FROM bank.samples CROSS JOIN generate_series(1, $1))
  AS copies";

/// One record of each key.
const SAMPLES: &str = "\
CREATE TABLE bank.samples AS SELECT DISTINCT ON (key) * FROM bank._outbox ORDER BY key";

const TAKE: &str = "\
SELECT sequence, metadata, payload FROM bank._outbox
ORDER BY sequence LIMIT 100 FOR UPDATE SKIP LOCKED";

const DELETE: &str = "DELETE FROM bank._outbox WHERE sequence = ANY($1)";

type Done<T> = Result<T, Box<dyn Error>>;

/// Empties the outbox and keeps samples of its records.
pub(crate) async fn take_samples(pool: &PgPool) -> Done<()> {
    sqlx::raw_sql(SAMPLES).execute(pool).await?;
    sqlx::raw_sql("TRUNCATE bank._outbox").execute(pool).await?;
    Ok(())
}

/// Fills the outbox with about this many records, and returns how many there are.
pub(crate) async fn fill(pool: &PgPool, records: i64) -> Done<u64> {
    let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM bank.samples").fetch_one(pool).await?;
    let filled = sqlx::query(FILL).bind(records / keys.max(1)).execute(pool).await?;
    sqlx::raw_sql("VACUUM ANALYZE bank._outbox").execute(pool).await?;
    Ok(filled.rows_affected())
}

/// How many records the relay moves per second.
pub(crate) async fn ours(store: &Arc<dyn Store>, records: u64) -> Done<f64> {
    let publisher = MemoryTransport::new().publisher();
    let relay = Relay::new(Arc::clone(store), publisher, RelayOptions::default());
    let (stats, stop) = (relay.stats(), CancellationToken::new());
    let begin = Instant::now();
    let running = tokio::spawn(relay.run(stop.clone()));
    while stats.snapshot().deleted < records {
        sleep(Duration::from_millis(2)).await;
    }
    let taken = begin.elapsed();
    stop.cancel();
    running.await??;
    Ok(records as f64 / taken.as_secs_f64())
}

/// How many records the handwritten loop moves per second.
pub(crate) async fn by_hand(pool: &PgPool, records: u64) -> Done<f64> {
    let publisher = MemoryTransport::new().publisher();
    let begin = Instant::now();
    let mut moved = 0;
    while moved < records {
        moved += step(pool, &*publisher).await?;
    }
    Ok(records as f64 / begin.elapsed().as_secs_f64())
}

async fn step(pool: &PgPool, publisher: &dyn Publisher) -> Done<u64> {
    let mut transaction = pool.begin().await?;
    let rows: Vec<(i64, String, Vec<u8>)> =
        sqlx::query_as(TAKE).fetch_all(&mut *transaction).await?;
    let mut done = Vec::with_capacity(rows.len());
    for (sequence, metadata, payload) in rows {
        let metadata: Metadata = serde_json::from_str(&metadata)?;
        publisher.publish(&Envelope::new(metadata, payload.into())).await?;
        done.push(sequence);
    }
    sqlx::query(DELETE).bind(&done).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done.len() as u64)
}

/// By how many MiB the process grew at most while it relayed.
pub(crate) async fn growth_mib(store: &Arc<dyn Store>, records: u64) -> Done<f64> {
    // The peak is counted from here.
    fs::write("/proc/self/clear_refs", "5")?;
    let before = status_kib("VmHWM:")?;
    ours(store, records).await?;
    Ok((status_kib("VmHWM:")? - before) / 1024.0)
}

fn status_kib(name: &str) -> Done<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("/proc/self/status has no {name}"))?.parse()?)
}
