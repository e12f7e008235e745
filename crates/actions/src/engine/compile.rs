//! Bytecode, made beforehand: a context reads it ten times as fast as text.

use aws_lc_rs::digest::{SHA256, digest};
use curfew_packages::Kind;
use rquickjs::{Context, Ctx, Runtime};

use super::code::{compile_file, compile_runtime_files};
use super::memory::{Budget, Counted};
use super::{STACK_BYTES, raw};
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

/// Names the engine, for bytecode that is kept: with another name it means something else, or nothing.
///
/// An engine's own number may stay while its bytecode changes. So the name is over what it makes of all files of the
/// runtime's, which use whatever there is, and of a file of each kind with what is put around it.
pub(crate) fn engine_version(runtime: &[(String, Vec<u8>)]) -> Result<String, ActionError> {
    let probes = compile_files([
        (
            "probe.cjs",
            Kind::CommonJs,
            "exports.probe = async (a) => { for await (const b of a) yield_(b?.c ?? `${a}`); };",
        ),
        (
            "probe.mjs",
            Kind::EsModule,
            "import probe from './probe.cjs'; export default class extends probe { #a = 1n; }",
        ),
    ])?;
    let mut all = Vec::new();
    for (name, bytecode) in runtime.iter().chain(&probes) {
        for part in [name.as_bytes(), bytecode] {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
    }
    let digest: String =
        digest(&SHA256, &all).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("quickjs-{}-{}-{digest}", raw::version(), std::env::consts::ARCH))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_has_one_name_and_other_bytecode_another() {
        let runtime = compile_runtime().unwrap();
        assert_eq!(runtime, compile_runtime().unwrap(), "compiling makes the same of the same");
        let name = engine_version(&runtime).unwrap();
        assert_eq!(name, engine_version(&runtime).unwrap());
        assert!(name.starts_with("quickjs-") && name.len() < 100, "{name}");
        let mut other = runtime;
        *other[0].1.last_mut().unwrap() ^= 1;
        assert_ne!(name, engine_version(&other).unwrap());
    }
}
