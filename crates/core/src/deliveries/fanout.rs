//! Who has to hear of an ending: the applications that took part in the sessions that fell, have an address for it, and
//! want to hear of endings of this kind.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use curfew_model::config::ClientDoc;
use curfew_model::{ClientId, Ctx, EndingId, Failure, Initiator, LogCode, SessionKey, Sid, UserId, UserKey};
use curfew_store::changes::{self, ChangeId};
use curfew_store::deliveries::{Delivery, DeliveryId, LogoutToken, Message, ReceiverId};
use curfew_store::fanouts::{self, Claimed, Fell, Ground, Participant};
use curfew_store::{Lane, Tx, deliveries};
use curfew_tokens::digest::sha256;
use serde_json::json;

use super::TRIED_SECONDS;
use crate::changes::Change;
use crate::endings::{Scope, initiator};
use crate::event_streams::news;
use crate::logs::{self, LogEntry};
use crate::{Core, TenantConfig, signals};

/// Fan-outs that are expanded in one transaction.
const FANOUTS_MAX: i64 = 50;
/// Changes that are looked up at once.
const CHANGES_MAX: i64 = 50;
/// Participants of one fan-out in one transaction.
const PARTICIPANTS_MAX: i64 = 200;
/// Sessions looked at in one transaction where it is not known whose they are.
const SESSIONS_MAX: i64 = 1000;
/// Applications without an address that one ending remembers.
const UNTOLD_MAX: usize = 100;
/// Before every key.
const FIRST: SessionKey = SessionKey([0; 12]);

/// Expands what is open, of endings a page of each, of changes a page. Answers whether there may be more.
///
/// Failure: when nothing could be expanded. A fan-out that cannot be is passed over, and tried again with the next call.
pub(super) async fn expand(core: &Core, ctx: &Ctx) -> Result<bool, Failure> {
    let endings = expand_endings(core, ctx).await?;
    let changes = expand_changes(core, ctx).await?;
    Ok(endings || changes)
}

/// Tells streams of what changed. What nobody asked for is told to nobody, and goes.
async fn expand_changes(core: &Core, ctx: &Ctx) -> Result<bool, Failure> {
    let open =
        core.store.read(ctx.tenant, |tx, tenant| Box::pin(changes::open(tx, *tenant, CHANGES_MAX))).await?;
    if open.is_empty() {
        return Ok(false);
    }
    let config = core.tenant(ctx.tenant).await?;
    let mut stuck = false;
    for id in open {
        let args = (ctx.clone(), Arc::clone(&config), id);
        let expanded = core.store.transact(Lane::Ordinary, args, |tx, (ctx, config, id)| {
            Box::pin(expand_change(tx, ctx, config, id))
        });
        match expanded.await {
            Ok(()) => {}
            Err(failure @ (Failure::Inconsistent { .. } | Failure::Internal(_))) => {
                tracing::error!(%failure, "cannot work out whom to tell of a change");
                stuck = true;
            }
            Err(failure) => return Err(failure),
        }
    }
    // Those that are stuck would come again at once.
    Ok(!stuck)
}

async fn expand_change(tx: &mut Tx, ctx: &Ctx, config: &TenantConfig, id: &ChangeId) -> Result<(), Failure> {
    let Some(row) = changes::take(tx, ctx.tenant, id).await? else { return Ok(()) };
    let change: Change = serde_json::from_str(&row.doc).map_err(|_| Failure::Inconsistent {
        table: "changes",
        column: "doc",
        id: format!("{:032x}", u128::from_be_bytes(row.id)),
    })?;
    signals::of_change(tx, ctx, &row, &change).await?;
    news::of_change(tx, ctx, config, &row, &change).await
}

async fn expand_endings(core: &Core, ctx: &Ctx) -> Result<bool, Failure> {
    let open =
        core.store.read(ctx.tenant, |tx, tenant| Box::pin(fanouts::open(tx, *tenant, FANOUTS_MAX))).await?;
    if open.is_empty() {
        return Ok(false);
    }
    let config = core.tenant(ctx.tenant).await?;
    let Err(failure) = expand_pages(core, ctx, &config, open.clone()).await else { return Ok(true) };
    if !matches!(failure, Failure::Inconsistent { .. } | Failure::Internal(_)) {
        return Err(failure);
    }
    let mut stuck = false;
    for ending in open {
        if let Err(failure) = expand_pages(core, ctx, &config, vec![ending]).await {
            tracing::error!(%failure, ending_id = %ending, "cannot work out whom to tell of an ending");
            stuck = true;
        }
    }
    // Those that are stuck would come again at once.
    Ok(!stuck)
}

async fn expand_pages(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    endings: Vec<EndingId>,
) -> Result<(), Failure> {
    let args = (ctx.clone(), Arc::clone(config), endings);
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, config, endings)| {
            Box::pin(async move {
                for ending in endings {
                    if let Some(claimed) = fanouts::claim(tx, ctx.tenant, ending).await? {
                        expand_page(tx, ctx, config, ending, &claimed).await?;
                    }
                }
                Ok(())
            })
        })
        .await
}

