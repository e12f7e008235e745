//! Bytecode rests in the database, under the server's MAC.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use curfew_actions::{BytecodeOf, Bytecodes, HostFuture};
use curfew_core::Core;
use curfew_core::actions::bytecode;
use curfew_model::{Ctx, TenantId};

use crate::serve::job_ctx;

/// What packages compile to, as the rules keep it.
#[derive(Default)]
pub struct Shelved {
    /// The workers are there before the rules are.
    core: OnceLock<Weak<Core>>,
}

impl fmt::Debug for Shelved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelved").finish_non_exhaustive()
    }
}

impl Shelved {
    /// From now on bytecode is kept, and found.
    pub fn connect(&self, core: &Arc<Core>) {
        let _ = self.core.set(Arc::downgrade(core));
    }

    fn of(&self, tenant: u64) -> Option<(Arc<Core>, TenantId)> {
        Some((self.core.get()?.upgrade()?, TenantId(i64::try_from(tenant).ok()?)))
    }
}

impl Bytecodes for Shelved {
    fn find<'a>(&'a self, of: BytecodeOf<'a>) -> HostFuture<'a, Option<Bytes>> {
        Box::pin(async move {
            let (core, tenant) = self.of(of.tenant)?;
            let found = bytecode::find(&core, tenant, (of.digest, of.engine)).await;
            found.unwrap_or_else(|failure| {
                tracing::warn!(%failure, digest = of.digest, "bytecode cannot be read; it is made anew");
                None
            })
        })
    }

    fn keep<'a>(&'a self, of: BytecodeOf<'a>, bytecode: Bytes) -> HostFuture<'a, ()> {
        Box::pin(async move {
            let Some((core, tenant)) = self.of(of.tenant) else { return };
            let ctx = Ctx { tenant, ..job_ctx(&core, "") };
            if let Err(failure) = bytecode::keep(&core, &ctx, (of.digest, of.engine), bytecode).await {
                tracing::warn!(%failure, digest = of.digest, "bytecode cannot be kept; it is made anew after a restart");
            }
        })
    }
}
