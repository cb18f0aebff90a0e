//! Shares partitions among all instances, by the database's clock.

use async_trait::async_trait;
use mamey_core::Result;
use mamey_core::clock::Timestamp;
use mamey_core::message::Partition;
use mamey_core::store::{Holdings, InstanceId, Lease, LeaseRequest, LeaseRole, LeaseStore};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::error::Stop;
use super::query::bind::column;
use super::query::values::micros;
use super::schema::statement::{execute, in_schema};
use super::store::PostgresStore;
use crate::common::lease_shares::{Share, Shares, count_members, share_out};
use crate::sql::rows::stored;

/// For each context and role, one instance at a time.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('mamey leases ' || $1, 0))";

/// Forgets expired members, makes the caller a member, and gives the time.
const JOIN: &str = "\
WITH moment AS (SELECT mamey._now($4) AS now),
expired AS (DELETE FROM mamey._members
  WHERE role = $1 AND holder <> $2 AND expires_at <= (SELECT now FROM moment))
INSERT INTO mamey._members (role, holder, partitions, expires_at)
SELECT $1, $2, $3, now + $5 FROM moment
ON CONFLICT (role, holder) DO UPDATE
SET partitions = excluded.partitions, expires_at = excluded.expires_at
RETURNING expires_at - $5";

const OTHER_MEMBERS: &str =
    "SELECT partitions FROM mamey._members WHERE role = $1 AND holder <> $2";

const SHARES: &str = "\
SELECT number, partitions, holder, epoch, expires_at FROM mamey._leases WHERE role = $1";

const WRITE_SHARES: &str = "\
INSERT INTO mamey._leases (role, number, partitions, holder, epoch, expires_at)
SELECT $1, * FROM unnest($2::int[], $3::int[], $4::uuid[], $5::bigint[], $6::bigint[])
ON CONFLICT (role, number) DO UPDATE SET partitions = excluded.partitions,
  holder = excluded.holder, epoch = excluded.epoch, expires_at = excluded.expires_at";

const RELEASE: &str = "\
UPDATE mamey._leases AS lease SET holder = NULL
FROM unnest($1::text[], $2::int[], $3::int[], $4::bigint[], $5::uuid[])
  AS given (role, number, partitions, epoch, holder)
WHERE (lease.role, lease.number, lease.partitions, lease.epoch, lease.holder)
  = (given.role, given.number, given.partitions, given.epoch, given.holder)";

const RETIRE: &str = "\
WITH retired AS (DELETE FROM mamey._members WHERE role = $1 AND holder = $2)
UPDATE mamey._leases SET holder = NULL WHERE role = $1 AND holder = $2";

#[async_trait]
impl LeaseStore for PostgresStore {
    async fn hold_leases(&self, request: LeaseRequest) -> Result<Holdings> {
        let lent = self.database.connections.lend().await;
        let mut lent = lent.map_err(|cause| self.database.error(cause))?;
        // On an error the connection is dropped, and the server rolls its transaction back.
        let held = self.hold(&mut lent.connection, &request);
        match self.database.connections.in_time(held).await {
            Ok(holdings) => {
                lent.give_back();
                Ok(holdings)
            }
            Err(Stop::Refuse(error)) => Err(error),
            Err(Stop::Fail(cause)) => Err(self.database.error(cause)),
        }
    }

    async fn release_leases(&self, leases: &[Lease]) -> Result<()> {
        let release = self
            .query(RELEASE)
            .bind(column(leases, |lease| lease.role.as_str()))
            .bind(column(leases, |lease| i32::from(lease.partition.number())))
            .bind(column(leases, |lease| i32::from(lease.partition.of())))
            .bind(column(leases, |lease| stored(lease.epoch)))
            .bind(column(leases, |lease| lease.holder.as_uuid()));
        let done = self.database.connections.execute(release).await;
        done.map(drop).map_err(|cause| self.database.error(cause))
    }

    async fn retire(&self, role: LeaseRole, holder: InstanceId) -> Result<()> {
        let retire = self.query(RETIRE).bind(role.as_str()).bind(holder.as_uuid());
        let done = self.database.connections.execute(retire).await;
        done.map(drop).map_err(|cause| self.database.error(cause))
    }
}

