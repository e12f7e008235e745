//! One execution under way: its limits, what it asked, what it recorded.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use curfew_model::Timestamp;
use rquickjs::{Ctx, Exception, Function, Object, Persistent, TypedArray, Value};

use super::{Shared, clock};
use crate::calls::{Answer, Request, cut, size_of};
use crate::lookups::LOOKUPS_MAX;
use crate::{CacheAnswer, ConsoleLevel, ConsoleLine, Limits};

/// When an execution has to stop. Asked by the engine every ten thousand steps or so.
#[derive(Debug)]
pub(super) struct Watch {
    wall: Cell<Duration>,
    cpu: Cell<Duration>,
    fired: Cell<bool>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { wall: Cell::new(Duration::MAX), cpu: Cell::new(Duration::MAX), fired: Cell::new(false) }
    }

    pub(super) fn begin(&self, limits: &Limits) {
        self.wall.set(clock::monotonic().saturating_add(limits.wall));
        self.cpu.set(clock::processor().saturating_add(limits.cpu));
        self.fired.set(false);
    }

    /// Whether the execution is over its time. Once it was, it stays so.
    pub(super) fn is_over(&self) -> bool {
        if !self.fired.get() {
            self.fired.set(clock::monotonic() >= self.wall.get() || clock::processor() >= self.cpu.get());
        }
        self.fired.get()
    }

    pub(super) fn fired(&self) -> bool {
        self.fired.get()
    }
}

/// What waits for an answer.
struct Pending {
    resolve: Persistent<Function<'static>>,
    reject: Persistent<Function<'static>>,
    /// Whether it was sent, or waits for others to be answered.
    sent: bool,
}

struct Timer {
    function: Persistent<Function<'static>>,
    every: Option<Duration>,
}

/// A promise that was rejected, and nobody has looked yet.
struct Rejected {
    promise: Persistent<Value<'static>>,
    reason: Persistent<Value<'static>>,
}

/// Rejections that are told at most.
const REJECTED_MAX: usize = 10;

/// The state of the execution under way, or of none.
#[derive(Default)]
pub(super) struct Run {
    active: bool,
    started: Duration,
    now: Timestamp,
    limits: Limits,
    commands: Vec<String>,
    commands_bytes: usize,
    console: Vec<ConsoleLine>,
    console_bytes: usize,
    console_dropped: u64,
    calls: BTreeMap<u64, Pending>,
    queue: VecDeque<(u64, Request)>,
    calls_made: usize,
    lookups_made: usize,
    /// Never reset: an answer that comes late meets no other call.
    last_call: u64,
    timers: BTreeMap<(Duration, u64), Timer>,
    timer_times: BTreeMap<u64, Duration>,
    last_timer: u64,
    rejected: Vec<Rejected>,
}

impl Run {
    pub(super) fn begin(&mut self, now: Timestamp, limits: Limits) {
        self.active = true;
        self.started = clock::monotonic();
        self.now = now;
        self.limits = limits;
        self.calls_made = 0;
        self.lookups_made = 0;
    }

    /// Counts a question about packages.
    pub(super) fn may_look_up(&mut self) -> bool {
        self.lookups_made += 1;
        self.lookups_made <= LOOKUPS_MAX
    }

    pub(super) fn take_records(&mut self) -> (Vec<String>, Vec<ConsoleLine>, u64) {
        self.commands_bytes = 0;
        self.console_bytes = 0;
        (
            std::mem::take(&mut self.commands),
            std::mem::take(&mut self.console),
            std::mem::take(&mut self.console_dropped),
        )
    }

    fn elapsed(&self) -> Duration {
        clock::monotonic().saturating_sub(self.started)
    }
}

