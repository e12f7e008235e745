//! Bytecode, made beforehand: a context reads it ten times as fast as text.

use curfew_packages::Kind;
use rquickjs::{Context, Ctx, Runtime};

use super::STACK_BYTES;
use super::code::{compile_file, compile_runtime_files};
use super::memory::{Budget, Counted};
use crate::ActionError;

/// What compiling may take.
const MEMORY_BYTES: usize = 512 << 20;
/// Bytecode of a set; what is beyond is loaded from its text.
const BYTECODE_BYTES_MAX: usize = 128 << 20;

/// The runtime's own files. They are the server's, so this may be done anywhere.
pub(crate) fn compile_runtime() -> Result<Vec<(String, Vec<u8>)>, ActionError> {
    in_context(|ctx| {
        compile_runtime_files(ctx).map_err(|error| ActionError::NotStarted { reason: error.to_string() })
    })
}

/// Files of packages. What does not compile is left out, and throws when it is loaded.
pub(crate) fn compile_files<'a>(
    files: impl IntoIterator<Item = (&'a str, Kind, &'a str)>,
) -> Result<Vec<(String, Vec<u8>)>, ActionError> {
    in_context(|ctx| {
        let mut compiled = Vec::new();
        let mut bytes = 0;
        for (path, kind, source) in files {
            match compile_file(ctx, path, kind, source) {
                Ok(Some(bytecode)) => {
                    bytes += bytecode.len();
                    if bytes > BYTECODE_BYTES_MAX {
                        break;
                    }
                    compiled.push((path.to_owned(), bytecode));
                }
                Ok(None) => {}
                Err(_) => drop(ctx.catch()),
            }
        }
        Ok(compiled)
    })
}

/// A context with nothing in it.
fn in_context<T>(work: impl FnOnce(&Ctx<'_>) -> Result<T, ActionError>) -> Result<T, ActionError> {
    let runtime =
        Runtime::new_with_alloc(Counted(Budget::new(MEMORY_BYTES))).map_err(|_| ActionError::OutOfMemory)?;
    runtime.set_max_stack_size(STACK_BYTES);
    let context = Context::full(&runtime).map_err(|_| ActionError::OutOfMemory)?;
    context.with(|ctx| work(&ctx))
}
