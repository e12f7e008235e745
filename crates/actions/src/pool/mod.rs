//! The parent's side: a few workers, who gets one, and what becomes of it.
//!
//! A worker is bound to the first tenant it serves and to nobody else for its life. One that was stopped the hard way, or
//! said nonsense, is never used again; the next one stands ready already. Executions that come out of Actions (`depth` 1
//! and 2) have workers of their own, so that an Action that waits for another can never keep that one from running.

mod behind;
mod bytecode;
mod execute;
mod shares;
mod spawner;
mod worker;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytecode::Loaded;
pub use bytecode::{BytecodeOf, Bytecodes};
use bytes::Bytes;
use execute::{Went, execute};
use shares::{Share, Shares};
use spawner::{End, Spawner};
use worker::{Broken, Worker};

use crate::engine::{clock, compile_runtime, engine_version};
use crate::protocol::{FromWorker, ToWorker, encode};
use crate::{ActionError, Confinement, Execution, Finished, Host, Nothing, PackageSet};

/// Deepest nesting of Actions: one that was run by a request of another's, whose own request ran it.
pub const DEPTH_MAX: u8 = 2;
/// Programs that one worker is sent. Beyond, it is replaced.
const PROGRAMS_PER_WORKER_MAX: usize = 128;
/// Sets of packages that one worker is sent.
const PACKAGES_PER_WORKER_MAX: usize = 16;
/// How long a worker may take to put up its walls.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// What it then says.
const READY_BYTES_MAX: usize = 4 << 10;

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl WorkerCommand {
    /// This very program, whatever has become of its file since it was started.
    ///
    /// # Errors
    /// The system does not say which program that is.
    pub fn this_program() -> io::Result<Self> {
        let own = PathBuf::from("/proc/self/exe");
        let program = if own.exists() { own } else { std::env::current_exe()? };
        Ok(Self { program, arguments: vec!["action-worker".into()] })
    }
}

/// What happens where the system cannot put up all the walls around a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unconfined {
    /// Actions run all the same, and the log says loudly what is missing.
    #[default]
    Run,
    /// None is run, and none of their packages is compiled.
    Refuse,
}

/// How many workers there are, and how long is waited for one.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// How one is started.
    pub worker: WorkerCommand,
    /// Executions at a time that are not nested.
    pub workers: usize,
    /// Nested ones at a time, at each depth.
    pub nested_workers: usize,
    /// Of them all, one tenant's at a time.
    pub tenant_workers: usize,
    /// Executions that wait for a worker, at each depth. One more is refused.
    pub waiting_max: usize,
    /// How long one waits.
    pub waiting_patience: Duration,
    /// How long a worker without work lives.
    pub idle: Duration,
    /// Memory of all the contexts that one worker keeps warm.
    pub contexts_bytes_max: usize,
    /// What happens where the walls do not all stand.
    pub unconfined: Unconfined,
    /// Where bytecode is kept.
    pub bytecodes: Arc<dyn Bytecodes>,
}

impl PoolConfig {
    /// The defaults, for a worker that is started like this.
    pub fn new(worker: WorkerCommand) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self::with_workers(worker, processors.saturating_mul(4).clamp(8, 64))
    }

    /// The same for another number of workers.
    pub fn with_workers(worker: WorkerCommand, workers: usize) -> Self {
        Self {
            worker,
            workers,
            nested_workers: (workers / 2).max(2),
            tenant_workers: workers - workers / 4,
            waiting_max: 256,
            waiting_patience: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            contexts_bytes_max: 256 << 20,
            unconfined: Unconfined::default(),
            bytecodes: Arc::new(Nothing),
        }
    }
}

/// The workers of a server.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: PoolConfig,
    spawner: Spawner,
    /// By depth.
    shares: [Shares; DEPTH_MAX as usize + 1],
    state: Mutex<State>,
    start: OnceLock<Start>,
    /// The bytecode of sets of packages.
    loaded: Loaded,
    closed: AtomicBool,
    /// Whether missing walls were told already.
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Those that wait for work; the one that waits longest is the first.
    idle: Vec<Worker>,
    /// Started, told the first things, and nobody's yet.
    spare: Option<Worker>,
    /// Whether one is on its way there.
    starting: bool,
}