/// Participants, and where the next page begins; `None` when this is the last.
struct Page {
    participants: Vec<Participant>,
    next: Option<String>,
}

async fn expand_page(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    ending: &EndingId,
    claimed: &Claimed,
) -> Result<(), Failure> {
    let broken =
        |column: &'static str| Failure::Inconsistent { table: "fanouts", column, id: ending.to_string() };
    let scope: Option<Scope> =
        claimed.scope.as_deref().map(serde_json::from_str).transpose().map_err(|_| broken("scope"))?;
    let mut untold: BTreeSet<ClientId> = match claimed.untold.as_deref() {
        Some(text) => serde_json::from_str(text).map_err(|_| broken("untold"))?,
        None => BTreeSet::new(),
    };
    let page = match &scope {
        Some(scope) => page(tx, ctx, scope, claimed).await?.ok_or_else(|| broken("reached"))?,
        None => Page { participants: Vec::new(), next: None },
    };
    let counter = match &scope {
        Some(Scope::Everything { counter, .. }) => Some(*counter),
        _ => None,
    };
    if let Some(initiator) = initiator(claimed.cause) {
        let about = About { ending: *ending, initiator, counter, sub: claimed.user_id.clone() };
        tell_clients(tx, ctx, &about, &page.participants, &mut untold).await?;
        if page.next.is_none() && counter.is_some() && !untold.is_empty() {
            name_untold(tx, ctx, &about, &untold).await?;
        }
    }
    if claimed.reached.is_none() {
        news::of_ending(tx, ctx, config, ending, claimed).await?;
    }
    signals::of_ending(tx, ctx, ending, claimed, scope.as_ref(), &page.participants).await?;
    let untold = (!untold.is_empty()).then(|| json!(untold).to_string());
    let expanded_at = page.next.is_none().then_some(ctx.now);
    fanouts::reach(tx, ctx.tenant, ending, page.next.as_deref(), expanded_at, untold.as_deref()).await
}

