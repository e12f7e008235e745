//! ECMAScript modules: what a specifier means in them, and how they meet CommonJS.
//!
//! A module that is none (a built-in one, a CommonJS file, data) is loaded by the runtime's `require` and dressed as a
//! module with a default export and one export for each of its properties.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;

use curfew_packages::{By, Kind, Target};
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Exception, Filter, Module, Object, Result, Value};

use super::Shared;

/// Before the path of a file that is known already.
const KNOWN: &str = "curfew:file:";

/// What specifiers mean.
pub(super) struct Names(pub(super) Rc<Shared>);

impl Resolver for Names {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        if let Some(path) = name.strip_prefix(KNOWN) {
            return Ok(path.to_owned());
        }
        if name.starts_with("actions:") {
            return Ok(name.to_owned());
        }
        match self.0.resolve(ctx, base, name, By::Import)? {
            Target::File(path) => Ok(path.to_string()),
            Target::Builtin(name) => Ok(format!("node:{name}")),
        }
    }
}

/// What they load.
pub(super) struct Files(pub(super) Rc<Shared>);

impl Loader for Files {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        if !name.contains(':')
            && let Some((Kind::EsModule, source)) = self.0.file(ctx, name)?
        {
            return self.0.declare(ctx, name, &source);
        }
        dressed(ctx, name, required(ctx, &self.0, name)?)
    }
}

/// What the runtime's `require` gives for a module that is resolved already.
fn required<'js>(ctx: &Ctx<'js>, shared: &Shared, name: &str) -> Result<Value<'js>> {
    let require = shared.require.borrow().clone();
    match require {
        Some(require) => require.restore(ctx)?.call((name,)),
        None => Err(Exception::throw_message(ctx, &format!("Cannot find module '{name}'"))),
    }
}

/// A module around the exports of something that is none.
fn dressed<'js>(ctx: &Ctx<'js>, name: &str, exports: Value<'js>) -> Result<Module<'js, Declared>> {
    let mut source = String::from("const exports = import.meta.exports;\nexport default exports;\n");
    if let Some(object) = exports.as_object() {
        for (number, key) in object.own_keys::<String>(Filter::new().string().enum_only()).enumerate() {
            let Ok(key) = key else { continue };
            if key != "default" && is_identifier(&key) {
                let _ = writeln!(source, "const v{number} = exports.{key}; export {{ v{number} as {key} }};");
            }
        }
    }
    let module = Module::declare(ctx.clone(), name, source)?;
    module.meta()?.set("exports", exports)?;
    Ok(module)
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_' || first == '$')
        && characters.all(|next| next.is_ascii_alphanumeric() || next == '_' || next == '$')
}

thread_local! {
    static TRAMPOLINES: Cell<u64> = const { Cell::new(0) };
}

/// Loads an ECMAScript module at once, as Node's `require` does. The same module is loaded once, whoever asks.
pub(super) fn import<'js>(ctx: &Ctx<'js>, path: &str) -> Result<Value<'js>> {
    // The engine knows its modules by name, and looks there only for what a module imports.
    let number = TRAMPOLINES.replace(TRAMPOLINES.get() + 1);
    let specifier = serde_json::to_string(&format!("{KNOWN}{path}")).map_err(|_| rquickjs::Error::Unknown)?;
    let source = format!("import * as loaded from {specifier}; export {{ loaded }};");
    let (module, evaluated) =
        Module::declare(ctx.clone(), format!("curfew:require:{number}"), source)?.eval()?;
    match evaluated.state() {
        PromiseState::Resolved => Object::get(&module.namespace()?, "loaded"),
        PromiseState::Rejected => match evaluated.result::<Value<'js>>() {
            Some(Err(error)) => Err(error),
            _ => Err(rquickjs::Error::Unknown),
        },
        PromiseState::Pending => Err(Exception::throw_message(
            ctx,
            &format!(
                "require() cannot be used on {path}, which awaits at its top level. Use import() instead."
            ),
        )),
    }
}
