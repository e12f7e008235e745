//! `api.cache`: small values that an Action keeps from one execution to the next.
//!
//! They stay in this process: another node has its own, and a restart forgets them, as a cache may. What it must not do is
//! grow, or show one tenant another's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use curfew_actions::{ActionTrigger, CacheAnswer, CacheRequest};
use curfew_model::{TenantId, Timestamp};

/// Entries of one trigger.
const ENTRIES_MAX: usize = 20;
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 64;
/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 4096;
/// Bytes of all keys and values of one trigger.
const TOTAL_BYTES_MAX: usize = 8192;
/// How long an entry lives at most, and if nothing is said.
const TTL_MS_MAX: i64 = 24 * 3600 * 1000;
/// Triggers, of whatever tenant, that have a cache at a time: 64 MiB.
const CACHES_MAX: usize = 8192;

#[derive(Debug)]
struct Entry {
    value: String,
    created_at_ms: i64,
    expires_at_ms: i64,
}

type Cache = BTreeMap<String, Entry>;

/// The caches of a node: one of each trigger of each tenant.
#[derive(Debug, Default)]
pub struct Caches(Mutex<HashMap<(TenantId, ActionTrigger), Cache>>);

impl Caches {
    /// Does what an Action asks, at `now`.
    pub fn answer(
        &self,
        tenant: TenantId,
        trigger: ActionTrigger,
        request: CacheRequest,
        now: Timestamp,
    ) -> CacheAnswer {
        let now = now.micros() / 1000;
        let mut caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !caches.contains_key(&(tenant, trigger)) && caches.len() >= CACHES_MAX {
            caches.retain(|_, cache| cache.values().any(|entry| entry.expires_at_ms > now));
            if caches.len() >= CACHES_MAX {
                return failed("CacheUnavailable");
            }
        }
        let cache = caches.entry((tenant, trigger)).or_default();
        cache.retain(|_, entry| entry.expires_at_ms > now);
        match request {
            CacheRequest::Get { key } => cache.get(&key).map_or(CacheAnswer::Nothing, record),
            CacheRequest::Delete { key } => {
                cache.remove(&key).map_or(CacheAnswer::Nothing, |entry| record(&entry))
            }
            CacheRequest::Set { key, value, ttl_ms, expires_at_ms } => {
                set(cache, key, value, lives_until(now, ttl_ms, expires_at_ms), now)
            }
        }
    }
}

/// The earlier of both, and never more than a day from now.
fn lives_until(now: i64, ttl_ms: Option<i64>, expires_at_ms: Option<i64>) -> i64 {
    let by_ttl = ttl_ms.map(|ttl| now.saturating_add(ttl));
    [by_ttl, expires_at_ms].into_iter().flatten().fold(now.saturating_add(TTL_MS_MAX), i64::min)
}

fn set(cache: &mut Cache, key: String, value: String, expires_at_ms: i64, now: i64) -> CacheAnswer {
    if key.len() > KEY_BYTES_MAX {
        return failed("CacheKeySizeExceeded");
    }
    if value.len() > VALUE_BYTES_MAX {
        return failed("CacheValueSizeExceeded");
    }
    if expires_at_ms <= now {
        return failed("InvalidExpiry");
    }
    let others = cache.iter().filter(|(other, _)| **other != key);
    let (count, bytes) = others.fold((1, key.len() + value.len()), |(count, bytes), (key, entry)| {
        (count + 1, bytes + key.len() + entry.value.len())
    });
    if count > ENTRIES_MAX || bytes > TOTAL_BYTES_MAX {
        return failed("CacheSizeExceeded");
    }
    let entry = Entry { value, created_at_ms: now, expires_at_ms };
    let answer = record(&entry);
    cache.insert(key, entry);
    answer
}

fn record(entry: &Entry) -> CacheAnswer {
    CacheAnswer::Record {
        value: entry.value.clone(),
        created_at_ms: entry.created_at_ms,
        expires_at_ms: entry.expires_at_ms,
    }
}

