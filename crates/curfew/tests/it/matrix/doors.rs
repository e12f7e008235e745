//! Every door, by every trigger it has.

use std::time::Duration;

use curfew::serve::job_ctx;
use curfew_core::endings::Actor;
use curfew_model::{EndingCause, SessionKey, Sid, UserId};
use curfew_store::{Lane, sessions as store, users};
use serde_json::{Value, json};

use super::estate::{Estate, Plan};
use super::{Artefact, Door, Witness};
use crate::support::{CONNECTION, Curfew, Double, ISSUER, MANAGEMENT, PASSWORD, Person, Tokens};

/// Declares one story for each cause; a cause without one does not compile.
macro_rules! doors {
    ($($cause:ident fn $name:ident($door:ident) $body:block)*) => {
        in_a_box! {$(
            fn $name(curfew) {
                let $door = Door::new(curfew, EndingCause::$cause).await;
                $body
            }
        )*}

        /// The causes that have a door here.
        const OPENED: &[EndingCause] = &[$(EndingCause::$cause),*];
    };
}

const _: () = {
    let mut index = 0;
    while index < EndingCause::ALL.len() {
        let mut opened = 0;
        while OPENED[opened] as u8 != EndingCause::ALL[index] as u8 {
            opened += 1;
            assert!(opened < OPENED.len(), "a cause of endings has no door in the matrix");
        }
        index += 1;
    }
};

async fn block(door: &Door, estate: &Estate, blocked: bool) {
    door.operator.change_user(&estate.person, json!({ "blocked": blocked })).await.expect(200);
}

/// Makes an estate's person a secondary identity of somebody else.
async fn link(door: &Door, primary: &Person, estate: &Estate) {
    link_people(door, primary, &estate.person).await;
}

async fn link_people(door: &Door, primary: &Person, secondary: &Person) {
    let body = json!({ "provider": "auth0", "user_id": secondary.user_id });
    door.operator.post(&format!("/users/{}/identities", primary.path()), body).await.expect(201);
}

async fn revoke_access(door: &Door, estate: &Estate, body: serde_json::Value) {
    let path = format!("/users/{}/revoke-access", estate.person.path());
    door.operator.post(&path, body).await.expect(202);
}

