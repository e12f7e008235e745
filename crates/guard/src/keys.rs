//! The issuer's public keys.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use curfew_tokens::{Jwks, PublicKey};
use tokio::sync::Mutex;

use crate::client::{CallError, Client};
use crate::clock::Clocks;

/// Tokens with a key that is not known make the guard look for it at most once in this time.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Most keys that are taken.
const KEYS_MAX: usize = 64;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// The issuer has none of this name.
    Unknown,
    /// The issuer could not be asked.
    Unavailable,
}

/// The keys that the issuer's JWKS had when it was last read, by `kid`.
#[derive(Default)]
pub(crate) struct Keys {
    known: RwLock<HashMap<String, Arc<PublicKey>>>,
    looked: Mutex<Option<Looked>>,
}

/// The last look for a key that was not known.
struct Looked {
    at: Duration,
    failed: bool,
}

impl Keys {
    fn known(&self, kid: &str) -> Option<Arc<PublicKey>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(kid).cloned()
    }

    /// Whether none is known: the JWKS has never been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The key of this name. One that is not known is looked for.
    pub(crate) async fn find(
        &self,
        kid: &str,
        client: &Client,
        clocks: &dyn Clocks,
    ) -> Result<Arc<PublicKey>, NoKey> {
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        let mut looked = self.looked.lock().await;
        // Somebody else may have looked while this one waited.
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        let now = clocks.now().monotonic;
        let failed = match &*looked {
            Some(last) if now.saturating_sub(last.at) < LOOK_EVERY => last.failed,
            _ => {
                let failed = self.refresh(client).await.is_err();
                *looked = Some(Looked { at: now, failed });
                failed
            }
        };
        self.known(kid).ok_or(if failed { NoKey::Unavailable } else { NoKey::Unknown })
    }

    /// Reads the JWKS. Keys that are no longer in it are forgotten.
    pub(crate) async fn refresh(&self, client: &Client) -> Result<(), CallError> {
        let jwks: Jwks = client.get(".well-known/jwks.json").await?.json()?;
        let keys = jwks.keys.iter().take(KEYS_MAX);
        let usable = keys.filter(|jwk| jwk.use_.as_deref().is_none_or(|use_| use_ == "sig"));
        // A key of a kind that this guard does not know is none of its business. There are no symmetric ones.
        let keys: HashMap<_, _> = usable
            .filter_map(|jwk| PublicKey::from_jwk(jwk).ok())
            .filter_map(|key| Some((key.kid()?.to_owned(), Arc::new(key))))
            .collect();
        if keys.is_empty() {
            return Err(CallError::Malformed);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }
}
