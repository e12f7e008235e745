//! The code that a context loads: the runtime's own files, the Action's, and those of its packages.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use rquickjs::{Ctx, Exception, Function, Module, Result};

use super::raw;
use crate::{FileKind, PackageSet, Target};

/// The files of `runtime/`, by their names without `.js`.
pub(crate) const RUNTIME: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runtime.rs"));

/// Before and after a file of the runtime's: it is a CommonJS module that is also handed the host.
const RUNTIME_HEAD: &str = "(function (exports, require, module, host) {";
/// Before and after a CommonJS file of the Action's. On its first line, so that lines keep their numbers.
const FILE_HEAD: &str = "(function (exports, require, module, __filename, __dirname) {";
const TAIL: &str = "\n})";

/// The Action's own file, as stacks name it.
pub(crate) const ACTION_FILE: &str = "action.js";

/// Text, or what the engine made of it before.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Text(Arc<str>),
    #[expect(dead_code, reason = "for workers, which are sent bytecode")]
    /// Made by [`compile_file`] or [`compile_runtime`] in the parent's name: never taken from anywhere else.
    Bytecode(Bytes),
}

/// The runtime's files, compiled or not.
#[derive(Clone, Debug)]
pub(crate) enum RuntimeCode {
    Text,
    #[expect(dead_code, reason = "for workers, which are sent bytecode")]
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
#[expect(dead_code, reason = "for workers, which are sent bytecode")]
pub(crate) fn compile_runtime(ctx: &Ctx<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    RUNTIME
        .iter()
        .map(|(name, _)| {
            let source = runtime_source(ctx, name)?;
            Ok(((*name).to_owned(), raw::compile(ctx, &runtime_name(name), &source)?))
        })
        .collect()
}

#[expect(unsafe_code, reason = "bytecode reaches a context only in a `Source` or a `RuntimeCode`")]
fn run_bytecode<'js>(ctx: &Ctx<'js>, bytecode: &Bytes) -> Result<rquickjs::Value<'js>> {
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
#[expect(dead_code, reason = "for workers, which are sent bytecode")]
pub(crate) fn compile_file(
    ctx: &Ctx<'_>,
    path: &str,
    kind: FileKind,
    source: &str,
) -> Result<Option<Vec<u8>>> {
    match kind {
        FileKind::CommonJs => raw::compile(ctx, path, &wrapped(source)).map(Some),
        FileKind::EsModule => {
            let options = rquickjs::module::WriteOptions { strip_source: true, ..Default::default() };
            Module::declare(ctx.clone(), path, source)?.write(options).map(Some)
        }
        FileKind::Json => Ok(None),
    }
}

/// One program: the Action, its modules, its packages.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) action: Arc<str>,
    pub(crate) modules: BTreeMap<String, Arc<str>>,
    pub(crate) packages: Option<Rc<Packages>>,
}

/// The packages of a program.
#[derive(Debug)]
pub(crate) struct Packages {
    pub(crate) files: HashMap<String, (FileKind, Source)>,
    pub(crate) resolutions: HashMap<String, HashMap<String, Target>>,
}

impl Packages {
    pub(crate) fn of(set: &PackageSet) -> Self {
        let files = set
            .files
            .iter()
            .map(|(path, file)| (path.clone(), (file.kind, Source::Text(Arc::clone(&file.source)))))
            .collect();
        let mut resolutions: HashMap<String, HashMap<String, Target>> = HashMap::new();
        for ((from, specifier), target) in &set.resolutions {
            resolutions.entry(from.clone()).or_default().insert(specifier.clone(), target.clone());
        }
        Self { files, resolutions }
    }
}

impl Code {
    /// What a specifier in the file `from` means; nothing for what no package resolves.
    pub(super) fn resolve(&self, from: &str, specifier: &str) -> Option<&Target> {
        let from = if from == ACTION_FILE || self.is_module(from) { "" } else { from };
        self.packages.as_ref()?.resolutions.get(from)?.get(specifier)
    }

    fn is_module(&self, name: &str) -> bool {
        name.strip_prefix("actions:").is_some_and(|name| self.modules.contains_key(name))
    }

    /// A file of the packages.
    pub(super) fn file(&self, path: &str) -> Option<&(FileKind, Source)> {
        self.packages.as_ref()?.files.get(path)
    }

    /// The wrapper of a CommonJS file: of `action.js`, of `actions:NAME`, or of a package's file.
    pub(super) fn load<'js>(&self, ctx: &Ctx<'js>, path: &str) -> Result<Function<'js>> {
        let text = |source: &str| raw::evaluate(ctx, path, &wrapped(source));
        let value = if path == ACTION_FILE {
            text(&self.action)?
        } else if let Some(module) = path.strip_prefix("actions:").and_then(|name| self.modules.get(name)) {
            text(module)?
        } else {
            match self.file(path) {
                Some((FileKind::CommonJs, Source::Text(source))) => text(source)?,
                Some((FileKind::CommonJs, Source::Bytecode(bytecode))) => run_bytecode(ctx, bytecode)?,
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
    pub(super) fn declare<'js>(&self, ctx: &Ctx<'js>, path: &str) -> Result<Module<'js>> {
        match self.file(path) {
            Some((FileKind::EsModule, Source::Text(source))) => Module::declare(ctx.clone(), path, &**source),
            // SAFETY: `Source` says where its bytecode comes from.
            Some((FileKind::EsModule, Source::Bytecode(bytecode))) => unsafe {
                Module::load(ctx.clone(), bytecode)
            },
            _ => Err(Exception::throw_message(ctx, &format!("{path} is no ECMAScript module"))),
        }
    }

    /// What `path` is: `action.js` and the Actions modules are CommonJS.
    pub(super) fn kind(&self, path: &str) -> Option<FileKind> {
        if path == ACTION_FILE || self.is_module(path) {
            return Some(FileKind::CommonJs);
        }
        self.file(path).map(|(kind, _)| *kind)
    }

    /// The value of a JSON file.
    pub(super) fn json<'js>(&self, ctx: &Ctx<'js>, path: &str) -> Result<rquickjs::Value<'js>> {
        match self.file(path) {
            Some((FileKind::Json, Source::Text(text))) => ctx.json_parse(text.trim_start_matches('\u{feff}')),
            _ => Err(Exception::throw_message(ctx, &format!("{path} is no JSON file"))),
        }
    }
}
