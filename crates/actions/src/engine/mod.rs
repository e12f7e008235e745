//! QuickJS, one context for one program.
//!
//! Everything here runs on one thread and may take as long as the tenant's code likes: between two looks at the clock
//! the engine can be busy for seconds in one of its own functions. So outside tests it runs in a worker process only.

mod bindings;
pub(crate) mod clock;
mod code;
mod compile;
mod crypto;
mod errors;
mod memory;
mod modules;
mod raw;
mod state;
mod text;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use curfew_model::{Secret, Timestamp};
use rquickjs::promise::PromiseState;
use rquickjs::{Context, Ctx, Function, Object, Persistent, Promise, Runtime, Value};

pub use code::{ACTION_FILE, FIRST_LINE_COLUMNS, MODULE_PREFIX};
pub(crate) use code::{Code, Packages, RuntimeCode, Source};
pub(crate) use compile::{compile_files, compile_runtime, engine_version};
use memory::{Budget, Counted};
use state::{Run, Watch};

use crate::calls::{Answer, Request};
use crate::lookups::{Found, Lookup};
use crate::{ActionError, ActionTrigger, ConsoleLine, Limits};

/// Most bytes of the C stack that a context uses; the thread must have more.
pub(crate) const STACK_BYTES: usize = 1 << 20;
/// Jobs of a finished execution that may still run, so that what it left does not run in the next one.
const LEFT_JOBS_MAX: usize = 1000;
/// Jobs between two looks at the clock.
const JOBS_AT_ONCE: usize = 64;

/// The way out of the context.
pub(crate) trait Outside {
    /// Sends a request; its answer comes by `next`.
    fn ask(&mut self, call: u64, request: Request);
    /// Nobody waits for this answer any more.
    fn forget(&mut self, call: u64);
    /// Waits for an answer until an instant of [`clock::monotonic`]. `None`: there is none yet.
    ///
    /// # Errors
    /// The parent is gone, or speaks nonsense: there is nobody left to work for.
    fn next(&mut self, until: Duration) -> Result<Option<(u64, Answer)>, Gone>;
    /// Asks about the program's packages, and waits for the answer.
    ///
    /// # Errors
    /// As in [`Self::next`].
    fn look_up(&mut self, lookup: &Lookup<'_>) -> Result<Found, Gone>;
}

/// There is no parent any more.
#[derive(Debug)]
pub(crate) struct Gone;

/// What the context's functions share with the loop around them.
pub(crate) struct Shared {
    /// Set once, when the context gets its program.
    code: OnceCell<Rc<Code>>,
    runtime: RuntimeCode,
    watch: Watch,
    budget: Rc<Budget>,
    run: RefCell<Run>,
    outside: Rc<RefCell<dyn Outside>>,
    /// Whether the program does not export what was to be called.
    missing: Cell<bool>,
    /// The `require` of modules that are no ECMAScript modules.
    require: RefCell<Option<Persistent<Function<'static>>>>,
}

/// One execution, as the engine sees it.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) trigger: ActionTrigger,
    pub(crate) function: &'a str,
    pub(crate) event: &'a str,
    pub(crate) secrets: &'a BTreeMap<String, Secret<String>>,
    pub(crate) now: Timestamp,
    pub(crate) limits: Limits,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<(), ActionError>,
    pub(crate) commands: Vec<String>,
    pub(crate) console: Vec<ConsoleLine>,
    pub(crate) console_dropped: u64,
    /// Whether the context can serve another execution.
    pub(crate) reusable: bool,
}

impl Shared {
    /// The program. The runtime's own files are loaded before there is one, and ask for none.
    fn code(&self) -> rquickjs::Result<&Code> {
        self.code.get().map(Rc::as_ref).ok_or(rquickjs::Error::Unknown)
    }
}

impl Outcome {
    /// An execution that never began.
    pub(crate) fn failed(error: ActionError) -> Self {
        Self {
            result: Err(error),
            commands: Vec::new(),
            console: Vec::new(),
            console_dropped: 0,
            reusable: false,
        }
    }
}

/// A context with one program in it, loaded at the first execution.
pub(crate) struct Engine {
    // Dropped in this order: what holds values, the context, the runtime.
    entry: Option<Persistent<Function<'static>>>,
    shared: Rc<Shared>,
    context: Context,
    runtime: Runtime,
}