fn failed(code: &str) -> CacheAnswer {
    CacheAnswer::Failed { code: code.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_305_600_000;

    struct Given(Caches);

    impl Given {
        fn ask(&self, tenant: i64, request: CacheRequest, at: i64) -> CacheAnswer {
            self.0.answer(
                TenantId(tenant),
                ActionTrigger::PostLogin,
                request,
                Timestamp::from_micros(at * 1000),
            )
        }

        fn set(&self, key: &str, value: &str, ttl_ms: Option<i64>) -> CacheAnswer {
            let (key, value) = (key.to_owned(), value.to_owned());
            self.ask(1, CacheRequest::Set { key, value, ttl_ms, expires_at_ms: None }, NOW)
        }

        fn get(&self, key: &str, at: i64) -> Option<String> {
            match self.ask(1, CacheRequest::Get { key: key.to_owned() }, at) {
                CacheAnswer::Record { value, .. } => Some(value),
                _ => None,
            }
        }
    }

    fn given() -> Given {
        Given(Caches::default())
    }

    #[test]
    fn what_was_set_is_there_until_its_time() {
        let given = given();
        given.set("token", "abc", Some(1000));
        assert_eq!(given.get("token", NOW + 999).as_deref(), Some("abc"));
        assert_eq!(given.get("token", NOW + 1000), None);
        given.set("day", "abc", None);
        assert_eq!(given.get("day", NOW + TTL_MS_MAX - 1).as_deref(), Some("abc"));
        assert_eq!(given.get("day", NOW + TTL_MS_MAX), None);
    }

    #[test]
    fn the_earlier_of_both_times_counts() {
        assert_eq!(lives_until(NOW, Some(500), Some(NOW + 200)), NOW + 200);
        assert_eq!(lives_until(NOW, Some(100), Some(NOW + 200)), NOW + 100);
        assert_eq!(lives_until(NOW, Some(i64::MAX), None), NOW + TTL_MS_MAX);
        assert_eq!(given().set("a", "b", Some(0)), failed("InvalidExpiry"));
    }

    #[test]
    fn deleting_tells_what_was_there() {
        let given = given();
        given.set("a", "b", None);
        let delete = || given.ask(1, CacheRequest::Delete { key: "a".to_owned() }, NOW);
        assert!(matches!(delete(), CacheAnswer::Record { value, .. } if value == "b"));
        assert_eq!(delete(), CacheAnswer::Nothing);
    }

    #[test]
    fn it_does_not_grow_beyond_its_limits() {
        let given = given();
        assert_eq!(given.set(&"k".repeat(65), "", None), failed("CacheKeySizeExceeded"));
        assert_eq!(given.set("k", &"v".repeat(4097), None), failed("CacheValueSizeExceeded"));
        for number in 0..20 {
            assert!(matches!(given.set(&format!("{number}"), "v", None), CacheAnswer::Record { .. }));
        }
        assert_eq!(given.set("20", "v", None), failed("CacheSizeExceeded"));
        assert!(matches!(given.set("19", "another", None), CacheAnswer::Record { .. }));
        assert!(matches!(given.set("1", &"v".repeat(4096), None), CacheAnswer::Record { .. }));
        assert_eq!(given.set("2", &"v".repeat(4096), None), failed("CacheSizeExceeded"));
    }

    #[test]
    fn tenants_and_triggers_have_their_own() {
        let given = given();
        given.set("a", "b", None);
        let get = CacheRequest::Get { key: "a".to_owned() };
        assert_eq!(given.ask(2, get.clone(), NOW), CacheAnswer::Nothing);
        let other = given.0.answer(
            TenantId(1),
            ActionTrigger::CredentialsExchange,
            get,
            Timestamp::from_micros(NOW * 1000),
        );
        assert_eq!(other, CacheAnswer::Nothing);
    }
}
