//! One execution in one worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, abortable};
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::worker::{Broken, Worker};
use crate::calls::{Answer, Request, ask, record_of};
use crate::lookups::{Found, LOOKUPS_MAX, Lookup, look_up};
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
        asked: 0,
        lookups: 0,
        fetches: Vec::new(),
    };
    let patience = execution.limits.wall.saturating_add(execution.limits.grace);
    let went = match tokio::time::timeout(patience, under.drive(worker, execution, on_ready)).await {
        Ok(Ok(finished)) => Went::Finished(finished),
        Ok(Err(broken)) => Went::Broke(broken),
        Err(_) => Went::Overran,
    };
    let duration = under.started.elapsed();
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
                said = worker.turn(bytes_max) => said?,
                answered = self.answers.next(), if !self.answers.is_empty() => {
                    if let Some(Ok((call, answer, record))) = answered {
                        self.open.remove(&call);
                        self.fetches.extend(record);
                        self.tell(worker, call, answer)?;
                    }
                    continue;
                }
            };
            match said {
                FromWorker::Ready { confinement } => on_ready(confinement),
                FromWorker::Fetch { number, call, method, url, headers } => {
                    let request = FetchRequest { method, url, headers, body };
                    let heads: usize =
                        request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
                    let bytes = request.method.len() + request.url.len() + heads + request.body.len();
                    let record = record_of(&request, self.started.elapsed());
                    self.open(number, call, Request::Fetch(request), bytes, Some(record))?;
                }
                FromWorker::Cache { number, call, request } => {
                    self.open(number, call, Request::Cache(request), body.len(), None)?;
                }
                FromWorker::Forget { number, call } => self.forget(number, call),
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
        number: u64,
        call: u64,
        request: Request,
        bytes: usize,
        record: Option<FetchRecord>,
    ) -> Result<(), Broken> {
        self.asked += 1;
        if number != self.number
            || self.asked > self.limits.calls_max
            || self.open.len() >= self.limits.calls_at_once_max
            || self.open.contains_key(&call)
            || bytes > self.limits.request_bytes_max
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
        if number != self.number || self.lookups > LOOKUPS_MAX {
            return Err(Broken::Confused);
        }
        let told = match look_up(execution.program.packages.as_deref(), lookup) {
            Found::Target(target) => worker.tell(&ToWorker::Resolved { target }, &[]),
            Found::NoTarget(code, message) => worker.tell(&ToWorker::NotResolved { code, message }, &[]),
            Found::Source(kind, source) => {
                worker.tell(&ToWorker::Source { kind: Some(kind) }, &[source.as_bytes()])
            }
            Found::NoSource => worker.tell(&ToWorker::Source { kind: None }, &[]),
        };
        Ok(told?)
    }

    fn forget(&mut self, number: u64, call: u64) {
        // One of an execution before this one can still be under way, and means nothing.
        if number == self.number
            && let Some((abort, record)) = self.open.remove(&call)
        {
            abort.abort();
            self.fetches.extend(record.map(given_up));
        }
    }

    fn tell(&self, worker: &mut Worker, call: u64, answer: Answer) -> Result<(), Malformed> {
        let number = self.number;
        match answer {
            Answer::Fetched(Ok(response)) => worker.tell(
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
            Answer::Fetched(Err(error)) => worker.tell(&ToWorker::NotFetched { number, call, error }, &[]),
            Answer::Cached(answer) => worker.tell(&ToWorker::Cached { number, call, answer }, &[]),
        }
    }

    /// What the worker says that came of it, looked at.
    fn finished(
        &self,
        error: Option<ActionError>,
        commands: Vec<usize>,
        console: Vec<ConsoleLine>,
        console_dropped: u64,
        body: Bytes,
    ) -> Result<Finished, Broken> {
        let limits = &self.limits;
        let console_bytes: usize = console.iter().map(|line| line.text.len()).sum();
        if commands.len() > limits.commands_max
            || body.len() > limits.commands_bytes_max
            || console.len() > limits.console_lines_max
            || console_bytes > limits.console_bytes_max
        {
            return Err(Broken::Confused);
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

fn given_up(mut record: FetchRecord) -> FetchRecord {
    record.error = Some("ERR_GIVEN_UP".to_owned());
    record
}
