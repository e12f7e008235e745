//! The code that a context loads: the runtime's own files, the Action's, and those of its packages.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use curfew_packages::{By, Kind, Target};
use rquickjs::{Ctx, Exception, Function, Module, Object, Result, Value};

use super::{Shared, raw};
use crate::lookups::{Found, Lookup, NAME_BYTES_MAX};

/// The files of `runtime/`, by their names without `.js`.
const RUNTIME: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runtime.rs"));

/// Before a file of the runtime's: it is a CommonJS module that is also handed the host.
const RUNTIME_HEAD: &str = "(function (exports, require, module, host) {";
/// Before a CommonJS file of the Action's. On its first line, so that lines keep their numbers.
const FILE_HEAD: &str = "(function (exports, require, module, __filename, __dirname) {";
/// Columns of a stack that a CommonJS file's first line does not have by itself.
pub const FIRST_LINE_COLUMNS: usize = FILE_HEAD.len();
/// After either.
const TAIL: &str = "\n})";

/// The Action's own file, as stacks name it.
pub const ACTION_FILE: &str = "action.js";
/// Before the name of an Actions module.
pub const MODULE_PREFIX: &str = "actions:";
/// Answers about packages that a worker remembers.
const REMEMBERED_MAX: usize = 50_000;

/// Text, or what the engine made of it before.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Text(Arc<str>),
    /// Made by [`compile_file`] in the parent's name: never taken from anywhere else.
    Bytecode(Bytes),
}

/// The runtime's files, compiled or not.
#[derive(Clone, Debug)]
pub(crate) enum RuntimeCode {
    Text,
    /// Made by [`compile_runtime_files`]: never taken from anywhere else.
    Bytecode(Rc<BTreeMap<String, Bytes>>),
}

impl RuntimeCode {
    /// The wrapper function of one file.
    pub(super) fn load<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Function<'js>> {
        let compiled = match self {
            Self::Text => None,
            Self::Bytecode(files) => files.get(name),
        };
        let value = match compiled {
            Some(bytecode) => run_bytecode(ctx, bytecode)?,
            None => raw::evaluate(ctx, &runtime_name(name), &runtime_source(ctx, name)?)?,
        };
        value.into_function().ok_or(rquickjs::Error::Unknown)
    }
}

fn runtime_name(name: &str) -> String {
    format!("curfew:{name}")
}

fn runtime_source(ctx: &Ctx<'_>, name: &str) -> Result<String> {
    match RUNTIME.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Ok(format!("{RUNTIME_HEAD}{text}{TAIL}")),
        None => Err(Exception::throw_message(ctx, &format!("the runtime has no file {name}"))),
    }
}

/// Compiles every file of the runtime's.
pub(super) fn compile_runtime_files(ctx: &Ctx<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    RUNTIME
        .iter()
        .map(|(name, _)| {
            let source = runtime_source(ctx, name)?;
            Ok(((*name).to_owned(), raw::compile(ctx, &runtime_name(name), &source)?))
        })
        .collect()
}

#[expect(unsafe_code, reason = "bytecode reaches a context only in a `Source` or a `RuntimeCode`")]
fn run_bytecode<'js>(ctx: &Ctx<'js>, bytecode: &Bytes) -> Result<Value<'js>> {
    // SAFETY: `Source` and `RuntimeCode` say where their bytecode comes from.
    unsafe { raw::run(ctx, bytecode) }
}

/// A CommonJS file as a script that evaluates to its wrapper.
fn wrapped(source: &str) -> String {
    // A line for the shell is none for us.
    let comment = if source.starts_with("#!") { "//" } else { "" };
    format!("{FILE_HEAD}{comment}{source}{TAIL}")
}

/// Compiles a file of a package's.
pub(super) fn compile_file(ctx: &Ctx<'_>, path: &str, kind: Kind, source: &str) -> Result<Option<Vec<u8>>> {
    match kind {
        Kind::CommonJs => raw::compile(ctx, path, &wrapped(source)).map(Some),
        Kind::EsModule => {
            let options = rquickjs::module::WriteOptions { strip_source: true, ..Default::default() };
            Module::declare(ctx.clone(), path, source)?.write(options).map(Some)
        }
        Kind::Json => Ok(None),
    }
}

/// One program: the Action, its modules, its packages.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) action: Arc<str>,
    pub(crate) modules: BTreeMap<String, Arc<str>>,
    pub(crate) packages: Rc<Packages>,
}

/// What is known of a program's packages without asking.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    files: RefCell<HashMap<String, (Kind, Source)>>,
    targets: RefCell<HashMap<(String, String, By), Target>>,
}

impl Packages {
    pub(crate) fn new(
        files: HashMap<String, (Kind, Source)>,
        targets: HashMap<(String, String, By), Target>,
    ) -> Self {
        Self { files: RefCell::new(files), targets: RefCell::new(targets) }
    }
}

impl Shared {
    /// What a specifier means in a file.
    pub(super) fn resolve(&self, ctx: &Ctx<'_>, from: &str, specifier: &str, by: By) -> Result<Target> {
        self.target(ctx, from, specifier, by)?
            .map_err(|(code, message)| throw_with_code(ctx, &message, &code))
    }

    /// What it means, or nothing where there is no such module.
    pub(super) fn find(&self, ctx: &Ctx<'_>, from: &str, specifier: &str, by: By) -> Result<Option<Target>> {
        match self.target(ctx, from, specifier, by)? {
            Ok(target) => Ok(Some(target)),
            Err((code, _)) if code == "MODULE_NOT_FOUND" => Ok(None),
            Err((code, message)) => Err(throw_with_code(ctx, &message, &code)),
        }
    }

