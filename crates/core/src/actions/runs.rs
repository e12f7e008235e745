//! Actions that nobody waits for: those that run after somebody became a user, or after a password was changed.
//!
//! What they are about is written down in its own transaction, with the event as it was then. A job at every node takes such
//! rows by a short lease and runs what is bound at that instant: at least once, and twice only when a node dies or stops in
//! the middle.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use curfew_model::config::ActionTrigger;
use curfew_model::{ClientId, Ctx, Failure, RequestId, RequestInfo, UserId};
use curfew_store::action_runs::{self, RunRow};
use curfew_store::{Lane, Tx};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;

use super::commands::Effects;
use super::pipeline::{self, From};
use crate::{Core, TenantConfig};

/// How many run at once at one node: Actions that somebody waits for need workers too.
const AT_ONCE: usize = 4;
/// How much longer than its Actions may take a run is left to who took it.
const LEASE_BEYOND: Duration = Duration::from_secs(60);
/// How often a run is taken.
const ATTEMPTS_MAX: i64 = 5;
/// How long one waits that found no worker.
const RETRY_SECONDS: i64 = 15;
/// How often one looks for what other nodes have left.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Planned {
    event: Value,
    issuer: String,
    /// In how many Actions the request was nested: what one causes to run later counts like what it causes to run at once.
    nesting: u8,
    user_id: Option<UserId>,
    client_id: Option<ClientId>,
}

/// Has the Actions of a trigger run with `event` when this transaction is committed. Whoever commits it wakes the job
/// (`core.runs_due`).
pub(crate) async fn plan(
    tx: &mut Tx,
    ctx: &Ctx,
    trigger: ActionTrigger,
    event: Value,
    (user_id, client_id): (&UserId, Option<&ClientId>),
) -> Result<(), Failure> {
    let planned = Planned {
        event,
        issuer: ctx.issuer.to_string(),
        nesting: ctx.request.nesting,
        user_id: Some(user_id.clone()),
        client_id: client_id.cloned(),
    };
    let doc = serde_json::to_string(&planned)
        .map_err(|error| Failure::Internal(format!("an event is not JSON: {error}").into()))?;
    let run_id = ctx.entropy.alphanumeric(24);
    action_runs::insert(tx, ctx, &run_id, trigger, &doc).await
}

/// Whether anything runs at a trigger.
pub(crate) fn due(config: &TenantConfig, trigger: ActionTrigger) -> bool {
    !config.actions.at(trigger).is_empty()
}

/// The job.
#[derive(Debug)]
pub struct Runs {
    core: Arc<Core>,
    /// Whose; the instant is read anew for each step.
    ctx: Ctx,
}

impl Runs {
    /// The runs of the tenant of `ctx`.
    pub fn new(core: Arc<Core>, ctx: Ctx) -> Self {
        Self { core, ctx }
    }

    /// Runs until `stop` is done. What is under way then is given back by its lease.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = pin!(stop);
        let mut under_way = JoinSet::new();
        loop {
            if let Err(failure) = self.look(&mut under_way).await {
                tracing::warn!(%failure, "cannot look for Actions that are to run; it is tried again");
            }
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(_) = under_way.join_next() => {}
                () = self.core.runs_due.notified(), if under_way.len() < AT_ONCE => {}
                _ = looks.tick(), if under_way.len() < AT_ONCE => {}
            }
        }
    }

    /// Runs everything that is due at the present instant, and waits for it.
    pub async fn work_off(&self) -> Result<(), Failure> {
        let mut under_way = JoinSet::new();
        loop {
            let began = self.look(&mut under_way).await?;
            if under_way.join_next().await.is_none() && began == 0 {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Ctx {
        Ctx { now: self.core.clock.now(), ..self.ctx.clone() }
    }

    /// Takes as many as there is room for, and begins them. Answers how many it was.
    async fn look(&self, under_way: &mut JoinSet<()>) -> Result<usize, Failure> {
        let room = AT_ONCE.saturating_sub(under_way.len());
        if room == 0 {
            return Ok(0);
        }
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        let due = self
            .core
            .store
            .read(self.now(), move |tx, ctx| Box::pin(action_runs::due(tx, ctx.tenant, ctx.now, limit)))
            .await?;
        let lease = self.core.runner.trigger_time() + LEASE_BEYOND;
        let mut began = 0;
        for run_id in due {
            let arguments = (self.now(), run_id, lease);
            let taken = self
                .core
                .store
                .transact(Lane::Ordinary, arguments, |tx, (ctx, run_id, lease)| {
                    Box::pin(action_runs::take(tx, ctx.tenant, run_id, (ctx.now, ctx.now + *lease)))
                })
                .await?;
            if let Some(row) = taken {
                began += 1;
                let (core, ctx) = (Arc::clone(&self.core), self.now());
                under_way.spawn(async move {
                    if let Err(failure) = carry_out(&core, ctx, row).await {
                        tracing::warn!(%failure, "Actions that nobody waits for could not run; it is tried again");
                    }
                });
            }
        }
        Ok(began)
    }
}

/// Steps: 1 the event, and what is bound now, 2 the Actions, with nothing held, 3 it is done, or tried again where none could
/// begin.
async fn carry_out(core: &Core, ctx: Ctx, row: RunRow) -> Result<(), Failure> {
    let mut again = false;
    match serde_json::from_str::<Planned>(&row.doc) {
        Err(error) => {
            tracing::error!(%error, run = row.run_id, "a run of Actions cannot be read; it is left out")
        }
        Ok(_) if row.attempts > ATTEMPTS_MAX => {
            tracing::error!(
                run = row.run_id,
                trigger = row.trigger.as_str(),
                "Actions were begun too often; they are left out"
            );
        }
        Ok(planned) => {
            let config = core.tenant(ctx.tenant).await?;
            if due(&config, row.trigger) {
                let who = (planned.user_id.as_ref(), planned.client_id.as_ref());
                let ctx = ctx_of(core, &ctx, &planned);
                let from = (row.trigger, From::Start);
                let effects = Effects::default();
                let ran = pipeline::run(core, &ctx, &config, from, planned.event, effects, who).await?;
                again = ran.unbegun && row.attempts < ATTEMPTS_MAX;
            }
        }
    }
    let arguments = (Ctx { now: core.clock.now(), ..ctx }, row, again);
    core.store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, row, again)| {
            Box::pin(async move {
                if *again {
                    action_runs::again(tx, ctx.tenant, row, ctx.now.plus_seconds(RETRY_SECONDS)).await
                } else {
                    action_runs::done(tx, ctx.tenant, row).await
                }
            })
        })
        .await
}

/// The request that it is about, as far as logs show it.
fn ctx_of(core: &Core, ctx: &Ctx, planned: &Planned) -> Ctx {
    let said = |name: &str| planned.event["request"][name].as_str().unwrap_or("").to_owned();
    Ctx {
        now: core.clock.now(),
        issuer: Arc::from(planned.issuer.as_str()),
        request: Arc::new(RequestInfo {
            id: RequestId::generate(&*core.entropy),
            ip: said("ip"),
            user_agent: said("user_agent"),
            host: said("hostname"),
            nesting: planned.nesting,
            method: said("method"),
            language: said("language"),
        }),
        ..ctx.clone()
    }
}
