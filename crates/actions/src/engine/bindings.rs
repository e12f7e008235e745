//! The host: what the runtime's JavaScript can ask of Rust.
//!
//! It is one frozen object without a prototype, handed to `runtime/bootstrap.js` and by it to the runtime's own files,
//! each of which is a CommonJS module `(exports, require, module, host)`. The Action never sees it. (If it ever got hold
//! of it, it could do nothing that it cannot do by `api`, `fetch` and `console`: what holds it is the process.)
//! `runtime/README.md` lists the functions.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use curfew_packages::{By, Kind, Target};
use rquickjs::function::Opt;
use rquickjs::{Array, Ctx, Exception, Function, Object, Persistent, Result, TypedArray, Value};

use super::{Shared, crypto, modules, raw, text};
use crate::calls::Request;
use crate::{CacheRequest, ConsoleLevel, FetchRequest};

/// Longest time that a timer waits: as in Node, what is longer waits a millisecond.
const TIMER_MS_MAX: f64 = 2_147_483_647.0;

/// Makes the host of a context.
pub(super) fn host<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>) -> Result<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    host.set_prototype(None)?;
    time(ctx, shared, &host)?;
    records(ctx, shared, &host)?;
    calls(ctx, shared, &host)?;
    files(ctx, shared, &host)?;
    host.set("crypto", crypto::functions(ctx)?)?;
    text::add(ctx, &host)?;
    freeze(ctx, &host)?;
    Ok(host)
}

/// `Object.freeze`, before the Action could have replaced it.
pub(super) fn freeze<'js>(ctx: &Ctx<'js>, object: &Object<'js>) -> Result<()> {
    let freeze: Function<'js> = ctx.globals().get::<_, Object<'js>>("Object")?.get("freeze")?;
    freeze.call((object.clone(),))
}

fn time<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>, host: &Object<'js>) -> Result<()> {
    let own = Rc::clone(shared);
    host.set("now", Function::new(ctx.clone(), move || own.now_ms())?)?;
    let own = Rc::clone(shared);
    host.set("elapsed", Function::new(ctx.clone(), move || own.elapsed_ms())?)?;
    let own = Rc::clone(shared);
    host.set(
        "setTimer",
        Function::new(
            ctx.clone(),
            move |ctx: Ctx<'js>, function: Function<'js>, delay_ms: f64, repeats: bool| {
                let delay_ms = if (1.0..=TIMER_MS_MAX).contains(&delay_ms) { delay_ms } else { 1.0 };
                let delay = Duration::from_secs_f64(delay_ms / 1000.0);
                own.set_timer(&ctx, function, delay, repeats).map(|id| id as f64)
            },
        )?,
    )?;
    let own = Rc::clone(shared);
    host.set("clearTimer", Function::new(ctx.clone(), move |id: f64| own.clear_timer(id as u64))?)
}

fn records<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>, host: &Object<'js>) -> Result<()> {
    let own = Rc::clone(shared);
    host.set(
        "log",
        Function::new(ctx.clone(), move |level: String, text: rquickjs::String<'js>| -> Result<()> {
            own.log(ConsoleLevel::find(&level).unwrap_or(ConsoleLevel::Log), &raw::text(&text)?);
            Ok(())
        })?,
    )?;
    let own = Rc::clone(shared);
    host.set(
        "record",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, command: rquickjs::String<'js>| {
            own.record(&ctx, raw::text(&command)?)
        })?,
    )?;
    let own = Rc::clone(shared);
    host.set("missing", Function::new(ctx.clone(), move || own.missing.set(true))?)
}

