//! Snapshots: what has ended and can still matter, for guards that know nothing yet.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use curfew_model::{Ctx, Failure, TenantId};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::time::Instant;

use super::{Feed, Position, cutoff};

/// How old a snapshot may be: a hundred guards that start together share one.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// How long one that nobody asks for is kept.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Entries of one read.
const PAGE: i64 = 5000;

/// A snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The feed goes on from here.
    pub position: Position,
    /// Lines of JSON, compressed with gzip.
    pub gzip: Bytes,
    /// Bytes before compression.
    pub len: usize,
    built: Instant,
}

impl Snapshot {
    /// For who does not take gzip.
    pub async fn plain(self: &Arc<Self>) -> Result<Bytes, Failure> {
        let own = Arc::clone(self);
        let unpacked = tokio::task::spawn_blocking(move || {
            let mut plain = Vec::with_capacity(own.len);
            GzDecoder::new(&own.gzip[..]).read_to_end(&mut plain).map(|_| Bytes::from(plain))
        });
        let unpacked = unpacked.await.map_err(|error| Failure::storage("a snapshot", error))?;
        unpacked.map_err(|error| Failure::storage("a snapshot", error))
    }
}

/// For whom: tenant, issuer, API.
type Key = (TenantId, Arc<str>, String);
/// The lock is held while one is built, so that others wait for it instead of building their own.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Snapshot>>>>;

#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<HashMap<Key, (Slot, Option<Instant>)>>);

impl Snapshots {
    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        slots.retain(|_, (_, asked)| asked.is_none_or(|asked| asked + KEPT_FOR > now));
        let (slot, asked) = slots.entry(key).or_default();
        *asked = Some(now);
        Arc::clone(slot)
    }
}

impl Feed {
    /// What has ended and can still matter to the guards of an API; at most a second old.
    pub async fn snapshot(&self, ctx: &Ctx, audience: &str) -> Result<Arc<Snapshot>, Failure> {
        let slot = self.snapshots.slot((ctx.tenant, Arc::clone(&ctx.issuer), audience.to_owned()));
        let mut slot = slot.lock().await;
        if let Some(snapshot) = slot.as_ref().filter(|snapshot| snapshot.built.elapsed() < SHARED_FOR) {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(self.build(ctx, audience).await?);
        *slot = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Heads first, entries after them: what comes in between is in the snapshot, and once more in the feed.
    async fn build(&self, ctx: &Ctx, audience: &str) -> Result<Snapshot, Failure> {
        let built = Instant::now();
        let (position, _) = self.read_after(None).await?;
        let mut lines = Vec::new();
        let mut count = 0_u64;
        let mut after = (-1, -1);
        loop {
            let page = self
                .store
                .read_long((ctx.tenant, after, ctx.now), |tx, (tenant, after, now)| {
                    Box::pin(curfew_store::feed::live(tx, *tenant, *after, *now, PAGE))
                })
                .await?;
            let Some(last) = page.last() else { break };
            after = (last.lane, last.position);
            for row in page.iter().filter(|row| cutoff::concerns(&row.entry, audience)) {
                count += 1;
                let line = cutoff::cutoff(&row.entry, row.at)?;
                // A vector of bytes takes whatever is written.
                let _ = writeln!(lines, "{line}");
            }
        }
        let head = json!({"position": position.to_string(), "issuer": &*ctx.issuer, "cutoffs": count});
        let head = format!("{head}\n");
        let len = head.len() + lines.len();
        let compressed = tokio::task::spawn_blocking(move || {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(head.as_bytes())?;
            gzip.write_all(&lines)?;
            gzip.finish()
        });
        let gzip = compressed
            .await
            .map_err(|error| Failure::storage("a snapshot", error))?
            .map_err(|error| Failure::storage("a snapshot", error))?;
        Ok(Snapshot { position, gzip: gzip.into(), len, built })
    }
}
