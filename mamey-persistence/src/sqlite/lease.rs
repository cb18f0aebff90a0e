//! Shares partitions among the instances that open this file.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::message::Partition;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRequest, LeaseRole, LeaseStore};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use uuid::Uuid;

use super::commit::script::{Expect, Script};
use super::commit::transaction::Transaction;
use super::commit::work::{Stop, Work};
use super::store::SqliteStore;
use crate::common::lease_shares::{Share, Shares, count_members, share_out};
use crate::sql::rows::stored;

const FORGET_EXPIRED: &str =
    "DELETE FROM mamey_members WHERE context = ? AND role = ? AND expires_at <= ?";

const OTHER_MEMBERS: &str =
    "SELECT partitions FROM mamey_members WHERE context = ? AND role = ? AND holder <> ?";

const JOIN: &str = "\
INSERT INTO mamey_members (context, role, holder, partitions, expires_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET partitions = excluded.partitions, expires_at = excluded.expires_at";

const SHARES: &str = "\
SELECT number, partitions, holder, epoch, expires_at FROM mamey_leases
WHERE context = ? AND role = ?";

const WRITE_SHARE: &str = "\
INSERT INTO mamey_leases (context, role, number, partitions, holder, epoch, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET partitions = excluded.partitions, holder = excluded.holder,
  epoch = excluded.epoch, expires_at = excluded.expires_at";

const RELEASE: &str = "\
UPDATE mamey_leases SET holder = NULL
WHERE context = ? AND role = ? AND number = ? AND partitions = ? AND epoch = ? AND holder = ?";

const LEAVE: &str = "DELETE FROM mamey_members WHERE context = ? AND role = ? AND holder = ?";

const RELEASE_ALL: &str =
    "UPDATE mamey_leases SET holder = NULL WHERE context = ? AND role = ? AND holder = ?";

const FORGET_INSTANCES: &str =
    "DELETE FROM mamey_members; UPDATE mamey_leases SET holder = NULL WHERE holder IS NOT NULL";

/// Frees what the instances of earlier processes held. The holder of the file lock knows that they
/// have ended, so nobody waits until their leases expire. Epochs stay.
pub(super) async fn forget_instances(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(FORGET_INSTANCES).execute(connection).await.map(drop)
}

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings> {
        let hold =
            Hold { context: self.context().to_owned(), request, now: self.database.clock.now() };
        self.database.submit(hold).await
    }

    async fn release_leases(&self, leases: &[Lease]) -> Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let release = Release { context: self.context().to_owned(), leases: leases.to_vec() };
        self.database.submit(release).await
    }

    async fn retire(&self, role: LeaseRole, holder: InstanceId) -> Result<()> {
        let retire = Retire { context: self.context().to_owned(), role, holder };
        self.database.submit(retire).await
    }
}

/// Renews and takes leases for one instance.
struct Hold {
    context: String,
    request: LeaseRequest,
    now: Timestamp,
}

#[async_trait]
impl Work for Hold {
    type Output = Holdings;

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<Holdings, Stop<Holdings>> {
        let members = self.join(transaction).await?;
        let before = self.shares(transaction.connection().await?).await?;
        let mut shares = before.clone();
        let holdings = share_out(&mut shares, &self.request, members, self.now)?;
        let mut script = Script::default();
        for (number, share) in &shares {
            if before.get(number) != Some(share) {
                self.write_share(&mut script, share);
            }
        }
        script.run(transaction).await?;
        Ok(holdings)
    }
}

impl Hold {
    /// Makes the caller a member of its role, and says how many members the role has.
    async fn join(&self, transaction: &mut Transaction<'_>) -> Result<usize, Stop<Holdings>> {
        let (role, holder) = (self.request.role.as_str(), bytes(self.request.holder));
        let mut script = Script::default();
        script.statement(FORGET_EXPIRED, Expect::Anything);
        script.bind(self.context.as_str()).bind(role);
        script.bind(self.now.as_micros());
        script.statement(JOIN, Expect::Anything);
        script.bind(self.context.as_str()).bind(role);
        script.bind(holder.as_slice());
        script.bind(i64::from(self.request.partitions));
        script.bind(self.now.plus(self.request.duration).as_micros());
        script.run(transaction).await?;
        let others: Vec<u16> = sqlx::query_scalar(OTHER_MEMBERS)
            .bind(self.context.as_str())
            .bind(role)
            .bind(holder)
            .fetch_all(transaction.connection().await?)
            .await?;
        Ok(count_members(&self.request, others)?)
    }

    async fn shares(&self, connection: &mut SqliteConnection) -> Result<Shares, Stop<Holdings>> {
        let rows = sqlx::query(SHARES)
            .bind(self.context.as_str())
            .bind(self.request.role.as_str())
            .fetch_all(connection)
            .await?;
        rows.iter().map(read_share).collect()
    }

    fn write_share(&self, script: &mut Script, share: &Share) {
        script
            .statement(WRITE_SHARE, Expect::Anything)
            .bind(self.context.as_str())
            .bind(self.request.role.as_str())
            .bind(i64::from(share.partition.number()))
            .bind(i64::from(share.partition.of()))
            .bind(share.holder.map(bytes))
            .bind(stored(share.epoch))
            .bind(share.expires.as_micros());
    }
}

/// Frees leases whose epoch is still current.
struct Release {
    context: String,
    leases: Vec<Lease>,
}

#[async_trait]
impl Work for Release {
    type Output = ();

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Stop<()>> {
        let mut script = Script::default();
        for lease in &self.leases {
            script
                .statement(RELEASE, Expect::Anything)
                .bind(self.context.as_str())
                .bind(lease.role.as_str())
                .bind(i64::from(lease.partition.number()))
                .bind(i64::from(lease.partition.of()))
                .bind(stored(lease.epoch))
                .bind(bytes(lease.holder).as_slice());
        }
        script.run(transaction).await?;
        Ok(())
    }
}

/// Removes an instance from a role, and frees what it holds there.
struct Retire {
    context: String,
    role: LeaseRole,
    holder: InstanceId,
}

#[async_trait]
impl Work for Retire {
    type Output = ();

    async fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Stop<()>> {
        let mut script = Script::default();
        for sql in [LEAVE, RELEASE_ALL] {
            script
                .statement(sql, Expect::Anything)
                .bind(self.context.as_str())
                .bind(self.role.as_str())
                .bind(bytes(self.holder));
        }
        script.run(transaction).await?;
        Ok(())
    }
}

fn read_share(row: &SqliteRow) -> Result<(u16, Share), Stop<Holdings>> {
    let number: u16 = row.try_get(0)?;
    let holder: Option<&[u8]> = row.try_get(2)?;
    let holder = holder
        .map(Uuid::from_slice)
        .transpose()
        .map_err(|cause| sqlx::Error::Decode(cause.into()))?;
    let epoch: i64 = row.try_get(3)?;
    let share = Share {
        partition: Partition::new(number, row.try_get(1)?)?,
        holder: holder.map(InstanceId::new),
        epoch: epoch.unsigned_abs(),
        expires: Timestamp::from_micros(row.try_get(4)?),
    };
    Ok((number, share))
}

fn bytes(holder: InstanceId) -> Vec<u8> {
    holder.as_uuid().as_bytes().to_vec()
}
