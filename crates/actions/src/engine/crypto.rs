//! `host.crypto`: cryptography for the runtime's `crypto` modules.

use rquickjs::{Ctx, Exception, Function, Object, Result};

use curfew_model::{Entropy as _, SystemEntropy};

use super::bindings::{array, freeze};

/// Most random bytes at a time, as in the Web's `getRandomValues`.
const RANDOM_BYTES_MAX: usize = 65_536;

/// The functions of `host.crypto`.
pub(super) fn functions<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let crypto = Object::new(ctx.clone())?;
    crypto.set_prototype(None)?;
    crypto.set(
        "random",
        Function::new(ctx.clone(), |ctx: Ctx<'js>, size: usize| {
            if size > RANDOM_BYTES_MAX {
                return Err(Exception::throw_range(&ctx, "more random bytes than are given at a time"));
            }
            let mut bytes = vec![0; size];
            SystemEntropy.fill(&mut bytes);
            array(&ctx, bytes)
        })?,
    )?;
    freeze(ctx, &crypto)?;
    Ok(crypto)
}
