//! Snapshots: what has ended and can still matter, for guards that know nothing yet.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use curfew_model::{Ctx, Failure, TenantId};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::time::Instant;

use super::{Feed, Position, cutoff};
use crate::shared::Shared;

/// How old a snapshot may be: a hundred guards that start together share one.
const SHARED_FOR: Duration = Duration::from_secs(1);
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
pub(super) type Snapshots = Shared<Key, Snapshot>;

impl Feed {
    /// What has ended and can still matter to the guards of an API; at most a second old.
    pub async fn snapshot(&self, ctx: &Ctx, audience: &str) -> Result<Arc<Snapshot>, Failure> {
        let key = (ctx.tenant, Arc::clone(&ctx.issuer), audience.to_owned());
        let is_fresh = |snapshot: &Snapshot| snapshot.built.elapsed() < SHARED_FOR;
        self.snapshots.get(key, is_fresh, async || self.build(ctx, audience).await).await
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
