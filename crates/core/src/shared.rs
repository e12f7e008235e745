//! What many ask for at once and one builds: the others wait for that one instead of building their own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use curfew_model::Failure;
use tokio::time::Instant;

/// How long one that nobody asks for is kept.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The lock is held while one is built.
type Slot<V> = Arc<tokio::sync::Mutex<Option<Arc<V>>>>;

/// Values by key, and when each was asked for last. Bounded by the keys asked for in a minute: ask only for what is there.
#[derive(Debug)]
pub(crate) struct Shared<K, V>(Mutex<HashMap<K, (Slot<V>, Instant)>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V> Shared<K, V> {
    /// The value that is there if it is fresh; otherwise the one that `build` makes. What fails to be built is built by the
    /// next who asks.
    pub(crate) async fn get(
        &self,
        key: K,
        is_fresh: impl FnOnce(&V) -> bool,
        build: impl AsyncFnOnce() -> Result<V, Failure>,
    ) -> Result<Arc<V>, Failure> {
        let slot = self.slot(key);
        let mut slot = slot.lock().await;
        if let Some(value) = slot.as_ref().filter(|value| is_fresh(value)) {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(build().await?);
        *slot = Some(Arc::clone(&value));
        Ok(value)
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        slots.retain(|_, (_, asked)| *asked + KEPT_FOR > now);
        let (slot, asked) = slots.entry(key).or_insert_with(|| (Slot::default(), now));
        *asked = now;
        Arc::clone(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_builds_and_the_others_wait_for_it() {
        let (shared, built) = (Shared::<&str, u32>::default(), AtomicU32::new(0));
        let ask = || {
            shared.get(
                "key",
                |_| true,
                async || {
                    tokio::task::yield_now().await;
                    Ok(built.fetch_add(1, Ordering::Relaxed))
                },
            )
        };
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        assert_eq!([*first.unwrap(), *second.unwrap(), *third.unwrap()], [0, 0, 0]);
        assert_eq!(built.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_not_fresh_or_failed_is_built_again() {
        let shared = Shared::<&str, u32>::default();
        let refused = shared.get("key", |_| true, async || Err(Failure::Contention)).await;
        assert!(matches!(refused, Err(Failure::Contention)));
        assert_eq!(*shared.get("key", |_| true, async || Ok(1)).await.unwrap(), 1);
        assert_eq!(*shared.get("key", |value| *value > 1, async || Ok(2)).await.unwrap(), 2);
        assert_eq!(*shared.get("key", |value| *value > 1, async || Ok(3)).await.unwrap(), 2);
        assert_eq!(*shared.get("another", |_| true, async || Ok(4)).await.unwrap(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_given_back() {
        let shared = Shared::<&str, u32>::default();
        let value = shared.get("key", |_| true, async || Ok(1)).await.unwrap();
        tokio::time::advance(KEPT_FOR).await;
        shared.get("another", |_| true, async || Ok(2)).await.unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