/// What every worker is told first.
#[derive(Debug)]
struct Start {
    /// `ToWorker::Start`, encoded.
    frame: Bytes,
    /// The engine that made it.
    engine: String,
}

impl Pool {
    /// Makes a pool. It starts workers when they are needed.
    ///
    /// # Errors
    /// The thread that starts them does not start.
    pub fn new(config: PoolConfig) -> io::Result<Self> {
        let inner: Arc<OnceLock<Weak<Inner>>> = Arc::default();
        let swept = Arc::clone(&inner);
        let spawner = Spawner::new(config.worker.clone(), move || {
            if let Some(inner) = swept.get().and_then(Weak::upgrade) {
                inner.sweep();
            }
        })?;
        let nested = || Shares::new(config.nested_workers, config.nested_workers, config.waiting_max);
        let pool = Arc::new(Inner {
            shares: [
                Shares::new(config.workers, config.tenant_workers, config.waiting_max),
                nested(),
                nested(),
            ],
            spawner,
            state: Mutex::default(),
            start: OnceLock::new(),
            loaded: Loaded::default(),
            closed: AtomicBool::new(false),
            told: AtomicBool::new(false),
            config,
        });
        let _ = inner.set(Arc::downgrade(&pool));
        Ok(Self { inner: pool })
    }

    /// Runs one execution to its end. What it asks of the world is asked of `host`.
    ///
    /// Waits for a worker, so the caller holds no lock and no connection meanwhile. Dropped before its end, it ends the
    /// execution.
    pub async fn run(&self, execution: Execution, host: Arc<dyn Host>) -> Finished {
        match self.inner.begin(&execution).await {
            Ok((worker, share)) => self.inner.finish(worker, share, execution, host).await,
            Err(error) => Finished::failed(error),
        }
    }

    /// Has a set of packages compiled and kept for a tenant, so that the first execution that needs it does not wait for that.
    ///
    /// # Errors
    /// No worker could be started, or it did not come to an end.
    pub async fn compile(&self, tenant: u64, packages: &PackageSet) -> Result<(), ActionError> {
        self.inner.compiled(tenant, packages).await.map(drop)
    }

    /// How many sets of packages were compiled so far: all others were found.
    pub fn compilations(&self) -> u64 {
        self.inner.loaded.compilations()
    }

    /// Names the engine that makes and reads bytecode here.
    ///
    /// # Errors
    /// The runtime does not compile.
    pub fn engine(&self) -> Result<&str, ActionError> {
        self.inner.start().map(|start| &*start.engine)
    }

    /// Has a worker stand ready.
    ///
    /// # Errors
    /// None could be started.
    pub async fn warm(&self) -> Result<(), ActionError> {
        if self.inner.state().spare.is_none() {
            let worker = self.inner.new_worker().await?;
            self.inner.state().spare = Some(worker);
        }
        Ok(())
    }

    /// Starts a worker to see which walls stand around it, and ends it. The log says once what is missing.
    ///
    /// # Errors
    /// None could be started; or the walls do not all stand, and nothing is to run without them.
    pub async fn confinement(&self) -> Result<Confinement, ActionError> {
        let mut worker = self.inner.started().await?;
        self.inner.confinement_of(&mut worker).await
    }