/// Writes a delivery for each client that took part and wants to hear of it; `untold` gets those that have no address.
async fn tell_clients(
    tx: &mut Tx,
    ctx: &Ctx,
    about: &About,
    participants: &[Participant],
    untold: &mut BTreeSet<ClientId>,
) -> Result<(), Failure> {
    // A client is in a page once for each session, and its document is always the same.
    let mut documents: HashMap<ClientId, Option<ClientDoc>> = HashMap::new();
    for participant in participants {
        let doc = match documents.get(&participant.client_id) {
            Some(doc) => doc,
            None => {
                let doc = read(participant)?;
                &*documents.entry(participant.client_id.clone()).or_insert(doc)
            }
        };
        // An application that is gone has nobody to tell, and no address.
        let Some(doc) = doc else { continue };
        match doc.oidc_logout.url() {
            None => {
                if untold.len() < UNTOLD_MAX {
                    untold.insert(participant.client_id.clone());
                }
            }
            Some(url) if doc.oidc_logout.hears_of(about.initiator) => {
                let delivery = about.delivery(ctx, participant, url, doc);
                deliveries::insert(tx, ctx.tenant, &delivery).await?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn read(participant: &Participant) -> Result<Option<ClientDoc>, Failure> {
    let parse = |text: &String| {
        serde_json::from_str(text).map_err(|_| Failure::Inconsistent {
            table: "clients",
            column: "doc",
            id: participant.client_id.to_string(),
        })
    };
    participant.client_doc.as_ref().map(parse).transpose()
}

/// Everything of a person has ended, and applications go on with sessions of their own because nobody can tell them.
async fn name_untold(
    tx: &mut Tx,
    ctx: &Ctx,
    about: &About,
    untold: &BTreeSet<ClientId>,
) -> Result<(), Failure> {
    let entry = LogEntry {
        code: LogCode::BackchannelLogoutFailed,
        user_id: about.sub.as_ref().map(UserId::as_str),
        client_id: None,
        description: "applications without an address for logout tokens",
        details: json!({
            "initiator": about.initiator.as_str(),
            "ending_id": about.ending,
            "errors": untold
                .iter()
                .map(|client| json!({ "client_id": client, "message": "no back-channel logout URL" }))
                .collect::<Vec<_>>(),
        }),
    };
    logs::write(tx, ctx, &entry).await
}

/// `None` when what was reached before does not read.
async fn page(tx: &mut Tx, ctx: &Ctx, scope: &Scope, claimed: &Claimed) -> Result<Option<Page>, Failure> {
    match (scope, claimed.user) {
        (Scope::Everything { counter, floor } | Scope::Sessions { counter, floor }, Some(user)) => {
            let fell = Fell { user, counter: *counter, floor: *floor, at: claimed.at };
            page_of_user(tx, ctx, &fell, None, claimed.reached.as_deref()).await
        }
        (Scope::Identity { provider, identity_id, counter, floor }, Some(user)) => {
            let fell = Fell { user, counter: *counter, floor: *floor, at: claimed.at };
            let identity = Some((provider.as_str(), identity_id.as_str()));
            page_of_user(tx, ctx, &fell, identity, claimed.reached.as_deref()).await
        }
        (Scope::Session, Some(user)) => {
            let Some(session) = claimed.session else { return Ok(None) };
            let after = claimed.reached.as_deref().unwrap_or("");
            let found =
                fanouts::of_session(tx, ctx.tenant, (&user, &session), after, PARTICIPANTS_MAX).await?;
            let next = full(&found).then(|| found.last().map(|last| last.client_id.0.clone())).flatten();
            Ok(Some(Page { participants: found, next }))
        }
        (Scope::Connection { id }, _) => {
            page_of_ground(tx, ctx, Ground::Connection(id), claimed.reached.as_deref()).await
        }
        (Scope::SealingKey { id }, _) => {
            page_of_ground(tx, ctx, Ground::SealingKey(*id), claimed.reached.as_deref()).await
        }
        _ => Ok(None),
    }
}

fn full(found: &[Participant]) -> bool {
    i64::try_from(found.len()).is_ok_and(|found| found >= PARTICIPANTS_MAX)
}

/// What was reached is a session's key, a full stop, and a client.
async fn page_of_user(
    tx: &mut Tx,
    ctx: &Ctx,
    fell: &Fell,
    identity: Option<(&str, &str)>,
    reached: Option<&str>,
) -> Result<Option<Page>, Failure> {
    let (session, client) = match reached {
        None => (FIRST, ""),
        Some(reached) => {
            let parts = reached.split_once('.');
            let Some((Some(session), client)) = parts.map(|(key, client)| (SessionKey::parse(key), client))
            else {
                return Ok(None);
            };
            (session, client)
        }
    };
    let after = (&session, client);
    let found = fanouts::of_user(tx, ctx.tenant, fell, identity, after, PARTICIPANTS_MAX).await?;
    let last = found.last().filter(|_| full(&found));
    let next = last.map(|last| format!("{}.{}", last.session, last.client_id));
    Ok(Some(Page { participants: found, next }))
}

/// What was reached is a session.
async fn page_of_ground(
    tx: &mut Tx,
    ctx: &Ctx,
    ground: Ground<'_>,
    reached: Option<&str>,
) -> Result<Option<Page>, Failure> {
    let after = match reached {
        None => Sid { user: UserKey([0; 12]), session: FIRST },
        Some(reached) => match Sid::parse(reached) {
            Some(sid) => sid,
            None => return Ok(None),
        },
    };
    let after = (&after.user, &after.session);
    let end = fanouts::page_end(tx, ctx.tenant, after, SESSIONS_MAX).await?;
    let (user, session) = end.unwrap_or((UserKey([0xff; 12]), SessionKey([0xff; 12])));
    let participants = fanouts::of_ground(tx, ctx.tenant, ground, after, (&user, &session)).await?;
    let next = end.map(|(user, session)| Sid { user, session }.to_string());
    Ok(Some(Page { participants, next }))
}

/// What every delivery of one ending has in common.
struct About {
    ending: EndingId,
    initiator: Initiator,
    /// Where everything of a user ended: the person is named alone, and everything below this counter is meant. An
    /// application that must be given a session is told of each instead.
    counter: Option<i64>,
    sub: Option<UserId>,
}

impl About {
    fn delivery(&self, ctx: &Ctx, to: &Participant, url: &str, doc: &ClientDoc) -> Delivery {
        let counter = self.counter.filter(|_| !doc.oidc_logout.backchannel_logout_session_required);
        let session = counter.is_none().then_some(to.session);
        let told = LogoutToken {
            user: to.user,
            session,
            counter,
            url: url.to_owned(),
            alg: doc.jwt_configuration.alg.clone().unwrap_or_else(|| "RS256".to_owned()),
            initiator: self.initiator,
        };
        Delivery::new(
            delivery_id(&self.ending, &to.client_id, &to.issuer, session.as_ref()),
            Some(self.ending),
            (ReceiverId(to.client_id.0.clone()), Message::LogoutToken(told)),
            (self.sub.clone().or_else(|| to.user_id.clone()), to.issuer.clone()),
            (ctx.now, ctx.now.plus_seconds(TRIED_SECONDS)),
        )
    }
}

/// One ending tells one application one thing once: what is told decides the key.
pub(super) fn delivery_id(
    ending: &EndingId,
    client: &ClientId,
    issuer: &str,
    session: Option<&SessionKey>,
) -> DeliveryId {
    let mut told = ending.as_bytes().to_vec();
    for part in [client.as_str().as_bytes(), issuer.as_bytes()] {
        told.extend_from_slice(&(part.len() as u64).to_be_bytes());
        told.extend_from_slice(part);
    }
    told.extend_from_slice(session.map_or(&[], |key| key.as_bytes()));
    let hash = sha256(&told);
    let mut id = DeliveryId::default();
    id.copy_from_slice(&hash[..16]);
    id
}
