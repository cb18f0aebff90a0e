//! Gives a test a prefix of its own for the keys it keeps in Redis.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError};
use tokio::sync::OnceCell;

use crate::Result;
use crate::cleanup::Cleanup;
use crate::name;
use crate::report::report;
use crate::server::Server;
use crate::url::Url;

const REDIS: Server = Server { name: "Redis", variable: "MAMEY_TEST_REDIS_URL" };

/// The set of the prefixes in use: a sweep reads it, and not all keys there are.
const PREFIXES: &str = "mamey_test_prefixes";

/// How many keys a scan looks at, and deletes at most, in one round trip.
const SCAN_KEYS: u32 = 1000;

/// How long one command may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A prefix of keys that one test owns; its keys are deleted with this.
pub struct Prefix {
    prefix: String,
    url: String,
    _cleanup: Cleanup,
}

impl Prefix {
    /// The prefix, which ends with a colon.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.prefix
    }

    /// A key of this test.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A URL of the server, which all tests share: only the prefix keeps them apart.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Makes a prefix for one test.
///
/// # Errors
///
/// Where the server is not there or does not let us.
pub async fn prefix() -> Result<Prefix> {
    let url = REDIS.url()?;
    let mut admin = connect(&url).await?;
    sweep_once(&mut admin).await;
    let name = name::fresh();
    let (at, dropped) = (url.clone(), name.clone());
    // The guard comes first: a cancelled creation is cleaned up too.
    let cleanup =
        Cleanup::new(&name, async move { drop_prefix(&mut connect(&at).await?, &dropped).await });
    ask::<()>(&mut admin, redis::cmd("SADD").arg(PREFIXES).arg(&name)).await?;
    Ok(Prefix { prefix: format!("{name}:"), url: url.to_text(), _cleanup: cleanup })
}

/// Deletes the keys that killed runs left, and returns the names of their prefixes.
///
/// Making a prefix does this once per process already.
///
/// # Errors
///
/// Where the server is not there or does not let us.
pub async fn sweep() -> Result<Vec<String>> {
    sweep_with(&mut connect(&REDIS.url()?).await?).await
}

async fn sweep_once(admin: &mut MultiplexedConnection) {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    let sweep = async {
        if let Err(error) = sweep_with(admin).await {
            report(&format!("what a killed run left stays: {}", error.in_full()));
        }
    };
    SWEPT.get_or_init(|| Box::pin(sweep)).await;
}

async fn sweep_with(admin: &mut MultiplexedConnection) -> Result<Vec<String>> {
    let mut names: Vec<String> = ask(admin, redis::cmd("SMEMBERS").arg(PREFIXES)).await?;
    names.retain(|name| name::is_left_over(name));
    for name in &names {
        drop_prefix(admin, name).await?;
    }
    Ok(names)
}

async fn drop_prefix(admin: &mut MultiplexedConnection, name: &str) -> Result<()> {
    let pattern = format!("{name}:*");
    let mut cursor: u64 = 0;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_KEYS);
        let (next, keys): (u64, Vec<Vec<u8>>) = ask(admin, &scan).await?;
        if !keys.is_empty() {
            ask::<()>(admin, redis::cmd("UNLINK").arg(keys)).await?;
        }
        if next == 0 {
            break;
        }
        cursor = next;
    }
    // Last: until all its keys are gone, the next sweep has to find the prefix.
    ask(admin, redis::cmd("SREM").arg(PREFIXES).arg(name)).await
}

async fn ask<T: FromRedisValue>(
    admin: &mut MultiplexedConnection,
    command: &redis::Cmd,
) -> Result<T> {
    command.query_async(admin).await.map_err(|error| REDIS.refused("carry out a command", error))
}

async fn connect(url: &Url) -> Result<MultiplexedConnection> {
    let refused = |error: RedisError| match error.is_io_error() {
        true => REDIS.unreachable(url, error),
        false => REDIS.refused("let us in", error),
    };
    let client = Client::open(url.to_text()).map_err(refused)?;
    // Boxed: the driver is large, and this future becomes part of every test that asks.
    // The driver's own limits are short, and fail where a busy machine is only slow.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    let connecting = async {
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(refused)
    };
    REDIS.within_timeout(url, Box::pin(connecting)).await
}
