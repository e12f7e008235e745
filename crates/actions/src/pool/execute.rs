//! One execution in one worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, abortable};
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::behind;
use super::worker::{About, Broken, Worker};
use crate::calls::{Answer, Request, ask, record_of, size_of};
use crate::finished::{THROWN_NAME_BYTES_MAX, THROWN_TEXT_BYTES_MAX};
use crate::lookups::{Found, LOOKUPS_MAX, Lookup, NAME_BYTES_MAX, look_up};
use crate::protocol::{FromWorker, Malformed, Run, ToWorker, from_worker_bytes_max, parts, text};
use crate::{
    ActionError, Confinement, ConsoleLine, Execution, FetchRecord, FetchRequest, Finished, Host, HostFuture,
    Limits,
};

/// How an execution in a worker went.
#[derive(Debug)]
pub(super) enum Went {
    /// The worker said so itself, and can take the next one.
    Finished(Finished),
    /// It did not stop when it should have.
    Overran,
    /// It is of no use any more.
    Broke(Broken),
}

type Answers = FuturesUnordered<HostFuture<'static, Result<(u64, Answer, Option<FetchRecord>), Aborted>>>;

/// An execution under way.
struct Under {
    number: u64,
    limits: Limits,
    host: Arc<dyn Host>,
    started: Instant,
    answers: Answers,
    /// What is asked and not answered: how to give it up, and what is remembered of it.
    open: HashMap<u64, (AbortHandle, Option<FetchRecord>)>,
    /// Frames that came.
    heard: usize,
    asked: usize,
    lookups: usize,
    fetches: Vec<FetchRecord>,
}

/// Runs an execution in a worker that knows the program already, and answers what it asks.
pub(super) async fn execute(
    worker: &mut Worker,
    execution: &Execution,
    host: Arc<dyn Host>,
    on_ready: impl Fn(Confinement),
) -> (Went, Vec<FetchRecord>, Duration) {
    worker.number += 1;
    let mut under = Under {
        number: worker.number,
        limits: execution.limits,
        host,
        started: Instant::now(),
        answers: FuturesUnordered::new(),
        open: HashMap::new(),
        heard: 0,
        asked: 0,
        lookups: 0,
        fetches: Vec::new(),
    };
    let patience = execution.limits.wall.saturating_add(execution.limits.grace);
    let (process, is_behind) = (worker.id(), AtomicBool::new(false));
    let driven = tokio::select! {
        biased;
        driven = tokio::time::timeout(patience, under.drive(worker, execution, on_ready)) => driven,
        never = behind::watch(process, &is_behind) => match never {},
    };
    worker.is_behind = is_behind.load(Ordering::Acquire);
    let went = match driven {
        Ok(Ok(finished)) => Went::Finished(finished),
        Ok(Err(broken)) => Went::Broke(broken),
        Err(_) => Went::Overran,
    };
    let duration = under.started.elapsed();
    // Whatever it was still to be told.
    worker.withdraw(|about| about != About::Told);
    (went, under.into_fetches(), duration)
}