    /// What it means, or why it means nothing: code and text.
    fn target(
        &self,
        ctx: &Ctx<'_>,
        from: &str,
        specifier: &str,
        by: By,
    ) -> Result<std::result::Result<Target, (String, String)>> {
        let code = self.code()?;
        let from = if from == ACTION_FILE || from.starts_with(MODULE_PREFIX) { "" } else { from };
        let key = (from.to_owned(), specifier.to_owned(), by);
        if let Some(target) = code.packages.targets.borrow().get(&key) {
            return Ok(Ok(target.clone()));
        }
        match self.look_up(ctx, &Lookup::Resolve { from, specifier, by })? {
            Found::Target(target) => {
                let mut targets = code.packages.targets.borrow_mut();
                if targets.len() < REMEMBERED_MAX {
                    targets.insert(key, target.clone());
                }
                Ok(Ok(target))
            }
            Found::NoTarget(code, message) => Ok(Err((code, message))),
            Found::Source(..) | Found::NoSource => Err(rquickjs::Error::Unknown),
        }
    }

    /// A file of the packages.
    pub(super) fn file(&self, ctx: &Ctx<'_>, path: &str) -> Result<Option<(Kind, Source)>> {
        let code = self.code()?;
        if let Some(file) = code.packages.files.borrow().get(path) {
            return Ok(Some(file.clone()));
        }
        match self.look_up(ctx, &Lookup::Source { path })? {
            Found::Source(kind, text) => {
                let file = (kind, Source::Text(text));
                code.packages.files.borrow_mut().insert(path.to_owned(), file.clone());
                Ok(Some(file))
            }
            _ => Ok(None),
        }
    }

    fn look_up(&self, ctx: &Ctx<'_>, lookup: &Lookup<'_>) -> Result<Found> {
        let longest = match lookup {
            Lookup::Resolve { from, specifier, .. } => from.len().max(specifier.len()),
            Lookup::Source { path } => path.len(),
        };
        if longest > NAME_BYTES_MAX || !self.run.borrow_mut().may_look_up() {
            return Err(Exception::throw_range(ctx, "the Action looks for more modules than it may"));
        }
        match self.outside.borrow_mut().look_up(lookup) {
            Ok(found) => Ok(found),
            Err(super::Gone) => Err(Exception::throw_message(ctx, "nobody answers")),
        }
    }

    /// The wrapper of a CommonJS file: of `action.js`, of `actions:NAME`, or of a package's file.
    pub(super) fn load<'js>(&self, ctx: &Ctx<'js>, path: &str) -> Result<Function<'js>> {
        let text = |source: &str| raw::evaluate(ctx, path, &wrapped(source));
        let code = self.code()?;
        let value = if path == ACTION_FILE {
            text(&code.action)?
        } else if let Some(module) = code.module(path) {
            text(module)?
        } else {
            match self.file(ctx, path)? {
                Some((Kind::CommonJs, Source::Text(source))) => text(&source)?,
                Some((Kind::CommonJs, Source::Bytecode(bytecode))) => run_bytecode(ctx, &bytecode)?,
                _ => return Err(Exception::throw_message(ctx, &format!("{path} is no CommonJS file"))),
            }
        };
        // Code that closes the wrapper by itself evaluates to something else.
        match value.into_function() {
            Some(function) => Ok(function),
            None => Err(Exception::throw_syntax(ctx, "Unexpected token '}'")),
        }
    }

    /// Declares an ECMAScript module of the packages.
    #[expect(unsafe_code, reason = "bytecode reaches a context only in a `Source`")]
    pub(super) fn declare<'js>(&self, ctx: &Ctx<'js>, path: &str, source: &Source) -> Result<Module<'js>> {
        match source {
            Source::Text(text) => Module::declare(ctx.clone(), path, &**text),
            // SAFETY: `Source` says where its bytecode comes from.
            Source::Bytecode(bytecode) => unsafe { Module::load(ctx.clone(), bytecode) },
        }
    }

    /// What `path` is: `action.js` and the Actions modules are CommonJS.
    pub(super) fn kind(&self, ctx: &Ctx<'_>, path: &str) -> Result<Option<Kind>> {
        if path == ACTION_FILE || self.code()?.module(path).is_some() {
            return Ok(Some(Kind::CommonJs));
        }
        Ok(self.file(ctx, path)?.map(|(kind, _)| kind))
    }

    /// The value of a JSON file.
    pub(super) fn json<'js>(&self, ctx: &Ctx<'js>, path: &str) -> Result<Value<'js>> {
        match self.file(ctx, path)? {
            Some((Kind::Json, Source::Text(text))) => ctx.json_parse(text.trim_start_matches('\u{feff}')),
            _ => Err(Exception::throw_message(ctx, &format!("{path} is no JSON file"))),
        }
    }
}

impl Code {
    /// An Actions module by its name with `actions:`.
    fn module(&self, name: &str) -> Option<&Arc<str>> {
        self.modules.get(name.strip_prefix(MODULE_PREFIX)?)
    }
}

/// Throws an error as Node's are, with a `code`.
fn throw_with_code(ctx: &Ctx<'_>, message: &str, code: &str) -> rquickjs::Error {
    let error = Exception::from_message(ctx.clone(), message).and_then(|error| {
        let object: &Object<'_> = error.as_object();
        object.set("code", code)?;
        Ok(error)
    });
    match error {
        Ok(error) => error.throw(),
        Err(error) => error,
    }
}
