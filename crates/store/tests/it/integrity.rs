//! `verify` names what is broken: a sound store with one of everything is broken by hand in each way there is a check for.

use std::sync::{Arc, Mutex};

use curfew_model::config::ActionTrigger;
use curfew_model::{
    ClientId, Ctx, EndingCause, EndingId, Failure, FamilyId, GrantKey, Initiator, RequestId, RequestInfo,
    Secret, SessionKey, Sid, SystemEntropy, TenantId, UserId, UserKey,
};
use curfew_store::action_executions::ExecutionRow;
use curfew_store::action_modules::ModuleVersionRow;
use curfew_store::actions::{BuildStatus, Inserted, NewAction, NewBinding, VersionRow};
use curfew_store::deliveries::{Delivery, LogoutToken, Message, ReceiverId};
use curfew_store::endings::{EndingRow, FeedEntry};
use curfew_store::event_streams::{EventStreamRow, Secrets};
use curfew_store::families::NewFamily;
use curfew_store::feed::NodeRow;
use curfew_store::grants::GrantRow;
use curfew_store::sessions::NewSession;
use curfew_store::signals::{Added, StreamRow, StreamStatus};
use curfew_store::signing_keys::{KeyState, NewSigningKey};
use curfew_store::status_lists::{Entry, Origin, Subject};
use curfew_store::users::NewUser;
use curfew_store::verify::{Bounds, checks, verify};
use curfew_store::{
    Lane, Statement, Store, Tx, action_executions, action_modules, action_packages, action_runs, actions,
    client_grants, clients, connections, deliveries, endings, event_streams, families, feed, grants, params,
    policies, resource_servers, sessions, signals, signing_keys, status_lists, tenants, users,
};
use curfew_testkit::{START, both_engines};

const TENANT: TenantId = TenantId(1);
const USER: UserKey = UserKey([1; 12]);
const BOUNDS: Bounds = Bounds { now: START, sessions_max: 1, families_max: 1 };

fn ctx() -> Ctx {
    let request = RequestInfo {
        id: RequestId([0; 16]),
        ip: "192.0.2.1".into(),
        user_agent: "test".into(),
        host: "id.example".into(),
        nesting: 0,
        method: String::new(),
        language: String::new(),
    };
    let (entropy, issuer) = (Arc::new(SystemEntropy), "https://id.example/".into());
    Ctx { now: START, entropy, tenant: TENANT, issuer, request: Arc::new(request) }
}

