//! What a token that passed says.

use std::ops::Deref;
use std::sync::Arc;

use curfew_tokens::claims::AccessToken;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The claims of an access token that lives. Clones share them.
#[derive(Debug, Clone)]
pub struct Claims(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    token: AccessToken,
    payload: Vec<u8>,
}

impl Claims {
    pub(crate) fn new(token: AccessToken, payload: Vec<u8>) -> Self {
        Self(Arc::new(Inner { token, payload }))
    }

    /// All claims, custom ones among them, as the type the application has for them.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0.payload)
    }

    /// Whether every one of these scopes was granted.
    pub fn require<'s>(&self, scopes: impl Iterator<Item = &'s str> + Clone) -> Result<(), Refusal> {
        if scopes.clone().all(|scope| self.has_scope(scope)) {
            Ok(())
        } else {
            Err(Refusal::InsufficientScope(scopes.map(str::to_owned).collect()))
        }
    }
}

impl Deref for Claims {
    type Target = AccessToken;

    fn deref(&self) -> &AccessToken {
        &self.0.token
    }
}