impl PostgresStore {
    async fn hold(
        &self,
        connection: &mut PgConnection,
        request: &LeaseRequest,
    ) -> Result<Holdings, Stop> {
        let role = request.role.as_str();
        execute(connection, self.begin(request)).await?;
        let place = format!("{} {role}", self.tables.schema);
        self.query(LOCK).bind(place).execute(&mut *connection).await?;
        let now = self.join(connection, request).await?;
        let members = self.members(connection, request).await?;
        let rows = self.query(SHARES).bind(role).fetch_all(&mut *connection).await?;
        let before = rows.iter().map(read_share).collect::<Result<Shares, Stop>>()?;
        let mut shares = before.clone();
        let holdings = share_out(&mut shares, request, members, now)?;
        shares.retain(|number, share| before.get(number) != Some(share));
        self.write_shares(connection, role, &shares).await?;
        execute(connection, "COMMIT".to_owned()).await?;
        Ok(holdings)
    }

    /// An instance that is paused inside the transaction must not keep all others from their leases:
    /// the server ends its session after the duration of a lease.
    fn begin(&self, request: &LeaseRequest) -> String {
        let limit_ms = request.duration.as_millis().clamp(1, i32::MAX.unsigned_abs().into());
        let begin = self.database.connections.begin_sql();
        format!("{begin}; SET LOCAL idle_in_transaction_session_timeout = {limit_ms}")
    }

    /// Makes the caller a member of its role, and gives the time.
    async fn join(
        &self,
        connection: &mut PgConnection,
        request: &LeaseRequest,
    ) -> Result<Timestamp, Stop> {
        let duration = micros(request.duration);
        let joined = self
            .query(JOIN)
            .bind(request.role.as_str())
            .bind(request.holder.as_uuid())
            .bind(i32::from(request.partitions))
            .bind(self.database.now())
            .bind(duration)
            .fetch_one(connection)
            .await?;
        Ok(Timestamp::from_micros(joined.try_get(0)?))
    }

    /// How many members the role of the caller has.
    async fn members(
        &self,
        connection: &mut PgConnection,
        request: &LeaseRequest,
    ) -> Result<usize, Stop> {
        let others: Vec<i32> =
            sqlx::query_scalar(AssertSqlSafe(in_schema(&self.tables.schema, OTHER_MEMBERS)))
                .persistent(self.database.connections.keeps_statements())
                .bind(request.role.as_str())
                .bind(request.holder.as_uuid())
                .fetch_all(connection)
                .await?;
        let others = others.into_iter().map(narrow).collect::<Result<Vec<_>, _>>()?;
        Ok(count_members(request, others)?)
    }

    /// All in one statement, because the others of the role wait meanwhile.
    async fn write_shares(
        &self,
        connection: &mut PgConnection,
        role: &str,
        shares: &Shares,
    ) -> Result<(), sqlx::Error> {
        let shares: Vec<&Share> = shares.values().collect();
        self.query(WRITE_SHARES)
            .bind(role.to_owned())
            .bind(column(&shares, |share| i32::from(share.partition.number())))
            .bind(column(&shares, |share| i32::from(share.partition.of())))
            .bind(column(&shares, |share| share.holder.map(InstanceId::as_uuid)))
            .bind(column(&shares, |share| stored(share.epoch)))
            .bind(column(&shares, |share| share.expires.as_micros()))
            .execute(connection)
            .await
            .map(drop)
    }
}

fn read_share(row: &PgRow) -> Result<(u16, Share), Stop> {
    let number = narrow(row.try_get(0)?)?;
    let epoch: i64 = row.try_get(3)?;
    let share = Share {
        partition: Partition::new(number, narrow(row.try_get(1)?)?)?,
        holder: row.try_get::<Option<uuid::Uuid>, _>(2)?.map(InstanceId::new),
        epoch: epoch.unsigned_abs(),
        expires: Timestamp::from_micros(row.try_get(4)?),
    };
    Ok((number, share))
}

fn narrow(number: i32) -> Result<u16, sqlx::Error> {
    u16::try_from(number).map_err(|cause| sqlx::Error::Decode(cause.into()))
}
