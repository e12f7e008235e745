//! An Action in this process, for tests of what surrounds it in JavaScript.
//!
//! Nothing here stops code that will not stop: use it for code that you wrote yourself.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use tokio::runtime;
use tokio::time::Instant;

use crate::calls::{Answer, Request, ask};
use crate::engine::{Code, Engine, Gone, Outside, Packages, RuntimeCode, Start, clock};
use crate::lookups::{Found, Lookup, look_up};
use crate::{
    ActionError, Execution, FetchRecord, Finished, Host, HostFuture, Limits, Nothing, PackageSet, Program,
};

/// A program in a context, warm from one execution to the next.
pub struct InProcess {
    engine: Engine,
    outside: Rc<RefCell<Direct>>,
}

impl InProcess {
    /// Makes a context for a program. It may be used for executions of this program only.
    ///
    /// # Errors
    /// The runtime does not start.
    pub fn new(program: &Program) -> Result<Self, ActionError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| ActionError::NotStarted { reason: error.to_string() })?;
        let outside = Rc::new(RefCell::new(Direct {
            runtime,
            host: Arc::new(Nothing),
            packages: program.packages.clone(),
            limits: Limits::default(),
            started: None,
            waiting: FuturesUnordered::new(),
            forgotten: Vec::new(),
            fetches: Vec::new(),
        }));
        let code = Code {
            action: Arc::clone(&program.code),
            modules: program.modules.iter().cloned().collect(),
            packages: Rc::new(Packages::default()),
        };
        let way_out = Rc::clone(&outside);
        let engine =
            Engine::new(RuntimeCode::Text, way_out, Limits::default().memory_bytes)?.with_code(Rc::new(code));
        Ok(Self { engine, outside })
    }

    /// Runs one execution. Blocks, and must not be called by a task of an asynchronous runtime's.
    pub fn run(&mut self, execution: &Execution, host: Arc<dyn Host>) -> Finished {
        let began = clock::monotonic();
        self.outside.borrow_mut().begin(host, execution.limits);
        let outcome = self.engine.run(&Start {
            trigger: execution.trigger,
            function: &execution.function,
            event: execution.event.get(),
            secrets: &execution.secrets,
            now: execution.now,
            limits: execution.limits,
        });
        let fetches = self.outside.borrow_mut().end();
        let Ok(outcome) = outcome else { return Finished::failed(ActionError::Crashed) };
        Finished {
            result: outcome.result,
            // The runtime writes JSON only.
            commands: outcome
                .commands
                .into_iter()
                .filter_map(|command| RawValue::from_string(command).ok())
                .collect(),
            console: outcome.console,
            console_dropped: outcome.console_dropped,
            fetches,
            duration: clock::monotonic().saturating_sub(began),
        }
    }
}

/// Runs one execution in a context of its own.
pub fn run(execution: &Execution, host: Arc<dyn Host>) -> Finished {
    match InProcess::new(&execution.program) {
        Ok(mut context) => context.run(execution, host),
        Err(error) => Finished::failed(error),
    }
}

/// A host's answers, waited for on this thread.
struct Direct {
    runtime: runtime::Runtime,
    host: Arc<dyn Host>,
    packages: Option<Arc<PackageSet>>,
    limits: Limits,
    started: Option<Instant>,
    waiting: FuturesUnordered<HostFuture<'static, (u64, Answer, Option<FetchRecord>)>>,
    forgotten: Vec<u64>,
    fetches: Vec<FetchRecord>,
}

impl Direct {
    fn begin(&mut self, host: Arc<dyn Host>, limits: Limits) {
        self.host = host;
        self.limits = limits;
        self.started = Some(Instant::now());
    }

    fn end(&mut self) -> Vec<FetchRecord> {
        self.waiting.clear();
        self.forgotten.clear();
        std::mem::take(&mut self.fetches)
    }
}

impl Outside for Direct {
    fn ask(&mut self, call: u64, request: Request) {
        let answer =
            ask(Arc::clone(&self.host), request, self.limits, self.started.unwrap_or_else(Instant::now));
        self.waiting.push(Box::pin(async move {
            let (answer, record) = answer.await;
            (call, answer, record)
        }));
    }

    fn forget(&mut self, call: u64) {
        self.forgotten.push(call);
    }

    fn next(&mut self, until: Duration) -> Result<Option<(u64, Answer)>, Gone> {
        let patience = until.saturating_sub(clock::monotonic());
        let waiting = &mut self.waiting;
        let answered = self.runtime.block_on(async {
            let next = async {
                match waiting.next().await {
                    Some(answered) => answered,
                    None => std::future::pending().await,
                }
            };
            tokio::time::timeout(patience, next).await
        });
        Ok(answered.ok().and_then(|(call, answer, record)| {
            self.fetches.extend(record);
            (!self.forgotten.contains(&call)).then_some((call, answer))
        }))
    }

    fn look_up(&mut self, lookup: &Lookup<'_>) -> Result<Found, Gone> {
        Ok(look_up(self.packages.as_deref(), lookup))
    }
}