fn calls<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>, host: &Object<'js>) -> Result<()> {
    let own = Rc::clone(shared);
    host.set(
        "fetch",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, request: Object<'js>| {
            let mut headers = Vec::new();
            for header in request.get::<_, Array<'js>>("headers")?.iter::<Array<'js>>() {
                let header = header?;
                headers.push((header.get(0)?, header.get(1)?));
            }
            let body = request.get::<_, Value<'js>>("body")?;
            let request = FetchRequest {
                method: request.get("method")?,
                url: request.get("url")?,
                headers,
                body: Bytes::from(bytes_of(&ctx, &body)?),
            };
            asked(&ctx, own.ask(&ctx, Request::Fetch(request))?)
        })?,
    )?;
    let own = Rc::clone(shared);
    host.set("forget", Function::new(ctx.clone(), move |call: f64| own.forget(call as u64))?)?;
    let own = Rc::clone(shared);
    host.set(
        "cache",
        Function::new(
            ctx.clone(),
            move |ctx: Ctx<'js>,
                  op: String,
                  key: String,
                  value: Opt<String>,
                  ttl_ms: Opt<Value<'js>>,
                  expires_at_ms: Opt<Value<'js>>| {
                let request = match op.as_str() {
                    "get" => CacheRequest::Get { key },
                    "delete" => CacheRequest::Delete { key },
                    _ => CacheRequest::Set {
                        key,
                        value: value.0.unwrap_or_default(),
                        ttl_ms: whole(ttl_ms.0),
                        expires_at_ms: whole(expires_at_ms.0),
                    },
                };
                own.ask_now(&ctx, Request::Cache(request))
            },
        )?,
    )
}

/// `{ id, promise }`
fn asked<'js>(ctx: &Ctx<'js>, (id, promise): (u64, Value<'js>)) -> Result<Object<'js>> {
    let asked = Object::new(ctx.clone())?;
    asked.set_prototype(None)?;
    asked.set("id", id as f64)?;
    asked.set("promise", promise)?;
    Ok(asked)
}

fn whole(value: Option<Value<'_>>) -> Option<i64> {
    value.and_then(|value| value.as_number()).filter(|number| number.is_finite()).map(|number| number as i64)
}

/// A body: `undefined`, a string, or a `Uint8Array`.
fn bytes_of<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Vec<u8>> {
    if value.is_undefined() || value.is_null() {
        return Ok(Vec::new());
    }
    if let Some(text) = value.as_string() {
        return Ok(raw::text(text)?.into_bytes());
    }
    match value.as_object().and_then(Object::as_typed_array::<u8>) {
        Some(array) => raw::copy(ctx, array),
        None => Err(Exception::throw_type(ctx, "a body is a string or a Uint8Array")),
    }
}

fn files<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>, host: &Object<'js>) -> Result<()> {
    let own = Rc::clone(shared);
    host.set(
        "runtime",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, name: String| own.runtime.load(&ctx, &name))?,
    )?;
    let own = Rc::clone(shared);
    host.set(
        "resolve",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, from: String, specifier: String| {
            Ok::<_, rquickjs::Error>(own.find(&ctx, &from, &specifier, By::Require)?.map(
                |target| match target {
                    Target::File(path) => path.to_string(),
                    Target::Builtin(name) => format!("node:{name}"),
                },
            ))
        })?,
    )?;
    let own = Rc::clone(shared);
    host.set(
        "kind",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, path: String| {
            Ok::<_, rquickjs::Error>(own.kind(&ctx, &path)?.map(|kind| match kind {
                Kind::CommonJs => "commonjs",
                Kind::EsModule => "module",
                Kind::Json => "json",
            }))
        })?,
    )?;
    let own = Rc::clone(shared);
    host.set("load", Function::new(ctx.clone(), move |ctx: Ctx<'js>, path: String| own.load(&ctx, &path))?)?;
    let own = Rc::clone(shared);
    host.set("json", Function::new(ctx.clone(), move |ctx: Ctx<'js>, path: String| own.json(&ctx, &path))?)?;
    host.set(
        "import",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, path: String| modules::import(&ctx, &path))?,
    )?;
    let own = Rc::clone(shared);
    host.set(
        "setRequire",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, require: Function<'js>| {
            own.require.replace(Some(Persistent::save(&ctx, require)));
        })?,
    )
}

/// A new `Uint8Array`.
pub(super) fn array<'js>(ctx: &Ctx<'js>, bytes: Vec<u8>) -> Result<TypedArray<'js, u8>> {
    TypedArray::<u8>::new_copy(ctx.clone(), bytes)
}