impl Engine {
    /// Makes a context without a program.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn new(
        runtime_code: RuntimeCode,
        outside: Rc<RefCell<dyn Outside>>,
        memory_bytes: usize,
    ) -> Result<Self, ActionError> {
        let budget = Budget::new(memory_bytes);
        let out_of_memory = |_| ActionError::OutOfMemory;
        let runtime = Runtime::new_with_alloc(Counted(Rc::clone(&budget))).map_err(out_of_memory)?;
        runtime.set_max_stack_size(STACK_BYTES);
        let context = Context::full(&runtime).map_err(out_of_memory)?;
        let shared = Rc::new(Shared {
            code: OnceCell::new(),
            runtime: runtime_code,
            watch: Watch::new(),
            budget,
            run: RefCell::new(Run::default()),
            outside,
            missing: Cell::new(false),
            require: RefCell::new(None),
        });
        let watched = Rc::clone(&shared);
        runtime.set_interrupt_handler(Some(Box::new(move || watched.watch.is_over())));
        let told = Rc::clone(&shared);
        runtime.set_host_promise_rejection_tracker(Some(Box::new(move |ctx, promise, reason, handled| {
            told.rejected(&ctx, promise, reason, handled);
        })));
        runtime.set_loader(modules::Names(Rc::clone(&shared)), modules::Files(Rc::clone(&shared)));
        let mut engine = Self { entry: None, shared, context, runtime };
        engine.boot()?;
        Ok(engine)
    }

    /// Gives the context its program. A context has one for its life.
    pub(crate) fn with_code(self, code: Rc<Code>) -> Self {
        let _ = self.shared.code.set(code);
        self
    }

    /// Runs the runtime's own files, which hand back the function that runs the program.
    fn boot(&mut self) -> Result<(), ActionError> {
        let shared = &self.shared;
        self.entry = Some(self.context.with(|ctx| {
            let entry = bindings::host(&ctx, shared).and_then(|host| {
                let module = Object::new(ctx.clone())?;
                let wrapper: Function<'_> = shared.runtime.load(&ctx, "bootstrap")?;
                wrapper.call::<_, ()>((
                    Value::new_undefined(ctx.clone()),
                    Value::new_undefined(ctx.clone()),
                    module.clone(),
                    host,
                ))?;
                module.get::<_, Function<'_>>("exports")
            });
            match entry {
                Ok(entry) => Ok(Persistent::save(&ctx, entry)),
                Err(rquickjs::Error::Exception) => Err(errors::describe(&ctx, ctx.catch(), shared)),
                Err(error) => Err(ActionError::NotStarted { reason: error.to_string() }),
            }
        })?);
        Ok(())
    }

    /// Bytes that the context holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.shared.budget.used()
    }

    /// Runs one of the program's functions to its end.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn run(&mut self, start: &Start<'_>) -> Result<Outcome, Gone> {
        let shared = Rc::clone(&self.shared);
        shared.budget.begin(start.limits.memory_bytes);
        shared.watch.begin(&start.limits);
        shared.missing.set(false);
        shared.run.borrow_mut().begin(start.now, start.limits);
        let result = self.context.with(|ctx| {
            let result = self.drive(&ctx, start);
            shared.end_run(&ctx);
            result
        });
        let reusable = self.wind_down()
            && matches!(
                result,
                Ok(Ok(())
                    | Err(ActionError::Thrown { .. } | ActionError::NoSuchFunction | ActionError::Unsettled))
            );
        let (commands, console, console_dropped) = shared.run.borrow_mut().take_records();
        Ok(Outcome { result: result?, commands, console, console_dropped, reusable })
    }

    fn drive<'js>(&self, ctx: &Ctx<'js>, start: &Start<'_>) -> Result<Result<(), ActionError>, Gone> {
        let shared = &self.shared;
        let promise = match self.call(ctx, start) {
            Ok(promise) => promise,
            Err(rquickjs::Error::Exception) => return Ok(Err(errors::describe(ctx, ctx.catch(), shared))),
            Err(error) => return Ok(Err(ActionError::NotStarted { reason: error.to_string() })),
        };
        loop {
            let mut more = true;
            for _ in 0..JOBS_AT_ONCE {
                more = ctx.execute_pending_job();
                if !more {
                    break;
                }
            }
            if shared.watch.is_over() {
                return Ok(Err(ActionError::TimedOut { hard: false }));
            }
            // Asked of the engine itself, so nothing that the Action does to promises changes the answer.
            match promise.state() {
                PromiseState::Resolved => {
                    shared.tell_rejected(ctx, promise.as_value());
                    return Ok(Ok(()));
                }
                PromiseState::Rejected => {
                    shared.tell_rejected(ctx, promise.as_value());
                    // The value itself may be an error of conversion's, which is as good as thrown.
                    let thrown = match promise.result::<Value<'js>>() {
                        Some(Ok(value)) => value,
                        _ => ctx.catch(),
                    };
                    return Ok(Err(errors::describe(ctx, thrown, shared)));
                }
                PromiseState::Pending => {}
            }
            if more || shared.fire_timer(ctx) {
                continue;
            }
            let Some(until) = shared.waits_until() else {
                let unsettled =
                    if shared.budget.refused() { ActionError::OutOfMemory } else { ActionError::Unsettled };
                return Ok(Err(unsettled));
            };
            // Bound first: an answer is delivered into the context, which may ask the next thing.
            let answer = shared.outside.borrow_mut().next(until)?;
            if let Some((call, answer)) = answer {
                shared.deliver(ctx, call, answer);
            }
        }
    }

    /// Calls the entry: `run({ trigger, function, event, secrets })`.
    fn call<'js>(&self, ctx: &Ctx<'js>, start: &Start<'_>) -> rquickjs::Result<Promise<'js>> {
        let record = Object::new(ctx.clone())?;
        record.set("trigger", start.trigger.as_str())?;
        record.set("function", start.function)?;
        record.set("event", ctx.json_parse(start.event)?)?;
        let secrets = Object::new(ctx.clone())?;
        for (name, value) in start.secrets {
            secrets.set(name.as_str(), value.expose().as_str())?;
        }
        record.set("secrets", secrets)?;
        let entry = self.entry.clone().ok_or(rquickjs::Error::Unknown)?.restore(ctx)?;
        entry.call((record,))
    }

    /// Lets what is left of the execution run to its end, where it can do nothing any more. Says whether it came to one.
    fn wind_down(&self) -> bool {
        self.context.with(|ctx| {
            for _ in 0..LEFT_JOBS_MAX {
                if self.shared.watch.is_over() {
                    return false;
                }
                if !ctx.execute_pending_job() {
                    return true;
                }
            }
            false
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Values must be gone before the runtime is.
        self.entry = None;
        self.shared.require.replace(None);
        self.context.with(|ctx| self.shared.end_run(&ctx));
        self.runtime.set_interrupt_handler(None);
        self.runtime.set_host_promise_rejection_tracker(None);
    }
}