/// What is configured: keys, a host, a connection, an API, and a client with all that it can have.
async fn configure(tx: &mut Tx, ctx: &Ctx, client: &ClientId) -> Result<(), Failure> {
    let wrapped = || Secret::new(vec![1]);
    feed::number(tx, 7).await?;
    signing_keys::insert_sealing_key(tx, ctx, 1, &wrapped()).await?;
    let key =
        NewSigningKey { kid: "kid".into(), alg: "RS256", wrapped: wrapped(), certificate: String::new() };
    signing_keys::insert(tx, ctx, &key, KeyState::Current).await?;
    tenants::set_domain(tx, ctx, "id.example", "https://id.example/").await?;
    connections::insert(tx, ctx, "con_1", "people", "auth0", "{}").await?;
    let chosen = r#"{"rp_logout": {"refresh_tokens": "revoke"}}"#;
    let doc = format!(r#"{{"ending_policies": {chosen}}}"#);
    clients::insert(tx, ctx, client, &doc, &Secret::new("secret".to_owned())).await?;
    clients::insert_credential(tx, ctx, client, "cred_1", "{}").await?;
    stream(tx, ctx, client).await?;
    connections::enable_for(tx, TENANT, "con_1", client).await?;
    let chosen = curfew_model::config::read_doc("clients", "ending_policies", chosen)?;
    policies::replace(tx, TENANT, Some(client), &chosen).await?;
    resource_servers::insert(tx, ctx, "1", "https://api.example/", "{}", None).await?;
    resource_servers::set_lifetime(tx, ctx, "https://api.example/", 86_400).await?;
    let stream = EventStreamRow {
        stream_id: "est_1".into(),
        doc: "{}".into(),
        enabled: true,
        secrets: Secrets {
            signing: Secret::new("sealed".to_owned()),
            previous: None,
            authorization: Secret::new("sealed".to_owned()),
        },
        created_at: ctx.now,
        updated_at: ctx.now,
    };
    assert!(event_streams::insert(tx, ctx, &stream).await?);
    act(tx, ctx).await?;
    client_grants::insert(tx, ctx, "cgr_1", client, "https://api.example/", "{}").await?;
    let entry = Entry { list_id: "list".into(), idx: 131_071, keep_until: ctx.now };
    let grant = GrantKey([6; 12]);
    let subject = Subject { user: None, grant, session: None, client_counter: 0, kid: "kid".into() };
    let origin =
        Origin { client_id: client.clone(), user_counter: 0, audience: "https://api.example/".into() };
    assert!(status_lists::insert(tx, TENANT, "list", ctx.now, 1).await?);
    assert!(status_lists::allot(tx, TENANT, &entry, &subject, &origin, ctx.now).await?);
    Ok(())
}

/// An Action that is deployed and bound, with a module, packages and an execution.
async fn act(tx: &mut Tx, ctx: &Ctx) -> Result<(), Failure> {
    let doc = r#"{"supported_triggers":[],"code":"","dependencies":[],"runtime":"node22","modules":[]}"#;
    let new = NewAction {
        action_id: "act_1".into(),
        name: "first".into(),
        doc: doc.into(),
        secrets: Secret::new("[]".to_owned()),
        deploy: true,
    };
    assert_eq!(actions::insert(tx, ctx, &new).await?, Inserted::Done);
    assert_eq!(actions::due(tx, TENANT, ctx.now, 10).await?, ["act_1"]);
    let until = ctx.now.plus_seconds(60);
    let taken = actions::take(tx, TENANT, "act_1", (ctx.now, until)).await?.expect("it is due");
    assert!(actions::take(tx, TENANT, "act_1", (ctx.now, until)).await?.is_none(), "it is taken");
    action_packages::keep(tx, ctx, "digest", b"packages").await?;
    action_packages::keep_bytecode(tx, ctx, ("digest", "engine"), b"bytecode", &[0; 32]).await?;
    assert!(actions::packaged(tx, TENANT, &taken, Some("digest")).await?);
    assert!(actions::built(tx, ctx, &taken).await?);
    let draft = actions::find(tx, TENANT, "act_1").await?.expect("it is there");
    assert_eq!((draft.status, draft.packages.as_deref()), (BuildStatus::Built, Some("digest")));
    let version = VersionRow {
        version_id: "ver_1".into(),
        action_id: "act_1".into(),
        number: 1,
        doc: draft.doc,
        secrets: draft.secrets,
        packages: draft.packages,
        built_at: ctx.now,
        created_at: ctx.now,
    };
    actions::deploy(tx, TENANT, &version, doc, Some(draft.revision)).await?;
    let binding = NewBinding {
        binding_id: "bin_1".into(),
        action_id: "act_1".into(),
        display_name: "first".into(),
        created_at: ctx.now,
        updated_at: ctx.now,
    };
    actions::bind(tx, ctx, ActionTrigger::PostLogin, &[binding]).await?;
    let bound = actions::bound(tx, TENANT, &Default::default()).await?;
    let made_of = bound[0].made_of.as_ref().expect("nothing is known yet");
    assert_eq!((bound.len(), &*bound[0].version_id, &*made_of.version.version_id), (1, "ver_1", "ver_1"));
    let known = ["ver_0", "ver_1"].map(str::to_owned).into();
    let bound = actions::bound(tx, TENANT, &known).await?;
    assert!(bound.len() == 1 && bound[0].made_of.is_none(), "it is not read again: {bound:?}");
    let module = r#"{"code":"","dependencies":[]}"#;
    assert_eq!(action_modules::insert(tx, ctx, "mod_1", "shared", module).await?, Inserted::Done);
    let row = action_modules::find(tx, TENANT, "mod_1").await?.expect("it is there");
    let published = ModuleVersionRow {
        version_id: "mov_1".into(),
        module_id: "mod_1".into(),
        number: 1,
        doc: row.doc,
        created_at: ctx.now,
    };
    action_modules::publish(tx, TENANT, &published, module).await?;
    let execution = ExecutionRow {
        execution_id: "1".into(),
        trigger: ActionTrigger::PostLogin,
        status: "final".into(),
        user_id: None,
        client_id: None,
        doc: "{}".into(),
        created_at: ctx.now,
        updated_at: ctx.now,
    };
    action_executions::insert(tx, TENANT, &execution).await?;
    action_runs::insert(tx, ctx, "run_1", ActionTrigger::PostUserRegistration, "{}").await?;
    assert_eq!(action_runs::due(tx, TENANT, ctx.now, 10).await?, ["run_1"]);
    let taken = action_runs::take(tx, TENANT, "run_1", (ctx.now, until)).await?.expect("it is due");
    assert!(action_runs::take(tx, TENANT, "run_1", (ctx.now, until)).await?.is_none(), "it is taken");
    action_runs::again(tx, TENANT, &taken, ctx.now).await?;
    let retaken = action_runs::take(tx, TENANT, "run_1", (ctx.now, until)).await?.expect("it is due again");
    // Whose lease is over has no say any more.
    action_runs::done(tx, TENANT, &taken).await?;
    action_runs::again(tx, TENANT, &retaken, ctx.now).await?;
    assert_eq!(action_runs::due(tx, TENANT, ctx.now, 10).await?, ["run_1"]);
    Ok(())
}

/// A stream of security events that leaves somebody out.
async fn stream(tx: &mut Tx, ctx: &Ctx, client: &ClientId) -> Result<(), Failure> {
    let stream = StreamRow {
        id: "ssf_1".into(),
        client_id: client.clone(),
        issuer: ctx.issuer.to_string(),
        doc: "{}".into(),
        authorization: None,
        status: StreamStatus::Enabled,
        reason: None,
        subjects: 0,
        updated_at: ctx.now,
        active_at: ctx.now,
    };
    signals::insert(tx, TENANT, &stream, ctx.now).await?;
    for (hash, added) in [([1; 32], Added::There), ([1; 32], Added::There), ([2; 32], Added::Full)] {
        let subject = (&hash, Some(&USER), "{}");
        assert_eq!(signals::insert_subject(tx, TENANT, "ssf_1", subject, ctx.now, 1).await?, added);
    }
    Ok(())
}

/// A person with consent, a session and a refresh token; another session and another refresh token have ended.
async fn populate(tx: &mut Tx, ctx: &Ctx, client: &ClientId) -> Result<(), Failure> {
    let new = NewUser {
        user_key: USER,
        user_id: &UserId("auth0|1".into()),
        provider: "auth0",
        identity_id: "1",
        connection_id: "con_1",
        identifiers: &[("email", "ada@example.com".to_owned())],
        doc: "{}",
        password_hash: None,
        blocked: None,
        now: ctx.now,
    };
    users::insert(tx, TENANT, &new).await?;
    let consent = GrantRow {
        id: "1".into(),
        client_id: client.clone(),
        user_key: USER,
        audience: String::new(),
        scope: "openid".into(),
        user_id: String::new(),
    };
    grants::upsert(tx, TENANT, &consent, ctx.now).await?;
    let (ended, alive) = (SessionKey([2; 12]), SessionKey([3; 12]));
    for session in [ended, alive] {
        let sid = Sid { user: USER, session };
        sessions::insert(tx, TENANT, &session_of(ctx, sid)).await?;
        sessions::join_client(tx, TENANT, &sid, client, ctx.now).await?;
        assert_eq!(sessions::beyond_cap(tx, TENANT, &USER, ctx.now, 1).await?, []);
        if session == ended {
            let cause = EndingCause::RpLogout;
            let end = sessions::End { now: ctx.now, cause, policies_of: cause };
            assert!(sessions::end(tx, TENANT, &sid, &end).await?.is_some_and(|ended| ended.chosen));
            sessions::set_spares(tx, TENANT, &sid, r#"{"refresh_tokens":[]}"#).await?;
            let ending = record(tx, ctx, EndingCause::RpLogout, Some(session), None).await?;
            deliver(tx, ctx, ending, sid, client).await?;
            hear(tx, ctx, ending).await?;
        }
    }
    let (ended, alive) = (GrantKey([4; 12]), GrantKey([5; 12]));
    for grant in [ended, alive] {
        let id = FamilyId { user: USER, grant };
        families::insert(tx, TENANT, &family_of(ctx, id, SessionKey([3; 12]), client)).await?;
        assert_eq!(families::beyond_cap(tx, TENANT, &USER, client, ctx.now, 1).await?, []);
        if grant == ended {
            families::end(tx, TENANT, &id, ctx.now, EndingCause::TokenRevoked).await?;
            record(tx, ctx, EndingCause::TokenRevoked, None, Some(id)).await?;
        }
    }
    Ok(())
}

fn session_of(ctx: &Ctx, sid: Sid) -> NewSession {
    NewSession {
        sid,
        counter: ctx.now.micros(),
        provider: "auth0".into(),
        identity_id: "1".into(),
        connection_id: "con_1".into(),
        secret_hash: vec![0; 32],
        sealing_key: 1,
        issuer: ctx.issuer.to_string(),
        now: ctx.now,
        idle_expires_at: ctx.now.plus_seconds(60),
        expires_at: ctx.now.plus_seconds(600),
        persistent: true,
        device: "{}".into(),
        methods: "[]".into(),
    }
}

fn family_of(ctx: &Ctx, id: FamilyId, session: SessionKey, client: &ClientId) -> NewFamily {
    NewFamily {
        id,
        client_id: client.clone(),
        client_counter: ctx.now.micros(),
        connection_id: "con_1".into(),
        connection_epoch: 0,
        audience: None,
        scope: "openid offline_access".into(),
        session_key: Some(session),
        auth_time: ctx.now,
        auth_time_wanted: false,
        provider: "auth0".into(),
        identity_id: "1".into(),
        counter: ctx.now.micros(),
        rotating: true,
        secret_hash: vec![0; 32],
        sealing_key: 1,
        issuer: ctx.issuer.to_string(),
        request_id: ctx.request.id,
        now: ctx.now,
        idle_expires_at: Some(ctx.now.plus_seconds(60)),
        expires_at: Some(ctx.now.plus_seconds(600)),
        device: "{}".into(),
    }
}

async fn record(
    tx: &mut Tx,
    ctx: &Ctx,
    cause: EndingCause,
    session: Option<SessionKey>,
    grant: Option<FamilyId>,
) -> Result<EndingId, Failure> {
    let row = EndingRow {
        id: EndingId::generate(&*ctx.entropy),
        at: ctx.now,
        cause: cause.as_str(),
        user_key: Some(USER),
        user_id: None,
        session,
        grant,
        client_id: None,
        detail: "{}".into(),
        scope: session.map(|_| "{}".into()),
    };
    let entry = FeedEntry {
        kind: "session",
        user_key: Some(USER),
        subject: None,
        audience: None,
        counter: None,
        spared: None,
        keep_until: ctx.now,
    };
    endings::insert(tx, TENANT, &row, &[entry]).await?;
    Ok(row.id)
}

/// Two deliveries of an ending: one that was confirmed, and one that waits.
async fn deliver(
    tx: &mut Tx,
    ctx: &Ctx,
    ending: EndingId,
    sid: Sid,
    client: &ClientId,
) -> Result<(), Failure> {
    let token = LogoutToken {
        user: USER,
        session: Some(sid.session),
        counter: None,
        url: "https://app.example/".into(),
        alg: "RS256".into(),
        initiator: Initiator::RpLogout,
    };
    let receiver = ReceiverId(client.0.clone());
    let confirmed = Delivery::new(
        [1; 16],
        Some(ending),
        (receiver.clone(), Message::LogoutToken(token)),
        (None, ctx.issuer.to_string()),
        (ctx.now, ctx.now),
    );
    let waiting = Delivery { id: [2; 16], next_at: ctx.now.plus_seconds(1), ..confirmed.clone() };
    for delivery in [&confirmed, &waiting] {
        assert!(deliveries::insert(tx, TENANT, delivery).await?);
    }
    assert_eq!(deliveries::pick(tx, TENANT, &receiver, (ctx.now, ctx.now), 10).await?.len(), 1);
    assert!(deliveries::confirm(tx, TENANT, &confirmed.id, ctx.now, 200).await?);
    Ok(())
}

/// Guards at one of two nodes have heard of an ending.
async fn hear(tx: &mut Tx, ctx: &Ctx, ending: EndingId) -> Result<(), Failure> {
    for (node, guards, lease_seconds) in [("a", 2, 10), ("b", 0, 0)] {
        feed::say_node(tx, &NodeRow { node: node.into(), seen_at: ctx.now, guards, lease_seconds }).await?;
    }
    feed::insert_heard(tx, (TENANT, &ending), "a", ctx.now, "{}").await
}

/// Declares corruptions: the checks that must find one, and the statements that make it.
macro_rules! corruptions {
    ($($($finds:ident)+ <- $($name:ident = $sql:literal)+;)*) => {
        curfew_store::statements! {
            $($(pub(crate) $name = $sql;)+)*
        }

        static CORRUPTIONS: &[(&[&str], &[&Statement])] =
            &[$((&[$(stringify!($finds)),+], &[$(&$name),+])),*];
    };
}

corruptions! {
    USERS_INCOMPLETE <- LOSE_THE_ID = "delete from user_ids";
    ACCESS_ORPHANED <- KEEP_ACCESS = "insert into user_access (tenant, user_key, counter, credential_floor, \
        session_floor, family_floor, logins_count, sessions_bound) select tenant, session_key, 1, 0, 0, 0, 0, 0 \
        from sessions where ended_at is null";
    IDS_ORPHANED <- KEEP_AN_ID = "insert into user_ids (tenant, user_id, user_key) \
        select tenant, 'auth0|2', session_key from sessions where ended_at is null";
    IDENTIFIERS_ORPHANED <- HOLD_A_NAME = "insert into identifiers (tenant, connection_id, kind, value, user_key, \
        identity_id) select tenant, 'con_1', 'email', 'bob@example.com', session_key, '2' from sessions \
        where ended_at is null";
    IDENTIFIERS_WITHOUT_IDENTITY <- NAME_ANOTHER_IDENTITY = "update identifiers set identity_id = '2'";
    IDENTIFIERS_WITHOUT_IDENTITY <- NAME_ANOTHER_CONNECTION = "update identifiers set connection_id = 'con_2'";
    IDENTITIES_ORPHANED <- KEEP_AN_IDENTITY = "insert into identities (tenant, user_key, provider, identity_id, \
        connection_id, position, session_floor, profile) select tenant, session_key, 'auth0', '2', 'con_1', 0, 0, '{}' \
        from sessions where ended_at is null";
    CONSENTS_ORPHANED <- KEEP_A_CONSENT = "update grants set user_key = (select session_key from sessions \
        where ended_at is null)";
    USERS_WITHOUT_IDENTITY <- LOSE_THE_PRIMARY = "update identities set position = 1";
    USERS_WITHOUT_IDENTITY <- HAVE_TWO_PRIMARIES = "insert into identities (tenant, user_key, provider, identity_id, \
        connection_id, position, session_floor, profile) select tenant, user_key, provider, '2', connection_id, 0, 0, '{}' \
        from identities";
    COUNTERS_BELOW_CREATION <- FALL_BACK = "update users set created_at = created_at + 1";
    FLOORS_ABOVE_COUNTER <- RAISE_A_FLOOR = "update user_access set credential_floor = counter + 1";
    IDENTITY_FLOORS_ABOVE_COUNTER <- RAISE_AN_IDENTITY = "update identities set session_floor = 9000000000000000";
    PAIR_FLOORS_ABOVE_COUNTER <- RAISE_A_PAIR = "update user_clients set family_floor = 9000000000000000";
    CLIENT_FLOORS_ABOVE_COUNTER <- RAISE_A_CLIENT = "update clients set floor = counter + 1";
    CLIENT_FLOORS_ABOVE_COUNTER <- RAISE_ITS_TOKENS = "update clients set token_floor = counter + 1";
    SESSIONS_FROM_THE_FUTURE <- FORESEE_A_SESSION = "update sessions set counter = counter + 1";
    FAMILIES_FROM_THE_FUTURE <- FORESEE_A_FAMILY = "update families set counter = counter + 1";
    FAMILIES_FROM_THE_CLIENTS_FUTURE <- FORESEE_A_CLIENT = "update families set client_counter = client_counter + 1";
    FAMILIES_WITHOUT_SESSION <- LOSE_A_SESSION = "update families set session_key = user_key";
    PARTICIPANTS_WITHOUT_SESSION <- KEEP_A_PARTICIPANT = "update session_clients set session_key = user_key \
        where session_key = (select session_key from sessions where ended_at is null)";
    SESSIONS_IDLE_BEYOND_THEIR_END <- IDLE_ON = "update sessions set idle_expires_at = expires_at + 1";
    FAMILIES_IDLE_BEYOND_THEIR_END <- IDLE_FAMILIES = "update families set idle_expires_at = expires_at + 1";
    ENDED_WITHOUT_CAUSE <- FORGET_A_CAUSE = "update sessions set ended_cause = null";
    ENDED_WITHOUT_CAUSE <- INVENT_A_CAUSE = "update families set ended_cause = 'token_revoked'";
    SESSIONS_WITHOUT_ENDING <- END_A_SESSION_ASIDE = "update sessions set ended_at = ended_at + 1";
    FAMILIES_WITHOUT_ENDING <- END_A_FAMILY_ASIDE = "update families set ended_at = ended_at + 1";
    POLICIES_UNLIKE_DOCUMENTS <- CHOOSE_OTHERWISE = "update ending_policies set choice = 'keep'";
    POLICIES_UNLIKE_DOCUMENTS <- FORGET_A_CHOICE = "delete from ending_policies";
    POLICIES_WITHOUT_CLIENT POLICIES_UNLIKE_DOCUMENTS <- CHOOSE_FOR_NOBODY = "update ending_policies set client_id = 'gone'";
    SPARED_BY_NOTHING <- SPARE_WHAT_LIVES = "update sessions set spares = '{}'";
    SEALED_WITH_NO_KEY <- LOSE_A_COOKIES_KEY = "update sessions set sealing_key = 2";
    SEALED_WITH_NO_KEY <- LOSE_A_TOKENS_KEY = "update families set sealing_key = 2";
    SESSIONS_BEYOND_CAP SESSIONS_BEYOND_BOUND <-
        REVIVE_SESSIONS = "update sessions set ended_at = null, ended_cause = null, spares = null";
    SESSIONS_BEYOND_CAP <-
        REVIVE_AND_COUNT_SESSIONS = "update sessions set ended_at = null, ended_cause = null, spares = null"
        COUNT_TWO_SESSIONS = "update user_access set sessions_bound = 2";
    SESSIONS_BEYOND_BOUND <- COUNT_NO_SESSION = "update user_access set sessions_bound = 0";
    FAMILIES_BEYOND_CAP FAMILIES_BEYOND_BOUND <-
        REVIVE_FAMILIES = "update families set ended_at = null, ended_cause = null";
    FAMILIES_BEYOND_CAP <-
        REVIVE_AND_COUNT_FAMILIES = "update families set ended_at = null, ended_cause = null"
        COUNT_TWO_FAMILIES = "update user_clients set families_bound = 2";
    FAMILIES_BEYOND_BOUND <- COUNT_NO_FAMILY = "update user_clients set families_bound = 0";
    FAMILIES_BEYOND_BOUND <- LOSE_A_PAIR = "delete from user_clients";
    ENDINGS_WITHOUT_FANOUT <- TELL_NOBODY = "delete from fanouts";
    FANOUTS_WITHOUT_ENDING <- TELL_OF_NOTHING = "insert into fanouts (tenant, ending_id, created_at, expanded_at) \
        select tenant, user_key, 0, 0 from users";
    FANOUTS_WITHOUT_SESSION SESSIONS_WITHOUT_ENDING <-
        TELL_OF_A_LOST_SESSION = "update endings set session_key = user_key where session_key is not null";
    DELIVERIES_WITHOUT_ENDING <- TELL_WHAT_NEVER_WAS = "update deliveries set ending_id = user_key";
    DELIVERIES_HALF_SETTLED <- SETTLE_WHAT_WAITS = "update deliveries set settled_at = 0 where settled_at is null";
    DELIVERIES_HALF_SETTLED <- LOSE_A_STATE = "update deliveries set state = 'lost' where state = 'confirmed'";
    DELIVERIES_CONFIRMED_BY_NOBODY <- CONFIRM_A_REDIRECT = "update deliveries set last_status = 302 \
        where state = 'confirmed'";
    DELIVERIES_CONFIRMED_BY_NOBODY <- CONFIRM_UNTRIED = "update deliveries set attempts = 0 where state = 'confirmed'";
    DELIVERIES_OF_NOTHING <- LOSE_WHAT_ENDED = "update deliveries set session_key = null";
    EVENT_STREAMS_HALF_ENABLED <- HALF_ENABLE = "update event_streams set enabled = 2";
    EVENT_STREAMS_HALF_ENABLED <- FORGET_HOW_LONG = "update event_streams set previous_secret = 'sealed'";
    EVENT_STREAMS_BEYOND_CAP <- CROWD_STREAMS = "insert into event_streams (tenant, stream_id, doc, enabled, \
        signing_secret, authorization_secret, created_at, updated_at) \
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 20) \
        select e.tenant, e.stream_id || '-' || n.i, e.doc, e.enabled, e.signing_secret, e.authorization_secret, \
        e.created_at, e.updated_at from event_streams e, n";
    ACTIONS_BEYOND_CAP <- CROWD_ACTIONS = "insert into actions (tenant, action_id, name, doc, secrets, revision, status, \
        attempts, deploy, last_number, created_at, updated_at) \
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 100) \
        select a.tenant, a.action_id || '-' || n.i, a.name || '-' || n.i, a.doc, a.secrets, 1, 'failed', 0, 0, 0, 0, 0 \
        from actions a, n";
    ACTIONS_HALF_BUILT <- LOSE_A_BUILD = "update actions set status = 'lost'";
    ACTIONS_HALF_BUILT <- BUILD_FOR_EVER = "update actions set build_at = 0";
    ACTIONS_HALF_BUILT <- BUILD_NEVER = "update actions set built_at = null";
    ACTIONS_WITHOUT_VERSION <- DEPLOY_NOTHING = "update actions set deployed_version = 'gone'";
    ACTIONS_WITHOUT_VERSION <- FORGET_A_NUMBER = "update actions set last_number = 0";
    ACTIONS_WITHOUT_VERSION <- DEPLOY_THE_FUTURE = "update actions set deployed_revision = 99";
    VERSIONS_WITHOUT_ACTION ACTIONS_WITHOUT_VERSION <-
        KEEP_A_VERSION = "update action_versions set action_id = 'gone'";
    VERSIONS_BEYOND_CAP <- CROWD_VERSIONS = "insert into action_versions (tenant, version_id, action_id, number, doc, secrets, \
        built_at, created_at) with recursive n(i) as (select 1 union all select i + 1 from n where i < 50) \
        select v.tenant, v.version_id || '-' || n.i, v.action_id, v.number - n.i, v.doc, v.secrets, 0, 0 \
        from action_versions v, n";
    BOUND_TO_NOTHING <- BIND_NOTHING = "update action_bindings set action_id = 'gone'";
    BOUND_TO_NOTHING <- BIND_A_DRAFT = "update actions set deployed_version = null";
    BOUND_OUT_OF_ORDER <- LEAVE_A_GAP = "update action_bindings set position = 1";
    PACKAGES_LOST <- LOSE_PACKAGES = "delete from action_packages";
    BYTECODE_WITHOUT_MAC <- FORGE_BYTECODE = "update action_bytecode set mac = bytes";
    MODULES_WITHOUT_VERSION <- PUBLISH_NOTHING = "update action_modules set latest_version = 'gone'";
    MODULES_WITHOUT_VERSION <- FORGET_ITS_NUMBER = "update action_modules set last_number = 0";
    VERSIONS_WITHOUT_MODULE MODULES_WITHOUT_VERSION <-
        KEEP_A_MODULE = "update action_module_versions set module_id = 'gone'";
    MODULES_BEYOND_CAP <- CROWD_MODULES = "insert into action_modules (tenant, module_id, name, doc, revision, last_number, \
        created_at, updated_at) with recursive n(i) as (select 1 union all select i + 1 from n where i < 100) \
        select m.tenant, m.module_id || '-' || n.i, m.name || '-' || n.i, m.doc, 1, 0, 0, 0 from action_modules m, n";
    EXECUTIONS_AWRY <- END_BEFORE_THE_BEGINNING = "update action_executions set updated_at = created_at - 1";
    EXECUTIONS_AWRY <- END_SOMEHOW = "update action_executions set status = 'somehow'";
    RUNS_AWRY <- RUN_AT_ANOTHER_TRIGGER = "update action_runs set trigger_id = 'post-login'";
    RUNS_AWRY <- RUN_BEFORE_THE_BEGINNING = "update action_runs set due_at = created_at - 1";
    STREAMS_WITHOUT_CLIENT <- LOSE_THE_RECEIVER = "update signal_streams set client_id = 'nobody'";
    STREAMS_IN_NO_STATUS <- LOSE_A_STATUS = "update signal_streams set status = 'lost'";
    STREAMS_MISCOUNTED <- COUNT_A_SUBJECT_TWICE = "update signal_streams set subjects = subjects + 1";
    SUBJECTS_WITHOUT_STREAM STREAMS_MISCOUNTED <-
        NAME_ANOTHER_STREAM = "update signal_subjects set stream_id = 'ssf_2'";
    ENTRIES_WITHOUT_ENDING <- ENTER_NOTHING = "update feed_entries set ending_id = user_key";
    ENTRIES_WITHOUT_LANE <- LEAVE_THE_LANE = "update feed_entries set lane = 99";
    ENTRIES_WITHOUT_LANE LANES_WITH_GAPS <- WRITE_INTO_THE_NUMBER = "update feed_entries set lane = 1000000";
    FEED_WITHOUT_NUMBER <- LOSE_THE_NUMBER = "delete from feed_lanes where lane = 1000000";
    LANES_WITH_GAPS <- LOSE_THE_HEAD = "update feed_lanes set head = head + 1 where head > 0";
    LANES_WITH_GAPS <-
        SKIP_A_POSITION = "update feed_entries set position = position + 1 where position = 2"
        FOLLOW_IT = "update feed_lanes set head = head + 1 where head > 0";
    STATUSES_IN_NO_LIST <- LOSE_A_LIST = "delete from status_lists";
    STATUSES_IN_NO_LIST <- LEAVE_ITS_LIST = "update status_entries set idx = idx + 1";
    STATUSES_OF_NOBODY <- NAME_A_SESSION = "update status_entries set session_key = grant_key";
    STATUSES_OF_NOBODY <- HANG_ON_NOTHING = "update status_entries set grant_key = user_key";
    HEARD_WITHOUT_ENDING <- HEAR_OF_NOTHING = "update ending_guards set ending_id = (select user_key from users)";
    HEARD_BEFORE_ENDING <- HEAR_TOO_EARLY = "update ending_guards set settled_at = settled_at - 10000001";
    NODES_HALF_SAID <- FORGET_THE_LEASE = "update feed_nodes set lease_seconds = 0 where guards > 0";
    NODES_HALF_SAID <- FORGET_THE_GUARDS = "update feed_nodes set guards = 0 where guards > 0";
    NODES_HALF_SAID <- COUNT_BELOW_NOTHING = "update feed_nodes set guards = -1";
    GRANTS_WITHOUT_CLIENT <- KEEP_A_GRANT = "update client_grants set client_id = 'gone'";
    CREDENTIALS_WITHOUT_CLIENT <- KEEP_A_CREDENTIAL = "update client_credentials set client_id = 'gone'";
    ENABLED_FOR_NOBODY <- ENABLE_FOR_NO_CLIENT = "update connection_clients set client_id = 'gone'";
    ENABLED_FOR_NOBODY <- ENABLE_NO_CONNECTION = "update connection_clients set connection_id = 'gone'";
    APIS_WITHOUT_LIFETIME <- FORGET_A_LIFETIME = "delete from token_lifetimes";
    TENANTS_WITHOUT_SIGNING_KEY <- SIGN_NO_MORE = "update signing_keys set state = 'revoked'";
    TENANTS_WITHOUT_SEALING_KEY <- SEAL_NO_MORE = "update sealing_keys set state = 'previous'";
    DOMAINS_WITHOUT_TENANT <- LEAVE_A_DOMAIN = "update tenant_domains set tenant = 2";
    UNKNOWN_CAUSES <- END_WITHOUT_REASON = "update endings set cause = 'whim'";
    UNKNOWN_CAUSES <- END_A_SESSION_ON_A_WHIM = "update sessions set ended_cause = 'whim' where ended_at is not null";
    UNKNOWN_CAUSES <- END_A_FAMILY_ON_A_WHIM = "update families set ended_cause = 'whim' where ended_at is not null";
}

/// What is found after some statements, which are undone again.
async fn found_after(store: &Store, corruption: &'static [&'static Statement]) -> Vec<String> {
    let found = Arc::new(Mutex::new(None));
    let undone: Result<(), Failure> = store
        .transact(Lane::Ordinary, (corruption, Arc::clone(&found)), |tx, (corruption, found)| {
            Box::pin(async move {
                for statement in *corruption {
                    let changed = tx.run(statement, params![]).await?;
                    assert!(changed > 0, "{} breaks nothing", statement.name);
                }
                *found.lock().expect("no panic") = Some(verify(tx, &BOUNDS).await?);
                Err(Failure::Crypto("undone".into()))
            })
        })
        .await;
    assert!(matches!(undone, Err(Failure::Crypto(_))), "{undone:?}");
    found.lock().expect("no panic").take().expect("a verdict")
}

/// The names in what was found, in the order of their names.
fn names(found: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_check_has_a_corruption() {
    for check in checks() {
        assert!(CORRUPTIONS.iter().any(|(finds, _)| finds.contains(&check)), "nothing breaks {check}");
    }
    assert_eq!(ALL.len(), CORRUPTIONS.iter().map(|(_, statements)| statements.len()).sum::<usize>());
}

both_engines! {
    /// A new store lacks only its keys and its feed's number, which the first start makes.
    fn a_new_store_is_sound(store) {
        let new = store.read_long((), |tx, ()| Box::pin(verify(tx, &BOUNDS))).await.expect("a verdict");
        assert_eq!(
            new,
            ["FEED_WITHOUT_NUMBER: 1", "TENANTS_WITHOUT_SIGNING_KEY: 1", "TENANTS_WITHOUT_SEALING_KEY: 1"]
        );
    }

    fn what_is_broken_is_named_and_nothing_else(store) {
        let filled: Result<(), Failure> = store
            .transact(Lane::Ordinary, ctx(), |tx, ctx| {
                Box::pin(async move {
                    let client = ClientId("client".into());
                    configure(tx, ctx, &client).await?;
                    populate(tx, ctx, &client).await
                })
            })
            .await;
        filled.expect("a sound store");
        let sound = store.read_long((), |tx, ()| Box::pin(verify(tx, &BOUNDS))).await.expect("a verdict");
        assert_eq!(sound, Vec::<String>::new());
        for (finds, corruption) in CORRUPTIONS {
            let found = found_after(&store, corruption).await;
            let mut expected = finds.to_vec();
            expected.sort_unstable();
            assert_eq!(names(&found), expected, "{corruption:?}");
        }
    }
}
