//! The child process: confines itself, then serves its parent until that closes the socket.

mod confine;
mod link;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use curfew_model::Timestamp;
use curfew_packages::{By, Kind, Target};

pub use confine::{Confinement, Enforced, Wall, put_up};
use link::{Link, Lost};

use crate::ActionError;
use crate::engine::{Code, Engine, Outcome, Packages, RuntimeCode, Source, Start, compile_files};
use crate::protocol::{FromWorker, PackageFile, Run, ToWorker, parts, text};

/// Contexts that are kept warm at most.
const CONTEXTS_MAX: usize = 64;
/// The command's exit code when what it was told made no sense.
const CONFUSED: u8 = 2;

/// What `curfew action-worker` does. Speaks with its parent over its standard input, which is a socket.
pub fn main() -> ExitCode {
    let confinement = put_up(&Wall::ALL);
    let link = Rc::new(RefCell::new(Link::new()));
    let ready = link.borrow_mut().send(&FromWorker::Ready { confinement }, &[]);
    match ready.and_then(|()| serve(&link)) {
        Ok(()) | Err(Lost::Closed) => ExitCode::SUCCESS,
        Err(Lost::Confused) => ExitCode::from(CONFUSED),
    }
}

/// What the worker holds.
struct Worker {
    link: Rc<RefCell<Link>>,
    runtime: RuntimeCode,
    contexts_bytes_max: usize,
    /// Of the first execution. There is no second one.
    tenant: Option<u64>,
    packages: HashMap<String, Rc<Packages>>,
    programs: HashMap<String, Rc<Code>>,
    /// The one that ran last is the last.
    contexts: Vec<(String, Engine)>,
    /// A context without a program, for the next one.
    spare: Option<Engine>,
}

fn serve(link: &Rc<RefCell<Link>>) -> Result<(), Lost> {
    let first = link.borrow_mut().receive()?;
    let (files, contexts_bytes_max, body) = match first {
        (ToWorker::Start { files, contexts_bytes_max }, body) => (files, contexts_bytes_max, body),
        (ToWorker::Compile { cpu_seconds, files }, body) => return compile(link, cpu_seconds, files, body),
        _ => return Err(Lost::Confused),
    };
    let mut worker = Worker {
        link: Rc::clone(link),
        runtime: RuntimeCode::Bytecode(Rc::new(named(files, body)?.into_iter().collect())),
        contexts_bytes_max,
        tenant: None,
        packages: HashMap::new(),
        programs: HashMap::new(),
        contexts: Vec::new(),
        spare: None,
    };
    loop {
        // Whatever there is time for, before anybody waits.
        if !link.borrow_mut().has_more()? {
            worker.prepare();
        }
        let (told, body) = link.borrow_mut().receive()?;
        match told {
            ToWorker::Packages { digest, files, resolutions } => {
                worker.add_packages(digest, files, resolutions, body)?;
            }
            ToWorker::Program { id, packages, code_bytes, modules } => {
                worker.add_program(id, packages, code_bytes, modules, body)?;
            }
            ToWorker::Run(run) => worker.run(&run, &body)?,
            // Answers to an execution that is over.
            ToWorker::Fetched { .. } | ToWorker::NotFetched { .. } | ToWorker::Cached { .. } => {}
            ToWorker::Start { .. }
            | ToWorker::Compile { .. }
            | ToWorker::Resolved { .. }
            | ToWorker::NotResolved { .. }
            | ToWorker::Source { .. } => return Err(Lost::Confused),
        }
    }
}

/// The parts of a body by their names.
fn named(lengths: Vec<(String, usize)>, body: Bytes) -> Result<Vec<(String, Bytes)>, Lost> {
    let bodies = parts(body, lengths.iter().map(|(_, length)| *length))?;
    Ok(lengths.into_iter().map(|(name, _)| name).zip(bodies).collect())
}

impl Worker {
    /// Makes the context of a program that is not known yet.
    fn prepare(&mut self) {
        if self.spare.is_none() {
            self.spare = self.new_context().ok();
        }
    }

    fn new_context(&self) -> Result<Engine, ActionError> {
        let link = Rc::clone(&self.link);
        Engine::new(self.runtime.clone(), link, crate::Limits::default().memory_bytes)
    }

    fn add_packages(
        &mut self,
        digest: String,
        files: Vec<PackageFile>,
        resolutions: BTreeMap<String, BTreeMap<String, Target>>,
        body: Bytes,
    ) -> Result<(), Lost> {
        let bodies = parts(body, files.iter().map(|file| file.bytes))?;
        let mut known = HashMap::new();
        for (file, body) in files.into_iter().zip(bodies) {
            let source =
                if file.compiled { Source::Bytecode(body) } else { Source::Text(text(&body)?.into()) };
            known.insert(file.path, (file.kind, source));
        }
        let mut targets = HashMap::new();
        for (from, specifiers) in resolutions {
            let by = match known.get(&from) {
                Some((Kind::EsModule, _)) => By::Import,
                _ => By::Require,
            };
            for (specifier, target) in specifiers {
                targets.insert((from.clone(), specifier, by), target);
            }
        }
        self.packages.insert(digest, Rc::new(Packages::new(known, targets)));
        Ok(())
    }

