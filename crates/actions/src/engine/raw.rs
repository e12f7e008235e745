//! Bytecode: what the safe interface of the engine does not offer for scripts.

use std::ffi::CString;

use rquickjs::context::EvalOptions;
use rquickjs::{Ctx, Error, Exception, Result, Value, qjs};

/// Evaluates a script as CommonJS is evaluated: sloppy unless it says otherwise.
pub(super) fn evaluate<'js>(ctx: &Ctx<'js>, name: &str, source: &str) -> Result<Value<'js>> {
    if source.contains('\0') {
        return Err(Exception::throw_syntax(ctx, "Invalid or unexpected token"));
    }
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(name.to_owned());
    ctx.eval_with_options(source, options)
}

/// The engine's own number.
#[expect(unsafe_code, reason = "the engine tells its version only through its C interface")]
pub(super) fn version() -> String {
    // SAFETY: it answers a constant text, which ends in a zero and lives for ever.
    unsafe { std::ffi::CStr::from_ptr(qjs::JS_GetVersion()) }.to_string_lossy().into_owned()
}

/// Compiles a script without running it.
#[expect(unsafe_code, reason = "the engine compiles scripts to bytecode only through its C interface")]
pub(super) fn compile(ctx: &Ctx<'_>, name: &str, source: &str) -> Result<Vec<u8>> {
    let (Ok(text), Ok(name)) = (CString::new(source), CString::new(name)) else {
        return Err(Exception::throw_syntax(ctx, "Invalid or unexpected token"));
    };
    let flags = (qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY).cast_signed();
    // SAFETY: the context is alive and locked for as long as `ctx` is; both strings end in a zero and outlive the call;
    // the value that comes back is owned by the `Value` made of it.
    let function = unsafe {
        let raw = qjs::JS_Eval(ctx.as_raw().as_ptr(), text.as_ptr(), source.len() as _, name.as_ptr(), flags);
        Value::from_raw(ctx.clone(), raw)
    };
    if function.is_exception() {
        return Err(Error::Exception);
    }
    let mut size = 0;
    let flags = (qjs::JS_WRITE_OBJ_BYTECODE | qjs::JS_WRITE_OBJ_STRIP_SOURCE).cast_signed();
    // SAFETY: as above; the block that comes back is `size` bytes long, is copied and then freed by the engine's own function.
    unsafe {
        let block = qjs::JS_WriteObject(ctx.as_raw().as_ptr(), &raw mut size, function.as_raw(), flags);
        if block.is_null() {
            return Err(Error::Exception);
        }
        let bytes = std::slice::from_raw_parts(block, size as usize).to_vec();
        qjs::js_free(ctx.as_raw().as_ptr(), block.cast());
        Ok(bytes)
    }
}

/// Runs a script that [`compile`] made.
///
/// # Safety
/// The engine trusts bytecode. The bytes must come from [`compile`] in this version of the engine: from this process, or
/// from the parent that had them compiled.
#[expect(unsafe_code, reason = "the engine reads bytecode only through its C interface")]
pub(super) unsafe fn run<'js>(ctx: &Ctx<'js>, bytecode: &[u8]) -> Result<Value<'js>> {
    let flags = qjs::JS_READ_OBJ_BYTECODE.cast_signed();
    // SAFETY: the context is alive and locked; the caller promises what the bytes are; `JS_EvalFunction` takes the value over.
    let value = unsafe {
        let function =
            qjs::JS_ReadObject(ctx.as_raw().as_ptr(), bytecode.as_ptr(), bytecode.len() as _, flags);
        if qjs::JS_VALUE_GET_TAG(function) == qjs::JS_TAG_EXCEPTION {
            return Err(Error::Exception);
        }
        Value::from_raw(ctx.clone(), qjs::JS_EvalFunction(ctx.as_raw().as_ptr(), function))
    };
    if value.is_exception() { Err(Error::Exception) } else { Ok(value) }
}

/// A string of the Action's as text. JavaScript's may hold halves of characters, which text cannot: they become `U+FFFD`.
pub(super) fn text(string: &rquickjs::String<'_>) -> Result<String> {
    if let Ok(text) = string.to_string() {
        return Ok(text);
    }
    Ok(String::from_utf8_lossy(&utf8(string)?).into_owned())
}

/// The bytes of a string. Half a character has three, which are no UTF-8.
#[expect(unsafe_code, reason = "the safe conversion fails where a string holds half a character")]
pub(super) fn utf8(string: &rquickjs::String<'_>) -> Result<Vec<u8>> {
    let bytes = string.clone().to_cstring()?;
    // SAFETY: the pointer and the length are those of one block, which lives as long as `bytes`.
    Ok(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), bytes.len()) }.to_vec())
}

/// The bytes of a `Uint8Array`, copied: the array may change or lose them the moment the Action runs again.
#[expect(unsafe_code, reason = "an array's bytes are a pointer into the engine's memory")]
pub(super) fn copy(ctx: &Ctx<'_>, array: &rquickjs::TypedArray<'_, u8>) -> Result<Vec<u8>> {
    // SAFETY: nothing of the Action's runs while the slice lives.
    match unsafe { array.as_bytes() } {
        Some(bytes) => Ok(bytes.to_vec()),
        None => Err(Exception::throw_type(ctx, "the array is detached")),
    }
}