async fn set_rotation(door: &Door, estate: &Estate, on: bool) {
    let settings = if on {
        json!({ "rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0 })
    } else {
        json!({ "rotation_type": "non-rotating", "expiration_type": "non-expiring" })
    };
    let path = format!("/clients/{}", estate.application.client_id);
    door.operator.patch(&path, json!({ "refresh_token": settings })).await.expect(200);
}

/// Somebody notices that a session's time is over: the sweeper, or whoever uses its cookie next.
async fn over(door: &Door, estate: &Estate, sweeps: bool) {
    if sweeps {
        assert!(door.curfew.sweep().await.sessions_ended > 0);
    } else {
        let silent = estate.browser.authorize_silently(&estate.neighbour, &[]).await;
        assert_eq!(silent.error().as_deref(), Some("login_required"));
    }
}

/// Gives a person sessions as if they had logged in as often, without the work of hashing.
async fn crowd(door: &Door, person: &Person, sessions: usize) {
    let ctx = job_ctx(&door.curfew.core, ISSUER);
    let user_id = UserId(person.user_id.clone());
    let made = door.curfew.store().transact(Lane::Ordinary, (ctx, user_id), move |tx, (ctx, user_id)| {
        Box::pin(async move {
            let user = users::find_key(tx, ctx.tenant, user_id).await?.expect("the person");
            let row = users::find(tx, ctx.tenant, &user).await?.expect("the person");
            let identity_id = user_id.as_str().trim_start_matches("auth0|").to_owned();
            for _ in 0..sessions {
                let new = store::NewSession {
                    sid: Sid { user, session: SessionKey::generate(&*ctx.entropy) },
                    counter: row.counter,
                    provider: "auth0".to_owned(),
                    identity_id: identity_id.clone(),
                    connection_id: row.connection_id.clone(),
                    secret_hash: vec![0; 32],
                    sealing_key: 1,
                    issuer: ISSUER.to_owned(),
                    now: ctx.now,
                    idle_expires_at: ctx.now.plus_seconds(3600),
                    expires_at: ctx.now.plus_seconds(3600),
                    persistent: true,
                    device: "{}".to_owned(),
                    methods: "[]".to_owned(),
                };
                store::insert(tx, ctx.tenant, &new).await?;
                let beyond = store::beyond_cap(tx, ctx.tenant, &user, ctx.now, 1000).await?;
                assert!(beyond.is_empty(), "the crowd is within the limit");
            }
            Ok(())
        })
    });
    made.await.expect("the sessions");
}

/// The session stays: what it gives from now on lives, refresh tokens included.
async fn assert_new_tokens_live(estate: &Estate) {
    let asked = [("audience", estate.api.as_str()), ("scope", "openid offline_access")];
    let answer = estate.browser.authorize_silently(&estate.application, &asked).await;
    let code = answer.code().unwrap_or_else(|| panic!("no code: {:?}", answer.location()));
    let tokens = Tokens::of(&estate.application.redeem(&code).await);
    estate.application.userinfo(&tokens.access).await.expect(200);
    let tokens = Tokens::of(&estate.application.refresh(tokens.refresh()).await);
    estate.application.userinfo(&tokens.access).await.expect(200);
}

/// The refresh token of another API stays, and what it gives from now on lives.
async fn assert_userinfo_refresh_lives(estate: &Estate) {
    let tokens = Tokens::of(&estate.application.refresh(&estate.userinfo_refresh).await);
    estate.application.userinfo(&tokens.access).await.expect(200);
}

/// A tenant setting.
async fn set(door: &Door, settings: serde_json::Value) {
    door.operator.patch("/tenants/settings", settings).await.expect(200);
}

/// Does something at a node where an Action of post-login makes this call of `api`. It is taken out again: nothing that is
/// tried afterwards runs it.
async fn with_action(door: &Door, call: &str, args: Value, act: impl AsyncFnOnce(&Curfew)) {
    let double = Double::default();
    let name = format!("{call} {args}");
    double.asks(&name, &[(call, args)]);
    let node = double.bound(&door.curfew, "post-login", &[&name]).await;
    act(&node).await;
    node.core.logs.drain().await;
    let none = json!({ "bindings": [] });
    door.operator.patch("/actions/triggers/post-login/bindings", none).await.expect(200);
}

/// Logs in silently where an Action ends the session.
async fn ended_by_action(door: &Door, estate: &Estate, call: &str, args: Value) {
    with_action(door, call, args, async |node| {
        let answer = estate.browser.at(node).authorize_silently(&estate.neighbour, &[]).await.expect(302);
        assert!(answer.code().is_none(), "{:?}", answer.location());
    })
    .await;
}

doors! {
    UserBlocked fn user_blocked(door) {
        let walk = async |door: &Door, estate: &mut Estate| block(door, estate, true).await;
        let mut walked = door.walk("PATCH users blocked", Plan::default(), Witness::OtherPerson, walk).await;
        walked.undone_by(async |door, estate| block(door, estate, false).await).await;
    }

    UserDeleted fn user_deleted(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            door.operator.delete(&format!("/users/{}", estate.person.path())).await.expect(204);
        };
        let mut walked = door.walk("DELETE users", Plan::default(), Witness::OtherPerson, walk).await;
        // Somebody with the same e-mail, and even with the same id.
        walked.undone_by(async |door, estate| {
            let id = estate.person.user_id.trim_start_matches("auth0|").to_owned();
            let again = json!({
                "connection": CONNECTION, "email": estate.person.email, "password": PASSWORD, "user_id": id
            });
            door.operator.post("/users", again).await.expect(201);
        })
        .await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let id = door.operator.connection_id(CONNECTION).await;
            let email = estate.person.email.replace('@', "%40");
            door.operator.delete(&format!("/connections/{id}/users?email={email}")).await.expect(204);
        };
        door.walk("DELETE connections users", Plan::default(), Witness::OtherPerson, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let primary = door.operator.make_person().await;
            link(door, &primary, estate).await;
        };
        door.walk("POST identities", Plan::default(), Witness::OtherPerson, walk).await;
    }

    AccessRevoked fn access_revoked(door) {
        let walk = async |door: &Door, estate: &mut Estate| revoke_access(door, estate, json!({})).await;
        door.walk("POST revoke-access", Plan::default(), Witness::OtherPerson, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            revoke_access(door, estate, json!({ "preserve_refresh_tokens": true })).await;
        };
        let spared = [Artefact::RefreshToken];
        let told = ["user_sessions"];
        door.walk_sparing("POST revoke-access preserving", Plan::default(), Witness::OtherPerson, (&spared, &told), walk)
            .await;
    }

    PasswordChanged fn password_changed(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let change = json!({ "password": "Another-Horse-8", "connection": CONNECTION });
            door.operator.change_user(&estate.person, change).await.expect(200);
        };
        let mut walked = door.walk("PATCH users password", Plan::default(), Witness::OtherPerson, walk).await;
        walked.undone_by(async |door, estate| {
            let change = json!({ "password": PASSWORD, "connection": CONNECTION });
            door.operator.change_user(&estate.person, change).await.expect(200);
        })
        .await;
    }

    IdentifierChanged fn identifier_changed(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let email = format!("new-{}", estate.person.email);
            door.operator.change_user(&estate.person, json!({ "email": email })).await.expect(200);
        };
        let mut walked = door.walk("PATCH users email", Plan::default(), Witness::OtherPerson, walk).await;
        walked.undone_by(async |door, estate| {
            let change = json!({ "email": estate.person.email });
            door.operator.change_user(&estate.person, change).await.expect(200);
        })
        .await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let change = json!({ "email_verified": false });
            door.operator.change_user(&estate.person, change).await.expect(200);
        };
        door.walk("PATCH users email_verified", Plan::default(), Witness::OtherPerson, walk).await;

        let connection = door.operator.make_connection(json!({ "requires_username": true })).await;
        let named = json!({ "username": "ada" });
        let person = Some(door.operator.make_person_with(&connection, named).await);
        let plan = Plan { person, connection: Some(connection), ..Plan::default() };
        let walk = async |door: &Door, estate: &mut Estate| {
            let change = json!({ "username": "lovelace" });
            door.operator.change_user(&estate.person, change).await.expect(200);
        };
        door.walk("PATCH users username", plan, Witness::OtherConnection, walk).await;
    }

    RpLogout fn rp_logout(door) {
        let walk = async |_: &Door, estate: &mut Estate| {
            estate.browser.get("v2/logout").await.expect(200);
            assert!(!estate.browser.has_session_cookie());
        };
        door.walk("/v2/logout", Plan::default(), Witness::OtherBrowser, walk).await;

        let walk = async |_: &Door, estate: &mut Estate| {
            let url = format!("oidc/logout?id_token_hint={}", estate.id_token);
            estate.browser.get(&url).await.expect(200);
            assert!(!estate.browser.has_session_cookie());
        };
        door.walk("/oidc/logout with a hint", Plan::default(), Witness::OtherBrowser, walk).await;

        let walk = async |_: &Door, estate: &mut Estate| {
            let page = estate.browser.get("oidc/logout").await.expect(200);
            assert!(estate.browser.has_session_cookie(), "nobody was asked");
            let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
            let fields = [("state", &*state), ("csrf", &*csrf), ("action", "accept")];
            estate.browser.post("u/logout", &fields).await.expect(200);
        };
        door.walk("/oidc/logout and its page", Plan::default(), Witness::OtherBrowser, walk).await;
    }

    SessionDeleted fn session_deleted(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            door.operator.delete(&format!("/sessions/{}", estate.session_id)).await.expect(202);
        };
        door.walk("DELETE sessions", Plan::default(), Witness::OtherBrowser, walk).await;
    }

    SessionRevoked fn session_revoked(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let path = format!("/sessions/{}/revoke", estate.session_id);
            door.operator.post(&path, json!({})).await.expect(202);
        };
        door.walk("POST sessions revoke", Plan::default(), Witness::OtherBrowser, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            ended_by_action(door, estate, "session.revoke", json!(["over", {}])).await;
        };
        door.walk("api.session.revoke", Plan::default(), Witness::OtherBrowser, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let args = json!(["over", { "preserveRefreshTokens": true }]);
            ended_by_action(door, estate, "session.revoke", args).await;
        };
        let (spared, told) = ([Artefact::RefreshToken], ["session"]);
        let name = "api.session.revoke, preserving";
        door.walk_sparing(name, Plan::default(), Witness::OtherBrowser, (&spared, &told), walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let body = json!({ "session_id": estate.session_id });
            revoke_access(door, estate, body).await;
        };
        door.walk("POST revoke-access of a session", Plan::default(), Witness::OtherBrowser, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let body = json!({ "session_id": estate.session_id, "preserve_refresh_tokens": true });
            revoke_access(door, estate, body).await;
        };
        let (spared, told) = ([Artefact::RefreshToken], ["session"]);
        let name = "POST revoke-access of a session, preserving";
        let mut walked =
            door.walk_sparing(name, Plan::default(), Witness::OtherBrowser, (&spared, &told), walk).await;
        // What was spared can be revoked with the session all the same.
        let body = json!({ "session_id": walked.estate.session_id });
        revoke_access(&door, &walked.estate, body).await;
        assert!(!walked.estate.is_alive(&door.curfew, Artefact::RefreshToken).await);
    }

    UserSessionsDeleted fn user_sessions_deleted(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            door.operator.delete(&format!("/users/{}/sessions", estate.person.path())).await.expect(202);
        };
        door.walk("DELETE users sessions", Plan::default(), Witness::OtherPerson, walk).await;
    }

    UserFamiliesRevoked fn user_families_revoked(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let path = format!("/users/{}/refresh-tokens", estate.person.path());
            door.operator.delete(&path).await.expect(202);
        };
        door.walk("DELETE users refresh-tokens", Plan::default(), Witness::OtherPerson, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let body = json!({ "user_id": estate.person.user_id });
            door.operator.post("/refresh-tokens/revoke", body).await.expect(202);
        };
        let walked = door.walk("POST refresh-tokens revoke", Plan::default(), Witness::OtherPerson, walk).await;
        // The session stays, and what it gives from now on is alive.
        assert_new_tokens_live(&walked.estate).await;
    }

    ClientFamiliesRevoked fn client_families_revoked(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let body = json!({ "user_id": estate.person.user_id, "client_id": estate.application.client_id });
            door.operator.post("/refresh-tokens/revoke", body).await.expect(202);
        };
        let walked = door.walk("POST revoke by client", Plan::default(), Witness::OtherClient, walk).await;
        assert_new_tokens_live(&walked.estate).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let (user, client) = (&estate.person.user_id, &estate.application.client_id);
            let body = json!({ "user_id": user, "client_id": client, "audience": estate.api });
            door.operator.post("/refresh-tokens/revoke", body).await.expect(202);
        };
        let walked = door.walk("POST revoke by audience", Plan::default(), Witness::OtherClient, walk).await;
        assert_userinfo_refresh_lives(&walked.estate).await;

        set(&door, json!({ "flags": { "revoke_refresh_token_grant": true } })).await;
        let walk = async |_: &Door, estate: &mut Estate| {
            estate.application.revoke(&estate.refresh).await.expect(200);
        };
        let walked = door.walk("/oauth/revoke of the grant", Plan::default(), Witness::OtherClient, walk).await;
        assert_userinfo_refresh_lives(&walked.estate).await;
    }

    FamilyRevoked fn family_revoked(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            for id in estate.families(door).await {
                door.operator.delete(&format!("/refresh-tokens/{id}")).await.expect(202);
            }
        };
        let walked = door.walk("DELETE refresh-tokens", Plan::default(), Witness::OtherBrowser, walk).await;
        assert_new_tokens_live(&walked.estate).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let ids = estate.families(door).await;
            door.operator.post("/refresh-tokens/revoke", json!({ "ids": ids })).await.expect(202);
        };
        door.walk("POST refresh-tokens revoke ids", Plan::default(), Witness::OtherBrowser, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            with_action(door, "refreshToken.revoke", json!(["over"]), async |node| {
                let application = estate.application.at(node);
                for token in [&estate.refresh, &estate.userinfo_refresh] {
                    let refused = application.refresh(token).await.expect(403);
                    assert_eq!(refused.error().as_deref(), Some("access_denied"));
                }
            })
            .await;
        };
        door.walk("api.refreshToken.revoke", Plan::default(), Witness::OtherBrowser, walk).await;
    }

    TokenRevoked fn token_revoked(door) {
        let walk = async |_: &Door, estate: &mut Estate| {
            estate.application.revoke(&estate.refresh).await.expect(200);
            estate.application.revoke(&estate.userinfo_refresh).await.expect(200);
        };
        door.walk("/oauth/revoke", Plan::default(), Witness::OtherBrowser, walk).await;
    }

    RefreshTokenReuse fn refresh_token_reuse(door) {
        let walk = async |_: &Door, estate: &mut Estate| {
            for old in [estate.old_refresh.clone(), estate.old_userinfo_refresh.clone()] {
                let old = old.expect("a token of an older generation");
                // The second presentation finds the family ended, and records nothing.
                for _ in 0..2 {
                    let answer = estate.application.refresh(&old).await.expect(403);
                    assert_eq!(answer.error().as_deref(), Some("invalid_grant"));
                }
            }
        };
        let walked = door.walk("an older generation", Plan::default(), Witness::OtherBrowser, walk).await;
        // Once a family, with both requests side by side.
        let logs = door.logs().await;
        let reuses: Vec<&String> =
            logs.iter().filter(|(code, _)| code == "ferrt").map(|(_, doc)| doc).collect();
        assert_eq!(reuses.len(), 2, "{reuses:?}");
        assert!(reuses.iter().all(|doc| doc.contains("\"rotated\"") && doc.contains("\"replayed\"")));
        drop(walked);
    }

    CodeReplay fn code_replay(door) {
        let walk = async |_: &Door, estate: &mut Estate| {
            for code in estate.redeemed.clone() {
                for _ in 0..2 {
                    let answer = estate.application.redeem(&code).await.expect(403);
                    assert_eq!(answer.error().as_deref(), Some("invalid_grant"));
                }
            }
        };
        door.walk("a second redemption", Plan::default(), Witness::OtherBrowser, walk).await;

        // A code is remembered longer than it lives.
        let walk = async |door: &Door, estate: &mut Estate| {
            door.curfew.advance(3000);
            for code in estate.redeemed.clone() {
                estate.application.redeem(&code).await.expect(403);
            }
            let person = estate.person.clone();
            let application = Some(estate.application.clone());
            let api = Some(estate.api.clone());
            let fresh = Estate::make(door, Plan { person: Some(person), application, api, ..Plan::default() }).await;
            estate.take_codes(fresh);
        };
        door.walk("a late second redemption", Plan::default(), Witness::Nobody, walk).await;
    }

    RotationToggled fn rotation_toggled(door) {
        // Off: each family ends when it is presented.
        let walk = async |door: &Door, estate: &mut Estate| {
            set_rotation(door, estate, false).await;
            for token in [&estate.refresh, &estate.userinfo_refresh] {
                estate.application.refresh(token).await.expect(403);
            }
        };
        let mut walked = door.walk("rotation off", Plan::default(), Witness::OtherClient, walk).await;
        walked.undone_by(async |door, estate| set_rotation(door, estate, true).await).await;

        // On: the first family of an API that is presented goes on, the others of that API end.
        let fixed = json!({ "refresh_token": { "rotation_type": "non-rotating", "expiration_type": "non-expiring" } });
        let walk = async |door: &Door, estate: &mut Estate| {
            let rival = estate.witness(door, Witness::OtherBrowser).await.expect("a rival");
            set_rotation(door, estate, true).await;
            for token in [&rival.refresh, &rival.userinfo_refresh] {
                let tokens = Tokens::of(&estate.application.refresh(token).await);
                Tokens::of(&estate.application.refresh(tokens.refresh()).await);
            }
        };
        let plan = Plan { client: Some(fixed), ..Plan::default() };
        door.walk("rotation on", plan, Witness::OtherClient, walk).await;
    }

    FamilyLimit fn family_limit(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let asked = [("scope", "openid offline_access")];
            door.curfew.advance(1);
            // Those of the trigger come after the two of the estate: 200 stay.
            for _ in 0..200 {
                let answer = estate.browser.authorize_silently(&estate.application, &asked).await;
                Tokens::of(&estate.application.redeem(&answer.code().expect("a code")).await);
            }
        };
        door.walk("200 more", Plan::default(), Witness::OtherClient, walk).await;
    }

    IdleTimeout fn idle_timeout(door) {
        for (trigger, sweeps) in [("the next use", false), ("the sweeper", true)] {
            set(&door, json!({ "idle_session_lifetime": 72, "session_lifetime": 168 })).await;
            let person = Some(door.operator.make_person().await);
            let outside = Estate::make(&door, Plan { person: person.clone(), ..Plan::default() }).await;
            set(&door, json!({ "idle_session_lifetime_in_minutes": 1 })).await;
            let walk = async |door: &Door, estate: &mut Estate| {
                door.curfew.advance(61);
                over(door, estate, sweeps).await;
            };
            door.walk(trigger, Plan { person, ..Plan::default() }, Witness::Nobody, walk).await;
            // A lowered limit ends a session at its next use; this one was not used meanwhile.
            set(&door, json!({ "idle_session_lifetime": 72 })).await;
            outside.browser.authorize_silently(&outside.neighbour, &[]).await.code().expect("a session begun before");
        }

        let walk = async |door: &Door, estate: &mut Estate| {
            ended_by_action(door, estate, "session.setIdleExpiresAt", json!([1])).await;
        };
        door.walk("api.session.setIdleExpiresAt", Plan::default(), Witness::OtherBrowser, walk).await;
    }

    LifetimeReached fn lifetime_reached(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            ended_by_action(door, estate, "session.setExpiresAt", json!([1])).await;
        };
        door.walk("api.session.setExpiresAt", Plan::default(), Witness::OtherBrowser, walk).await;

        set(&door, json!({ "idle_session_lifetime_in_minutes": 1, "session_lifetime_in_minutes": 1 })).await;
        for (trigger, sweeps) in [("the next use", false), ("the sweeper", true)] {
            let walk = async |door: &Door, estate: &mut Estate| {
                door.curfew.advance(61);
                over(door, estate, sweeps).await;
            };
            door.walk(trigger, Plan::default(), Witness::Nobody, walk).await;
        }
    }

    FamilyExpired fn family_expired(door) {
        let lifetimes = [
            ("idleness", json!({ "idle_token_lifetime": 60, "token_lifetime": 3600 })),
            ("its absolute end", json!({ "idle_token_lifetime": 60, "token_lifetime": 60 })),
        ];
        for (trigger, lifetimes) in lifetimes {
            let mut settings = json!({
                "rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0,
                "infinite_token_lifetime": false, "infinite_idle_token_lifetime": false,
            });
            settings.as_object_mut().unwrap().extend(lifetimes.as_object().unwrap().clone());
            let plan = Plan { client: Some(json!({ "refresh_token": settings })), ..Plan::default() };
            let walk = async |door: &Door, estate: &mut Estate| {
                door.curfew.advance(61);
                for token in [&estate.refresh, &estate.userinfo_refresh] {
                    estate.application.refresh(token).await.expect(403);
                }
            };
            door.walk(trigger, plan, Witness::OtherClient, walk).await;
        }
    }

    GrantDeleted fn grant_deleted(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let (id, user) = (&estate.application.client_id, &estate.person.user_id);
            let path = format!("/grants?user_id={}&client_id={id}", user.replace('|', "%7C"));
            let grants = door.operator.get(&path).await.expect(200).json();
            for grant in grants.as_array().expect("grants") {
                let id = grant["id"].as_str().expect("an id");
                door.operator.delete(&format!("/grants/{id}")).await.expect(204);
            }
        };
        let walked = door.walk("DELETE grants", Plan::default(), Witness::OtherClient, walk).await;
        assert_userinfo_refresh_lives(&walked.estate).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            door.operator.delete(&format!("/grants?user_id={}", estate.person.path())).await.expect(204);
        };
        door.walk("DELETE grants of a user", Plan::default(), Witness::OtherPerson, walk).await;
    }

    ClientGrantDeleted fn client_grant_deleted(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let path = format!("/client-grants?client_id={}", estate.application.client_id);
            let grants = door.operator.get(&path).await.expect(200).json();
            let id = grants[0]["id"].as_str().expect("a client grant");
            door.operator.delete(&format!("/client-grants/{id}")).await.expect(204);
        };
        let mut walked = door.walk("DELETE client-grants", Plan::default(), Witness::OtherClient, walk).await;
        walked.undone_by(async |door, estate| {
            let client_id = &estate.application.client_id;
            let grant = json!({ "client_id": client_id, "audience": MANAGEMENT, "scope": ["read:connections"] });
            door.operator.post("/client-grants", grant).await.expect(201);
        })
        .await;
    }

    ClientDeleted fn client_deleted(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let id = &estate.application.client_id;
            door.operator.delete(&format!("/clients/{id}")).await.expect(204);
        };
        door.walk("DELETE clients", Plan::default(), Witness::OtherClient, walk).await;
    }

    ClientAccessRevoked fn client_access_revoked(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let body = json!({ "client_id": estate.application.client_id });
            door.operator.post("/endings", body).await.expect(201);
        };
        door.walk("POST endings client_id", Plan::default(), Witness::OtherClient, walk).await;
    }

    ClientSecretRotated fn client_secret_rotated(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let path = format!("/clients/{}/rotate-secret", estate.application.client_id);
            let rotated = door.operator.post(&path, json!({})).await.expect(200).json();
            let secret = rotated["client_secret"].as_str().expect("a secret").to_owned();
            estate.application.client_credentials().await.expect(401);
            estate.application.secret = Some(secret);
        };
        door.walk("POST rotate-secret", Plan::default(), Witness::Nobody, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let secret = "another secret that is long enough to be one";
            let path = format!("/clients/{}", estate.application.client_id);
            door.operator.patch(&path, json!({ "client_secret": secret })).await.expect(200);
            estate.application.secret = Some(secret.to_owned());
        };
        door.walk("PATCH clients client_secret", Plan::default(), Witness::Nobody, walk).await;
    }

    ResourceServerDeleted fn resource_server_deleted(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let id = estate.api.replace(':', "%3A").replace('/', "%2F");
            door.operator.delete(&format!("/resource-servers/{id}")).await.expect(204);
        };
        let mut walked = door.walk("DELETE resource-servers", Plan::default(), Witness::OtherApi, walk).await;
        assert_userinfo_refresh_lives(&walked.estate).await;
        walked.undone_by(async |door, estate| {
            let api = json!({
                "identifier": estate.api, "allow_offline_access": true,
                "skip_consent_for_verifiable_first_party_clients": true,
            });
            door.operator.post("/resource-servers", api).await.expect(201);
        })
        .await;
        // What the new API gives out lives.
        door.curfew.advance(1);
        assert_new_tokens_live(&walked.estate).await;
    }

    ConnectionDeleted fn connection_deleted(door) {
        let connection = door.operator.make_connection(json!({})).await;
        let walk = async |door: &Door, estate: &mut Estate| {
            let id = door.operator.connection_id(&estate.connection).await;
            door.operator.delete(&format!("/connections/{id}")).await.expect(202);
            // Its users are deleted one by one, in the background.
            let is_there = async || door.operator.get(&format!("/users/{}", estate.person.path())).await.status == 200;
            let gone = async {
                while is_there().await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the user is deleted");
        };
        let plan = Plan { connection: Some(connection), ..Plan::default() };
        let mut walked = door.walk("DELETE connections", plan, Witness::OtherConnection, walk).await;
        walked.undone_by(async |door, estate| {
            let again = json!({ "name": estate.connection, "strategy": "auth0" });
            door.operator.post("/connections", again).await.expect(201);
            door.operator.enable(&estate.connection, &estate.application.client_id, true).await;
        })
        .await;
    }

    ConnectionDisabled fn connection_disabled(door) {
        // A client without any connection gets an error page; these keep another one.
        door.operator.make_connection(json!({})).await;
        let walk = async |door: &Door, estate: &mut Estate| {
            door.operator.enable(CONNECTION, &estate.application.client_id, false).await;
            let silent = estate.browser.authorize_silently(&estate.application, &[]).await;
            assert_eq!(silent.error().as_deref(), Some("login_required"), "{:?}", silent.location());
        };
        let mut walked =
            door.walk("PATCH connections clients", Plan::default(), Witness::OtherClient, walk).await;
        walked.undone_by(async |door, estate| {
            door.operator.enable(CONNECTION, &estate.application.client_id, true).await;
        })
        .await;
        assert_new_tokens_live(&walked.estate).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let id = door.operator.connection_id(CONNECTION).await;
            let path = format!("/connections/{id}");
            let before = door.operator.get(&path).await.expect(200).json();
            let gone = json!(estate.application.client_id);
            let mut clients = before["enabled_clients"].as_array().expect("clients").clone();
            clients.retain(|client| *client != gone);
            door.operator.patch(&path, json!({ "enabled_clients": clients })).await.expect(200);
        };
        door.walk("PATCH connections enabled_clients", Plan::default(), Witness::OtherClient, walk).await;
    }

    IdentityUnlinked fn identity_unlinked(door) {
        // The person logs in with the secondary identity.
        let primary = door.operator.make_person().await;
        let secondary = door.operator.make_person().await;
        link_people(&door, &primary, &secondary).await;
        let outside = Estate::make(&door, Plan { person: Some(primary.clone()), ..Plan::default() }).await;
        let person = Person { user_id: primary.user_id.clone(), ..secondary.clone() };
        let walk = async |door: &Door, estate: &mut Estate| {
            let identity = secondary.user_id.trim_start_matches("auth0|");
            let path = format!("/users/{}/identities/auth0/{identity}", estate.person.path());
            door.operator.delete(&path).await.expect(200);
        };
        let plan = Plan { person: Some(person), ..Plan::default() };
        let mut walked = door.walk("DELETE identities", plan, Witness::Nobody, walk).await;
        outside.browser.authorize_silently(&outside.neighbour, &[]).await.code().expect("the other identity's session");
        walked.undone_by(async |door, _| link_people(door, &primary, &secondary).await).await;
    }

    SigningKeyRevoked fn signing_key_revoked(door) {
        let walk = async |door: &Door, _: &mut Estate| {
            let keys = door.operator.get("/keys/signing").await.expect(200).json();
            let current = keys.as_array().unwrap().iter().find(|key| key["current"] == true).expect("a key");
            let kid = current["kid"].as_str().unwrap();
            door.operator.put(&format!("/keys/signing/{kid}/revoke")).await.expect(200);
        };
        let walked = door.walk("PUT keys signing revoke", Plan::default(), Witness::Nobody, walk).await;
        assert_new_tokens_live(&walked.estate).await;
    }

    SealingKeyRevoked fn sealing_key_revoked(door) {
        let walk = async |door: &Door, _: &mut Estate| {
            let ctx = job_ctx(&door.curfew.core, ISSUER);
            let key = door.curfew.core.tenant(ctx.tenant).await.unwrap().sealing.current().id();
            let revoked =
                curfew_core::management::sealing_keys::revoke(&door.curfew.core, &ctx, key, Actor::Policy).await;
            assert!(revoked.expect("a revocation"), "it was revoked before");
        };
        let walked = door.walk("the operator's command", Plan::default(), Witness::Nobody, walk).await;
        // Clients keep their secrets, people log in again.
        let estate = &walked.estate;
        let browser = door.curfew.browser();
        let asked = [("audience", estate.api.as_str()), ("scope", "openid offline_access")];
        let code = browser.log_in(&estate.application, &estate.person, &asked).await;
        let tokens = Tokens::of(&estate.application.redeem(&code).await);
        Tokens::of(&estate.application.refresh(tokens.refresh()).await);
    }

    Superseded fn superseded(door) {
        let walk = async |door: &Door, estate: &mut Estate| {
            let person = door.operator.make_person().await;
            let asked = [("prompt", "login")];
            estate.browser.log_in(&estate.application, &person, &asked).await;
        };
        let (spared, told) = ([Artefact::RefreshToken], ["session"]);
        let name = "another person's login in the same browser";
        door.walk_sparing(name, Plan::default(), Witness::OtherBrowser, (&spared, &told), walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            door.curfew.advance(1);
            crowd(door, &estate.person, 999).await;
            let browser = door.curfew.browser();
            door.curfew.advance(1);
            browser.log_in(&estate.neighbour, &estate.person, &[]).await;
        };
        door.walk("the cap on sessions", Plan::default(), Witness::OtherPerson, walk).await;

        let walk = async |door: &Door, estate: &mut Estate| {
            let limit = |limit: Value| json!({ "sessions": { "max_per_user": limit } });
            door.operator.patch("/tenants/settings", limit(json!(1))).await.expect(200);
            door.curfew.browser().log_in(&estate.neighbour, &estate.person, &[]).await;
            door.operator.patch("/tenants/settings", limit(Value::Null)).await.expect(200);
        };
        door.walk("the tenant's limit of sessions", Plan::default(), Witness::OtherPerson, walk).await;
    }
}