    fn add_program(
        &mut self,
        id: String,
        packages: Option<String>,
        code_bytes: usize,
        modules: Vec<(String, usize)>,
        mut body: Bytes,
    ) -> Result<(), Lost> {
        let packages = match packages {
            Some(digest) => Rc::clone(self.packages.get(&digest).ok_or(Lost::Confused)?),
            None => Rc::default(),
        };
        if code_bytes > body.len() {
            return Err(Lost::Confused);
        }
        let action = text(&body.split_to(code_bytes))?.into();
        let modules = named(modules, body)?
            .into_iter()
            .map(|(name, code)| Ok((name, text(&code)?.into())))
            .collect::<Result<BTreeMap<_, _>, Lost>>()?;
        self.programs.insert(id, Rc::new(Code { action, modules, packages }));
        Ok(())
    }

    fn run(&mut self, run: &Run, event: &Bytes) -> Result<(), Lost> {
        // The parent keeps to it; this is the worker's own look.
        if *self.tenant.get_or_insert(run.tenant) != run.tenant {
            return Err(Lost::Confused);
        }
        let event = text(event)?;
        self.link.borrow_mut().begin(run.number);
        let mut context = match self.context(&run.program)? {
            Ok(context) => context,
            Err(error) => return self.finish(run.number, Outcome::failed(error)),
        };
        // Beyond the engine's own limit, which hostile code may not let it notice.
        alarm(run.limits.cpu.saturating_add(run.limits.grace));
        let outcome = context.run(&Start {
            trigger: run.trigger,
            function: &run.function,
            event,
            secrets: &run.secrets,
            now: Timestamp::from_micros(run.now_us),
            limits: run.limits,
        });
        alarm(Duration::ZERO);
        let outcome = outcome.map_err(|_| Lost::Closed)?;
        let reusable = outcome.reusable;
        self.finish(run.number, outcome)?;
        if reusable {
            self.contexts.push((run.program.clone(), context));
            self.shed();
        }
        Ok(())
    }

    /// The context of a program: the warm one, or a new one.
    fn context(&mut self, program: &str) -> Result<Result<Engine, ActionError>, Lost> {
        if let Some(at) = self.contexts.iter().position(|(id, _)| id == program) {
            return Ok(Ok(self.contexts.remove(at).1));
        }
        let code = Rc::clone(self.programs.get(program).ok_or(Lost::Confused)?);
        let context = match self.spare.take() {
            Some(context) => Ok(context),
            None => self.new_context(),
        };
        Ok(context.map(|context| context.with_code(code)))
    }

    /// Gives up the contexts that ran longest ago, until the others are few and small enough.
    fn shed(&mut self) {
        let mut bytes: usize = self.contexts.iter().map(|(_, context)| context.memory_bytes()).sum();
        let mut gone = 0;
        for (_, context) in &self.contexts {
            if self.contexts.len() - gone <= CONTEXTS_MAX && bytes <= self.contexts_bytes_max {
                break;
            }
            bytes -= context.memory_bytes();
            gone += 1;
        }
        self.contexts.drain(..gone);
    }

    fn finish(&self, number: u64, outcome: Outcome) -> Result<(), Lost> {
        let commands: Vec<&[u8]> = outcome.commands.iter().map(String::as_bytes).collect();
        let finished = FromWorker::Finished {
            number,
            error: outcome.result.err(),
            commands: commands.iter().map(|command| command.len()).collect(),
            console: outcome.console,
            console_dropped: outcome.console_dropped,
        };
        self.link.borrow_mut().send(&finished, &commands)
    }
}

/// Compiles files. What does not compile is left out: it says so when it is loaded.
fn compile(
    link: &Rc<RefCell<Link>>,
    cpu_seconds: u32,
    files: Vec<(String, Kind, usize)>,
    body: Bytes,
) -> Result<(), Lost> {
    alarm(Duration::from_secs(cpu_seconds.into()));
    let bodies = parts(body, files.iter().map(|(_, _, bytes)| *bytes))?;
    let sources = files
        .iter()
        .zip(&bodies)
        .map(|((path, kind, _), body)| Ok((path.as_str(), *kind, text(body)?)))
        .collect::<Result<Vec<_>, Lost>>()?;
    let compiled = compile_files(sources).map_err(|_| Lost::Confused)?;
    let bodies: Vec<&[u8]> = compiled.iter().map(|(_, bytecode)| bytecode.as_slice()).collect();
    let files = compiled.iter().map(|(path, bytecode)| (path.clone(), bytecode.len())).collect();
    link.borrow_mut().send(&FromWorker::Compiled { files }, &bodies)
}

/// Has the kernel end this process after so much processor time; never, where that is nothing.
#[expect(unsafe_code, reason = "no safe interface sets this timer")]
fn alarm(time: Duration) {
    let value = libc::timeval {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_usec: time.subsec_micros() as libc::suseconds_t,
    };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    // SAFETY: the new value is read, and the old one is not asked for. Nobody handles SIGPROF, so it ends the process.
    unsafe {
        libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut());
    }
}