impl Under {
    async fn drive(
        &mut self,
        worker: &mut Worker,
        execution: &Execution,
        on_ready: impl Fn(Confinement),
    ) -> Result<Finished, Broken> {
        let run = Run {
            number: self.number,
            tenant: execution.tenant,
            program: execution.program.id.clone(),
            trigger: execution.trigger,
            function: execution.function.clone(),
            secrets: execution.secrets.clone(),
            now_us: execution.now.micros(),
            limits: execution.limits,
        };
        worker.tell(&ToWorker::Run(run), &[execution.event.get().as_bytes()])?;
        let bytes_max = from_worker_bytes_max(&self.limits);
        loop {
            let (said, body) = tokio::select! {
                biased;
                // First, so that what was given up is let go of before more is asked for.
                answered = self.answers.next(), if !self.answers.is_empty() => {
                    if let Some(Ok((call, answer, record))) = answered {
                        self.open.remove(&call);
                        self.fetches.extend(record);
                        self.tell(worker, call, answer)?;
                    }
                    continue;
                }
                said = worker.turn(bytes_max) => said?,
            };
            self.heard += 1;
            let has_body = matches!(said, FromWorker::Fetch { .. } | FromWorker::Finished { .. });
            if self.heard > frames_max(&self.limits) || !(has_body || body.is_empty()) {
                return Err(Broken::Confused);
            }
            match said {
                FromWorker::Ready { confinement } => on_ready(confinement),
                FromWorker::Fetch { number, call, method, url, headers } => {
                    let request = FetchRequest { method, url, headers, body };
                    let record = record_of(&request, self.started.elapsed());
                    self.open(worker, number, call, Request::Fetch(request), Some(record))?;
                }
                FromWorker::Cache { number, call, request } => {
                    self.open(worker, number, call, Request::Cache(request), None)?;
                }
                FromWorker::Forget { number, call } => self.forget(worker, number, call),
                FromWorker::Finished { number, error, commands, console, console_dropped } => {
                    if number != self.number {
                        return Err(Broken::Confused);
                    }
                    return self.finished(error, commands, console, console_dropped, body);
                }
                FromWorker::Resolve { number, from, specifier, by } => {
                    let lookup = Lookup::Resolve { from: &from, specifier: &specifier, by };
                    self.look_up(worker, execution, number, &lookup)?;
                }
                FromWorker::Source { number, path } => {
                    self.look_up(worker, execution, number, &Lookup::Source { path: &path })?;
                }
                FromWorker::Compiled { .. } => return Err(Broken::Confused),
            }
        }
    }

    /// The worker keeps to these limits; one that does not is none any more.
    fn open(
        &mut self,
        worker: &Worker,
        number: u64,
        call: u64,
        request: Request,
        record: Option<FetchRecord>,
    ) -> Result<(), Broken> {
        self.asked += 1;
        // An answer that it has not taken counts, or it could have any number of them lie here. The cache is asked one thing at
        // a time, beside whatever the network is asked.
        let (most, unsent) = match &request {
            Request::Fetch(_) => {
                (self.limits.calls_at_once_max, worker.unsent(|about| matches!(about, About::Fetch(_))))
            }
            Request::Cache(_) => (1, worker.unsent(|about| matches!(about, About::Cache(_)))),
        };
        let unanswered = self.open.values().filter(|(_, other)| other.is_some() == record.is_some()).count();
        if number != self.number
            || self.asked > self.limits.calls_max
            || unanswered + unsent >= most
            || self.open.contains_key(&call)
            || size_of(&request) > self.limits.request_bytes_max
        {
            return Err(Broken::Confused);
        }
        let answer = ask(Arc::clone(&self.host), request, self.limits, self.started);
        let (answer, abort) = abortable(async move {
            let (answer, record) = answer.await;
            (call, answer, record)
        });
        self.answers.push(Box::pin(answer));
        self.open.insert(call, (abort, record));
        Ok(())
    }

    /// Answers about the program's own packages, and no others.
    fn look_up(
        &mut self,
        worker: &mut Worker,
        execution: &Execution,
        number: u64,
        lookup: &Lookup<'_>,
    ) -> Result<(), Broken> {
        self.lookups += 1;
        let longest = match *lookup {
            Lookup::Resolve { from, specifier, .. } => from.len().max(specifier.len()),
            Lookup::Source { path } => path.len(),
        };
        // It waits for the answer, so there is never more than one.
        if number != self.number
            || self.lookups > LOOKUPS_MAX
            || longest > NAME_BYTES_MAX
            || worker.unsent(|about| about == About::Packages) > 0
        {
            return Err(Broken::Confused);
        }
        let mut answer = |told: &ToWorker, body: &[&[u8]]| worker.answer(About::Packages, told, body);
        let told = match look_up(execution.program.packages.as_deref(), lookup) {
            Found::Target(target) => answer(&ToWorker::Resolved { target }, &[]),
            Found::NoTarget(code, message) => answer(&ToWorker::NotResolved { code, message }, &[]),
            Found::Source(kind, source) => {
                answer(&ToWorker::Source { kind: Some(kind) }, &[source.as_bytes()])
            }
            Found::NoSource => answer(&ToWorker::Source { kind: None }, &[]),
        };
        Ok(told?)
    }