impl Shared {
    /// The Action's clock, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> f64 {
        let run = self.run.borrow();
        let now = run.now + run.elapsed();
        now.micros() as f64 / 1000.0
    }

    /// Milliseconds since the execution began.
    pub(super) fn elapsed_ms(&self) -> f64 {
        self.run.borrow().elapsed().as_secs_f64() * 1000.0
    }

    /// Keeps a call of `api`.
    pub(super) fn record(&self, ctx: &Ctx<'_>, command: String) -> rquickjs::Result<()> {
        let mut run = self.run.borrow_mut();
        if !run.active {
            return Err(Exception::throw_message(ctx, "the Action has ended: its api does nothing any more"));
        }
        let bytes = run.commands_bytes.saturating_add(command.len());
        if run.commands.len() >= run.limits.commands_max || bytes > run.limits.commands_bytes_max {
            return Err(Exception::throw_range(ctx, "the Action asked for more changes than are kept"));
        }
        run.commands_bytes = bytes;
        run.commands.push(command);
        Ok(())
    }

    /// Keeps a line of the console, or counts it.
    pub(super) fn log(&self, level: ConsoleLevel, text: &str) {
        let mut run = self.run.borrow_mut();
        if !run.active {
            return;
        }
        let text = cut(text, run.limits.console_line_bytes_max);
        let bytes = run.console_bytes.saturating_add(text.len());
        if run.console.len() >= run.limits.console_lines_max || bytes > run.limits.console_bytes_max {
            run.console_dropped += 1;
            return;
        }
        run.console_bytes = bytes;
        let at = run.elapsed();
        run.console.push(ConsoleLine { level, text, at });
    }

    /// Asks the host. The answer settles the promise that comes back.
    pub(super) fn ask<'js>(&self, ctx: &Ctx<'js>, request: Request) -> rquickjs::Result<(u64, Value<'js>)> {
        let (promise, resolve, reject) = ctx.promise()?;
        let mut run = self.run.borrow_mut();
        if !run.active {
            return Err(Exception::throw_message(ctx, "the Action has ended: nothing more can be asked"));
        }
        if run.calls_made >= run.limits.calls_max {
            return Err(Exception::throw_range(ctx, "the Action made more requests than it may"));
        }
        if size_of(&request) > run.limits.request_bytes_max {
            return Err(Exception::throw_range(ctx, "the request is larger than an Action may send"));
        }
        run.calls_made += 1;
        run.last_call += 1;
        let call = run.last_call;
        let sent = run.calls.values().filter(|call| call.sent).count() < run.limits.calls_at_once_max;
        run.calls.insert(
            call,
            Pending { resolve: Persistent::save(ctx, resolve), reject: Persistent::save(ctx, reject), sent },
        );
        if sent {
            self.outside.borrow_mut().ask(call, request);
        } else {
            run.queue.push_back((call, request));
        }
        Ok((call, promise.into_value()))
    }

    /// Asks the host and waits for the answer, as long as the execution may take. Other answers are delivered meanwhile.
    pub(super) fn ask_now<'js>(&self, ctx: &Ctx<'js>, request: Request) -> rquickjs::Result<Value<'js>> {
        // What was asked last may have no answer yet, and the cache is asked one thing at a time.
        if self.watch.is_over() {
            return Err(Exception::throw_message(ctx, "the Action ran out of time"));
        }
        let call = {
            let mut run = self.run.borrow_mut();
            if !run.active {
                return Err(Exception::throw_message(ctx, "the Action has ended: nothing more can be asked"));
            }
            if run.calls_made >= run.limits.calls_max {
                return Err(Exception::throw_range(ctx, "the Action made more requests than it may"));
            }
            if size_of(&request) > run.limits.request_bytes_max {
                return Err(Exception::throw_range(ctx, "the request is larger than an Action may send"));
            }
            run.calls_made += 1;
            run.last_call += 1;
            run.last_call
        };
        self.outside.borrow_mut().ask(call, request);
        while !self.watch.is_over() {
            // Bound first: an answer is delivered into the context.
            let answer = self.outside.borrow_mut().next(self.watch.wall.get());
            match answer {
                Ok(Some((answered, answer))) if answered == call => {
                    return value_of(ctx, answer).map(|(value, _)| value);
                }
                Ok(Some((answered, answer))) => self.deliver(ctx, answered, answer),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        // The loop around the context stops the execution.
        Err(Exception::throw_message(ctx, "the Action ran out of time"))
    }

    /// Gives a request up: its promise stays as it is.
    pub(super) fn forget(&self, call: u64) {
        let mut run = self.run.borrow_mut();
        let Some(pending) = run.calls.remove(&call) else { return };
        if pending.sent {
            self.outside.borrow_mut().forget(call);
            self.send_next(&mut run);
        } else {
            run.queue.retain(|(queued, _)| *queued != call);
        }
    }

    fn send_next(&self, run: &mut Run) {
        if let Some((call, request)) = run.queue.pop_front() {
            if let Some(pending) = run.calls.get_mut(&call) {
                pending.sent = true;
            }
            self.outside.borrow_mut().ask(call, request);
        }
    }

    /// Settles the promise of a call.
    pub(super) fn deliver(&self, ctx: &Ctx<'_>, call: u64, answer: Answer) {
        let pending = {
            let mut run = self.run.borrow_mut();
            let Some(pending) = run.calls.remove(&call) else { return };
            self.send_next(&mut run);
            pending
        };
        // What fails here fails for want of memory, or since the time is over; the loop sees both.
        let settled = value_of(ctx, answer).and_then(|(value, settles)| {
            let function =
                if settles { pending.resolve.restore(ctx)? } else { pending.reject.restore(ctx)? };
            function.call::<_, ()>((value,))
        });
        if settled.is_err() {
            ctx.catch();
        }
    }

    /// Calls a function in `delay`, and then every so often.
    pub(super) fn set_timer<'js>(
        &self,
        ctx: &Ctx<'js>,
        function: Function<'js>,
        delay: Duration,
        repeats: bool,
    ) -> rquickjs::Result<u64> {
        let mut run = self.run.borrow_mut();
        if !run.active {
            return Ok(0);
        }
        if run.timers.len() >= run.limits.timers_max {
            return Err(Exception::throw_range(ctx, "the Action has more timers than it may"));
        }
        run.last_timer += 1;
        let id = run.last_timer;
        let due = clock::monotonic().saturating_add(delay);
        let every = repeats.then_some(delay.max(Duration::from_millis(1)));
        run.timers.insert((due, id), Timer { function: Persistent::save(ctx, function), every });
        run.timer_times.insert(id, due);
        Ok(id)
    }

    pub(super) fn clear_timer(&self, id: u64) {
        let mut run = self.run.borrow_mut();
        if let Some(due) = run.timer_times.remove(&id) {
            run.timers.remove(&(due, id));
        }
    }

    /// Calls the function of one timer that is due.
    pub(super) fn fire_timer(&self, ctx: &Ctx<'_>) -> bool {
        let function = {
            let mut run = self.run.borrow_mut();
            let now = clock::monotonic();
            let Some(&(due, id)) = run.timers.keys().next().filter(|(due, _)| *due <= now) else {
                return false;
            };
            let Some(timer) = run.timers.remove(&(due, id)) else { return false };
            let function = timer.function.clone();
            match timer.every {
                Some(every) => {
                    let next = now.saturating_add(every);
                    run.timers.insert((next, id), timer);
                    run.timer_times.insert(id, next);
                }
                None => {
                    run.timer_times.remove(&id);
                }
            }
            function
        };
        // The runtime's own function, which hands on what the Action's throws.
        if function.restore(ctx).and_then(|function| function.call::<_, ()>(())).is_err() {
            let thrown = ctx.catch();
            self.log(ConsoleLevel::Error, &format!("Uncaught {}", super::errors::string_of(ctx, &thrown)));
        }
        true
    }

    /// The engine tells of a promise that is rejected without anybody looking, and of one that somebody looks at after all.
    pub(super) fn rejected<'js>(
        &self,
        ctx: &Ctx<'js>,
        promise: Value<'js>,
        reason: Value<'js>,
        handled: bool,
    ) {
        // While the loop itself holds the state nothing of the Action's runs.
        let Ok(mut run) = self.run.try_borrow_mut() else { return };
        if handled {
            run.rejected
                .retain(|known| known.promise.clone().restore(ctx).is_ok_and(|known| known != promise));
        } else if run.active && run.rejected.len() < REJECTED_MAX {
            run.rejected.push(Rejected {
                promise: Persistent::save(ctx, promise),
                reason: Persistent::save(ctx, reason),
            });
        }
    }

    /// Writes what was rejected without anybody looking to the console, but for the promise whose result is told anyway.
    pub(super) fn tell_rejected<'js>(&self, ctx: &Ctx<'js>, own: &Value<'js>) {
        let rejected = std::mem::take(&mut self.run.borrow_mut().rejected);
        for known in rejected {
            let (Ok(promise), Ok(reason)) = (known.promise.restore(ctx), known.reason.restore(ctx)) else {
                continue;
            };
            if promise != *own && !self.watch.is_over() {
                let text = super::errors::string_of(ctx, &reason);
                self.log(ConsoleLevel::Error, &format!("Unhandled rejection (is an await missing?): {text}"));
            }
        }
    }

    /// Until when the loop may wait; `None` where nothing will ever come.
    pub(super) fn waits_until(&self) -> Option<Duration> {
        let run = self.run.borrow();
        let timer = run.timers.keys().next().map(|(due, _)| *due);
        match timer {
            Some(due) => Some(due.min(self.watch.wall.get())),
            None if run.calls.is_empty() => None,
            None => Some(self.watch.wall.get()),
        }
    }

    /// Nothing of the execution can act any more.
    pub(super) fn end_run(&self, _: &Ctx<'_>) {
        let mut run = self.run.borrow_mut();
        run.active = false;
        run.queue.clear();
        let calls = std::mem::take(&mut run.calls);
        for (call, _) in calls.iter().filter(|(_, pending)| pending.sent) {
            self.outside.borrow_mut().forget(*call);
        }
        let timers = std::mem::take(&mut run.timers);
        let rejected = std::mem::take(&mut run.rejected);
        run.timer_times.clear();
        drop(run);
        drop((calls, timers, rejected));
    }
}

