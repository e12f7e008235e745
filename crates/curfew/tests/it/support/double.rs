//! An engine for Actions that runs closures of the test: what an Action does meanwhile, what it asks for, whether it ever
//! returns. The code of an Action names its closure.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curfew::serve::job_ctx;
use curfew_core::actions::{ActionError, Builds, Execution, Finished, Runner};
use curfew_core::management::{Caller, Write, actions};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::{Curfew, ISSUER};

/// What an Action does: with its event, to what it asks for or what it threw.
pub(crate) type Act =
    Arc<dyn Fn(Execution) -> BoxFuture<'static, Result<Vec<Value>, ActionError>> + Send + Sync>;

/// The engine. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Double {
    acts: Arc<Mutex<HashMap<String, Act>>>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Double").finish_non_exhaustive()
    }
}

impl Runner for Double {
    fn run(&self, execution: Execution) -> BoxFuture<'_, Finished> {
        let act = self.acts.lock().unwrap().get(&*execution.program.code).cloned();
        self.events.lock().unwrap().push(execution.event.clone());
        Box::pin(async move {
            let outcome = match act {
                Some(act) => act(execution).await,
                None => Err(ActionError::NoSuchFunction),
            };
            let (result, commands) = match outcome {
                Ok(commands) => (Ok(()), commands),
                Err(error) => (Err(error), Vec::new()),
            };
            let duration = Duration::from_millis(1);
            Finished { result, commands, console: Vec::new(), fetches: Vec::new(), duration }
        })
    }

    fn trigger_time(&self) -> Duration {
        // One that never returns is waited for two seconds more.
        Duration::from_secs(10)
    }
}

/// A call of `api`.
pub(crate) fn call(kind: &str, args: Value) -> Value {
    json!({ "type": kind, "args": args })
}

impl Double {
    /// What the Action whose code is `name` does from now on.
    pub(crate) fn act<F>(&self, name: &str, act: impl Fn(Execution) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Vec<Value>, ActionError>> + Send + 'static,
    {
        let act: Act = Arc::new(move |execution| Box::pin(act(execution)));
        self.acts.lock().unwrap().insert(name.to_owned(), act);
    }

    /// The Action whose code is `name` asks for this from now on, and does nothing else.
    pub(crate) fn asks(&self, name: &str, commands: &[(&str, Value)]) {
        let commands: Vec<Value> = commands.iter().map(|(kind, args)| call(kind, args.clone())).collect();
        self.act(name, move |_| std::future::ready(Ok(commands.clone())));
    }

    /// The events of all runs so far, in their order.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
    }

    /// The last event.
    pub(crate) fn event(&self) -> Value {
        self.events().pop().expect("an Action has run")
    }

    /// A node whose Actions are run here, and these Actions, deployed and bound to a trigger in this order.
    pub(crate) async fn bound(&self, curfew: &Curfew, trigger: &str, names: &[&str]) -> Curfew {
        let node = curfew.another_node_running(Arc::new(self.clone())).await;
        self.bind(&node, trigger, names).await;
        node
    }

    /// Makes Actions and binds them.
    pub(crate) async fn bind(&self, node: &Curfew, trigger: &str, names: &[&str]) {
        let ctx = job_ctx(&node.core, ISSUER);
        let version = if trigger == "post-login" { "v3" } else { "v2" };
        let mut bindings = Vec::new();
        for name in names {
            let doc = json!({
                "name": name,
                "supported_triggers": [{ "id": trigger, "version": version }],
                "code": name,
            });
            let made = actions::create(&node.core, &ctx, write(), object(doc)).await.expect("the store");
            let id = made.expect("an Action")["id"].as_str().expect("an id").to_owned();
            Builds::new(Arc::clone(&node.core), ctx.clone()).work_off().await.expect("the builds");
            actions::deploy(&node.core, &ctx, write(), id.clone())
                .await
                .expect("the store")
                .expect("deployed");
            bindings.push(json!({ "ref": { "type": "action_id", "value": id }, "display_name": name }));
        }
        let sent = object(json!({ "bindings": bindings }));
        let bound = actions::triggers::replace(&node.core, &ctx, write(), trigger, &sent).await;
        bound.expect("the store").expect("bound");
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn write() -> Write {
    let caller = Caller {
        client_id: None,
        user_id: None,
        sub: "test@clients".to_owned(),
        jti: None,
        scopes: Vec::new(),
    };
    Write {
        caller,
        summary: "Actions",
        method: "POST",
        path: "/api/v2/actions".to_owned(),
        query: Value::Null,
        body: Value::Null,
        status: 200,
    }
}