    /// Ends every worker that has nothing to do, and every other one as soon as it has finished. From now on nothing is run.
    pub async fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        for shares in &self.inner.shares {
            shares.all().await;
        }
        let ended = std::mem::take(&mut *self.inner.state());
        drop(ended);
    }

    /// The processes that run now and wait for work, by their ids.
    pub fn idle_processes(&self) -> Vec<u32> {
        self.inner.state().idle.iter().filter_map(Worker::id).collect()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a worker, and sends it whatever it does not know yet.
    async fn begin(self: &Arc<Self>, execution: &Execution) -> Result<(Worker, Share), ActionError> {
        let shares = self.shares.get(usize::from(execution.depth)).ok_or(ActionError::TooDeep)?;
        // Before anything is waited for: this may take seconds, the first time.
        let packages = match execution.program.packages.as_deref() {
            Some(set) => Some((set.digest(), self.compiled(execution.tenant, set).await?)),
            None => None,
        };
        let share = tokio::time::timeout(self.config.waiting_patience, shares.take(execution.tenant))
            .await
            .ok()
            .flatten()
            .ok_or(ActionError::Busy)?;
        if self.closed.load(Ordering::Acquire) {
            return Err(ActionError::Busy);
        }
        let mut worker = self.worker_for(execution.tenant, &execution.program.id).await?;
        let mut tell = || -> Result<(), crate::protocol::Malformed> {
            if !worker.programs.contains(&execution.program.id) {
                if let Some((digest, compiled)) = &packages
                    && worker.packages.insert((*digest).to_owned())
                {
                    worker.tell_encoded(compiled.frame());
                }
                let program = &execution.program;
                let told = ToWorker::Program {
                    id: program.id.clone(),
                    packages: packages.as_ref().map(|(digest, _)| (*digest).to_owned()),
                    code_bytes: program.code.len(),
                    modules: program.modules.iter().map(|(name, code)| (name.clone(), code.len())).collect(),
                };
                let mut bodies = vec![program.code.as_bytes()];
                bodies.extend(program.modules.iter().map(|(_, code)| code.as_bytes()));
                worker.tell(&told, &bodies)?;
                worker.programs.insert(program.id.clone());
            }
            Ok(())
        };
        tell().map_err(|error| ActionError::NotStarted { reason: error.to_string() })?;
        Ok((worker, share))
    }

    /// Runs the execution, and decides what becomes of the worker.
    async fn finish(
        self: &Arc<Self>,
        mut worker: Worker,
        share: Share,
        execution: Execution,
        host: Arc<dyn Host>,
    ) -> Finished {
        let (went, fetches, duration) =
            execute(&mut worker, &execution, host, |confinement| self.say_how_confined(confinement)).await;
        let mut finished = match went {
            Went::Finished(finished) => {
                self.take_back(worker);
                finished
            }
            Went::Overran => {
                worker.bury().await;
                self.stand_ready();
                Finished::failed(ActionError::TimedOut { hard: true })
            }
            Went::Broke(broken) => {
                let end = worker.bury().await;
                self.stand_ready();
                Finished::failed(match (broken, end) {
                    (Broken::Closed, End::Alarm) => ActionError::TimedOut { hard: true },
                    (broken, end) => {
                        tracing::warn!(
                            tenant = execution.tenant,
                            program = execution.program.id,
                            ?broken,
                            ?end,
                            "the worker of an Action ended unexpectedly"
                        );
                        ActionError::Crashed
                    }
                })
            }
        };
        finished.fetches = fetches;
        finished.duration = duration;
        // The worker is back before the next one is let in.
        drop(share);
        finished
    }

    /// A worker of this tenant's, or a new one: if it can be, one that knows the program.
    async fn worker_for(self: &Arc<Self>, tenant: u64, program: &str) -> Result<Worker, ActionError> {
        let found = {
            let mut state = self.state();
            let own = |worker: &Worker| worker.tenant == Some(tenant);
            let place = state
                .idle
                .iter()
                .rposition(|worker| own(worker) && worker.programs.contains(program))
                .or_else(|| state.idle.iter().rposition(own));
            // One that ended meanwhile, or talks without being asked, is none.
            let known = place.map(|place| state.idle.remove(place));
            match known.and_then(|mut worker| worker.is_quiet().then_some(worker)) {
                Some(worker) => Some(worker),
                None => {
                    // There are never more than executions may be under way: whoever waits longest makes room.
                    let used: usize = self.shares.iter().map(Shares::used).sum();
                    if !state.idle.is_empty()
                        && used + state.idle.len() > self.config.workers + 2 * self.config.nested_workers
                    {
                        state.idle.remove(0);
                    }
                    state.spare.take()
                }
            }
        };
        let mut worker = match found {
            Some(worker) => worker,
            None => self.new_worker().await?,
        };
        if worker.tenant.is_none() {
            worker.tenant = Some(tenant);
            self.stand_ready();
        }
        Ok(worker)
    }

    /// Starts a worker and has it told the first things.
    async fn new_worker(&self) -> Result<Worker, ActionError> {
        let start = self.start()?.frame.clone();
        let mut worker = self.started().await?;
        worker.tell_encoded(start);
        Ok(worker)
    }

    /// Starts a worker. Where nothing is to run without walls, it has shown them before it is told anything.
    async fn started(&self) -> Result<Worker, ActionError> {
        let not_started = |error: io::Error| ActionError::NotStarted { reason: error.to_string() };
        let started = self.spawner.start().await.map_err(not_started)?;
        let mut worker = Worker::new(self.spawner.clone(), started).map_err(not_started)?;
        if self.config.unconfined == Unconfined::Refuse {
            self.confinement_of(&mut worker).await?;
        }
        Ok(worker)
    }

    /// Which walls stand around a worker that has run nothing yet.
    async fn confinement_of(&self, worker: &mut Worker) -> Result<Confinement, ActionError> {
        let confinement = match worker.confinement {
            Some(confinement) => confinement,
            None => match tokio::time::timeout(READY_PATIENCE, worker.turn(READY_BYTES_MAX)).await {
                Ok(Ok((FromWorker::Ready { confinement }, _))) => confinement,
                Ok(Ok(_)) | Ok(Err(_)) => return Err(ActionError::Crashed),
                Err(_) => {
                    return Err(ActionError::NotStarted { reason: "it says nothing".to_owned() });
                }
            },
        };
        worker.confinement = Some(confinement);
        self.say_how_confined(confinement);
        if self.config.unconfined == Unconfined::Refuse && !confinement.is_whole() {
            let reason =
                "it could not be fully confined on this system, and is not to run otherwise".to_owned();
            return Err(ActionError::NotStarted { reason });
        }
        Ok(confinement)
    }

    fn start(&self) -> Result<&Start, ActionError> {
        if let Some(start) = self.start.get() {
            return Ok(start);
        }
        let files = compile_runtime()?;
        let engine = engine_version(&files)?;
        let bodies: Vec<&[u8]> = files.iter().map(|(_, bytecode)| bytecode.as_slice()).collect();
        let told = ToWorker::Start {
            files: files.iter().map(|(name, bytecode)| (name.clone(), bytecode.len())).collect(),
            contexts_bytes_max: self.config.contexts_bytes_max,
        };
        let frame =
            encode(&told, &bodies).map_err(|error| ActionError::NotStarted { reason: error.to_string() })?;
        Ok(self.start.get_or_init(|| Start { frame, engine }))
    }

    /// Starts a worker for whoever comes next, while nobody waits for it.
    fn stand_ready(self: &Arc<Self>) {
        {
            let mut state = self.state();
            if state.spare.is_some() || state.starting || self.closed.load(Ordering::Acquire) {
                return;
            }
            state.starting = true;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let mut worker = inner.new_worker().await.ok();
            if let Some(worker) = &mut worker {
                let _ = worker.send_all().await;
            }
            let mut state = inner.state();
            state.starting = false;
            if state.spare.is_none() && !inner.closed.load(Ordering::Acquire) {
                state.spare = worker;
            }
        });
    }

    /// Puts a worker back among those that wait, unless it has seen too much.
    fn take_back(&self, mut worker: Worker) {
        let full = worker.programs.len() >= PROGRAMS_PER_WORKER_MAX
            || worker.packages.len() >= PACKAGES_PER_WORKER_MAX;
        if full || worker.is_behind || !worker.is_quiet() || self.closed.load(Ordering::Acquire) {
            return;
        }
        worker.idle_since = clock::monotonic();
        self.state().idle.push(worker);
    }

    /// Ends the workers that have had nothing to do for long.
    fn sweep(&self) {
        let now = clock::monotonic();
        let unneeded: Vec<Worker> = self
            .state()
            .idle
            .extract_if(.., |worker| now.saturating_sub(worker.idle_since) >= self.config.idle)
            .collect();
        drop(unneeded);
    }

    /// Says once how far workers are confined; out loud, where walls do not stand.
    fn say_how_confined(&self, confinement: Confinement) {
        if self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        let Confinement { landlock, seccomp, limits } = confinement;
        if confinement.is_whole() {
            tracing::info!("Actions are fully confined");
            return;
        }
        match self.config.unconfined {
            Unconfined::Run => tracing::error!(
                ?landlock,
                ?seccomp,
                ?limits,
                "ACTIONS ARE NOT FULLY CONFINED on this system: what tenants' code could do after it broke out of the engine is not limited as it should be"
            ),
            Unconfined::Refuse => tracing::error!(
                ?landlock,
                ?seccomp,
                ?limits,
                "ACTIONS ARE REFUSED: this system cannot fully confine them, and they are not to run otherwise"
            ),
        }
    }
}