/// An answer as a value, and whether it is a good one.
fn value_of<'js>(ctx: &Ctx<'js>, answer: Answer) -> rquickjs::Result<(Value<'js>, bool)> {
    let object = Object::new(ctx.clone())?;
    object.set_prototype(None)?;
    match answer {
        Answer::Fetched(Ok(response)) => {
            object.set("status", response.status)?;
            object.set("statusText", response.status_text)?;
            object.set("url", response.url)?;
            object.set("redirected", response.redirected)?;
            let headers: Vec<Vec<String>> =
                response.headers.into_iter().map(|(name, value)| vec![name, value]).collect();
            object.set("headers", headers)?;
            object.set("body", TypedArray::<u8>::new_copy(ctx.clone(), &response.body)?)?;
            Ok((object.into_value(), true))
        }
        Answer::Fetched(Err(error)) => {
            object.set("code", error.code)?;
            object.set("message", error.message)?;
            Ok((object.into_value(), false))
        }
        Answer::Cached(CacheAnswer::Record { value, created_at_ms, expires_at_ms }) => {
            object.set("value", value)?;
            object.set("created_at", created_at_ms as f64)?;
            object.set("expires_at", expires_at_ms as f64)?;
            Ok((object.into_value(), true))
        }
        Answer::Cached(CacheAnswer::Nothing) => Ok((Value::new_undefined(ctx.clone()), true)),
        Answer::Cached(CacheAnswer::Failed { code }) => {
            object.set("code", code)?;
            Ok((object.into_value(), false))
        }
    }
}
