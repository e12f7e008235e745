//! Who may use a worker now: so many at a time, of each tenant so many, and a line that has an end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The shares of one depth.
#[derive(Debug)]
pub(super) struct Shares {
    all: Arc<Semaphore>,
    all_max: usize,
    tenant_max: usize,
    tenants: Arc<Tenants>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// The right to use one worker, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    // Dropped in this order: the tenant's own line is looked at when nobody is in it any more.
    _of_all: OwnedSemaphorePermit,
    _of_tenant: OwnedSemaphorePermit,
    _own: Own,
}

/// The line of a tenant, which is there for as long as anybody of it waits or runs.
#[derive(Debug)]
struct Own {
    tenant: u64,
    line: Arc<Semaphore>,
    tenants: Arc<Tenants>,
}

type Tenants = Mutex<HashMap<u64, Arc<Semaphore>>>;

impl Own {
    fn of(tenant: u64, tenants: &Arc<Tenants>, most: usize) -> Self {
        let line = Arc::clone(lock(tenants).entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(most))));
        Self { tenant, line, tenants: Arc::clone(tenants) }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants);
        // Only the map and this one hold it.
        if Arc::strong_count(&self.line) == 2 {
            tenants.remove(&self.tenant);
        }
    }
}

impl Shares {
    pub(super) fn new(all: usize, tenant_max: usize, waiting_max: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            all_max: all,
            tenant_max: tenant_max.clamp(1, all.max(1)),
            tenants: Arc::default(),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Waits for a share, in line; `None` where the line is too long.
    pub(super) async fn take(&self, tenant: u64) -> Option<Share> {
        let own = Own::of(tenant, &self.tenants, self.tenant_max);
        // First the tenant's, so that those who wait for their own tenant's turn keep nobody else from theirs.
        if let (Ok(of_tenant), Ok(of_all)) =
            (Arc::clone(&own.line).try_acquire_owned(), Arc::clone(&self.all).try_acquire_owned())
        {
            return Some(Share { _of_all: of_all, _of_tenant: of_tenant, _own: own });
        }
        let _place = Place::take(&self.waiting, self.waiting_max)?;
        let of_tenant = Arc::clone(&own.line).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Share { _of_all: of_all, _of_tenant: of_tenant, _own: own })
    }

    /// How many are in use.
    pub(super) fn used(&self) -> usize {
        self.all_max.saturating_sub(self.all.available_permits())
    }

    /// Waits until nobody has a share, and lets nobody have one again.
    pub(super) async fn all(&self) {
        let count = u32::try_from(self.all_max).unwrap_or(u32::MAX);
        let everything = self.all.acquire_many(count).await;
        self.all.close();
        drop(everything);
    }
}

fn lock(tenants: &Tenants) -> MutexGuard<'_, HashMap<u64, Arc<Semaphore>>> {
    tenants.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in the line.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < most).then_some(count + 1))
            .ok()
            .map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn one_tenant_does_not_take_everything() {
        let shares = Shares::new(3, 2, 10);
        let own = [now(shares.take(1)), now(shares.take(1))].map(|share| share.flatten().expect("a share"));
        assert!(now(shares.take(1)).is_none(), "it waits");
        let other = now(shares.take(2)).flatten().expect("another tenant's");
        assert!(now(shares.take(3)).is_none(), "all are taken");
        drop(own);
        assert!(now(shares.take(1)).flatten().is_some());
        drop(other);
        assert!(lock(&shares.tenants).is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn the_line_has_an_end() {
        let shares = Shares::new(1, 1, 1);
        let first = now(shares.take(1)).flatten().expect("a share");
        let mut waits = Box::pin(shares.take(2));
        assert!(now(waits.as_mut()).is_none());
        assert!(now(shares.take(3)).expect("an answer at once").is_none());
        drop(first);
        assert!(now(waits.as_mut()).flatten().is_some());
        assert_eq!(shares.waiting.load(Ordering::Acquire), 0);
    }

    #[test]
    fn closing_waits_for_those_under_way() {
        let shares = Shares::new(2, 2, 10);
        let share = now(shares.take(1)).flatten().expect("a share");
        let mut closing = Box::pin(shares.all());
        assert!(now(closing.as_mut()).is_none());
        drop(share);
        assert!(now(closing.as_mut()).is_some());
        assert!(now(shares.take(1)).flatten().is_none(), "nobody begins any more");
    }
}