    fn forget(&mut self, worker: &mut Worker, number: u64, call: u64) {
        // One of an execution before this one can still be under way, and means nothing.
        if number != self.number {
            return;
        }
        worker.withdraw(|about| about == About::Fetch(call) || about == About::Cache(call));
        if let Some((abort, record)) = self.open.remove(&call) {
            abort.abort();
            self.fetches.extend(record.map(given_up));
        }
    }

    fn tell(&self, worker: &mut Worker, call: u64, answer: Answer) -> Result<(), Malformed> {
        let number = self.number;
        match answer {
            Answer::Fetched(Ok(response)) => worker.answer(
                About::Fetch(call),
                &ToWorker::Fetched {
                    number,
                    call,
                    status: response.status,
                    status_text: response.status_text,
                    url: response.url,
                    redirected: response.redirected,
                    headers: response.headers,
                },
                &[&response.body],
            ),
            Answer::Fetched(Err(error)) => {
                worker.answer(About::Fetch(call), &ToWorker::NotFetched { number, call, error }, &[])
            }
            Answer::Cached(answer) => {
                worker.answer(About::Cache(call), &ToWorker::Cached { number, call, answer }, &[])
            }
        }
    }

    /// What the worker says that came of it, looked at.
    fn finished(
        &self,
        error: Option<ActionError>,
        commands: Vec<usize>,
        mut console: Vec<ConsoleLine>,
        console_dropped: u64,
        body: Bytes,
    ) -> Result<Finished, Broken> {
        let limits = &self.limits;
        let console_bytes: usize = console.iter().map(|line| line.text.len()).sum();
        if commands.len() > limits.commands_max
            || body.len() > limits.commands_bytes_max
            || console.len() > limits.console_lines_max
            || console_bytes > limits.console_bytes_max
            || console.iter().any(|line| line.text.len() > limits.console_line_bytes_max)
            || error.as_ref().is_some_and(|error| !may_be_said(error))
        {
            return Err(Broken::Confused);
        }
        let elapsed = self.started.elapsed();
        for line in &mut console {
            line.at = line.at.min(elapsed);
        }
        let commands = parts(body, commands)?
            .iter()
            .map(|command| RawValue::from_string(text(command)?.to_owned()).map_err(|_| Broken::Confused))
            .collect::<Result<_, Broken>>()?;
        Ok(Finished {
            result: error.map_or(Ok(()), Err),
            commands,
            console,
            console_dropped,
            fetches: Vec::new(),
            duration: Duration::ZERO,
        })
    }

    /// Every request, also those that nobody waits for any more.
    fn into_fetches(mut self) -> Vec<FetchRecord> {
        self.fetches.extend(self.open.into_values().filter_map(|(_, record)| record).map(given_up));
        self.fetches.sort_by_key(|record| record.at);
        self.fetches
    }
}

/// Frames of one execution: each call, and that it is given up; each question about packages; the first and the last.
fn frames_max(limits: &Limits) -> usize {
    limits.calls_max.saturating_mul(2).saturating_add(LOOKUPS_MAX + 2)
}

/// Whether a failure is one that a worker can tell of, in words of the length that they have there.
fn may_be_said(error: &ActionError) -> bool {
    match error {
        ActionError::Thrown { name, message, stack } => {
            name.len() <= THROWN_NAME_BYTES_MAX && message.len().max(stack.len()) <= THROWN_TEXT_BYTES_MAX
        }
        ActionError::NotStarted { reason } => reason.len() <= THROWN_TEXT_BYTES_MAX,
        ActionError::TimedOut { hard } => !hard,
        ActionError::OutOfMemory | ActionError::Unsettled | ActionError::NoSuchFunction => true,
        // What became of a worker is its parent's to say.
        ActionError::Crashed | ActionError::Busy | ActionError::TooDeep => false,
    }
}

fn given_up(mut record: FetchRecord) -> FetchRecord {
    record.error = Some("ERR_GIVEN_UP".to_owned());
    record
}
