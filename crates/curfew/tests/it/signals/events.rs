//! What receivers are told, of which ending and of which change.

use curfew_model::Sid;
use curfew_store::deliveries::DeliveryState;
use curfew_testkit::Receiver;
use serde_json::json;

use super::{DAY, Rx, caep, event, every_event, in_state, of_session, of_user, one, risc, sign_in, types};
use crate::backchannel::multiply;

in_a_box! {
    fn a_blocked_user_is_told_by_push(curfew) {
        let operator = curfew.operator().await;
        let (ada, to) = (operator.make_person().await, Receiver::start().await);
        let rx = Rx::new(&curfew, &operator).await;
        rx.push(&to, &every_event()).await;
        let spa = operator.make_spa().await;
        sign_in(&curfew, &spa, &ada).await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        for request in to.requests() {
            assert_eq!(request.header("content-type"), Some("application/secevent+jwt"));
            assert_eq!(request.header("accept"), Some("application/json"));
            assert_eq!(request.header("authorization"), Some("Bearer of-the-receiver"));
        }
        let told = rx.pushed(&to).await;
        let wanted = [caep("session-revoked"), risc("account-disabled"), risc("sessions-revoked")];
        assert_eq!(types(&told), wanted);
        let receipt = operator.get("/endings?cause=user_blocked").await.expect(200).json();
        let ending = receipt["endings"][0]["id"].as_str().unwrap().to_owned();
        for claims in &told {
            assert_eq!(claims["sub_id"], of_user(&ada));
            assert_eq!(claims["txn"], json!(ending));
            assert_eq!(event(claims).1["event_timestamp"], json!(curfew.now().seconds()));
        }
        assert_eq!(
            event(one(&told, &caep("session-revoked"))).1,
            &json!({
                "event_timestamp": curfew.now().seconds(), "initiating_entity": "admin",
                "reason_admin": {"en": "The user was blocked"},
            })
        );
        // The receipt lists them beside the applications.
        let receipt = operator.get(&format!("/endings/{ending}")).await.expect(200).json();
        let deliveries = receipt["applications"]["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 3);
        for delivery in deliveries {
            assert_eq!((&delivery["state"], &delivery["last_status"]), (&json!("confirmed"), &json!(200)));
            assert!(told.iter().any(|claims| claims["jti"] == delivery["id"]), "{delivery}");
        }
        assert_eq!(receipt["complete"], json!(true));
    }

    fn every_ending_of_a_session_is_a_revocation_and_some_are_more(curfew) {
        let operator = curfew.operator().await;
        let (rx, spa) = (Rx::new(&curfew, &operator).await, operator.make_spa().await);
        let stream = rx.polled(&every_event()).await;
        let ada = operator.make_person().await;
        // A logout is about one session.
        let (browser, sid) = sign_in(&curfew, &spa, &ada).await;
        browser.get("v2/logout").await.expect(200);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!(types(&told), [caep("session-revoked")]);
        assert_eq!(told[0]["sub_id"], of_session(&ada, &sid));
        assert_eq!(event(&told[0]).1["initiating_entity"], "user");
        // So is one that an administrator deletes, and one whose time is over.
        let (_, sid) = sign_in(&curfew, &spa, &ada).await;
        operator.delete(&format!("/sessions/{sid}")).await.expect(202);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!((told.len(), &told[0]["sub_id"]), (1, &of_session(&ada, &sid)));
        assert_eq!(event(&told[0]).1["initiating_entity"], "admin");
        // All sessions of a user are one event, in both profiles.
        sign_in(&curfew, &spa, &ada).await;
        sign_in(&curfew, &spa, &ada).await;
        operator.delete(&format!("/users/{}/sessions", ada.path())).await.expect(202);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!(types(&told), [caep("session-revoked"), risc("sessions-revoked")]);
        assert!(told.iter().all(|claims| claims["sub_id"] == of_user(&ada)));
        // A new password ends the sessions that were opened with the old one, each by its name.
        let (_, one_sid) = sign_in(&curfew, &spa, &ada).await;
        let (_, other_sid) = sign_in(&curfew, &spa, &ada).await;
        operator.change_user(&ada, json!({"password": "Correct-Horse-8"})).await.expect(200);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        let revoked = caep("session-revoked");
        assert_eq!(types(&told), [caep("credential-change"), revoked.clone(), revoked]);
        let changed = one(&told, &caep("credential-change"));
        assert_eq!(changed["sub_id"], of_user(&ada));
        let members = event(changed).1;
        assert_eq!(members["credential_type"], "password");
        assert_eq!((&members["change_type"], &members["initiating_entity"]), (&json!("update"), &json!("admin")));
        for sid in [one_sid, other_sid] {
            assert!(told.iter().any(|claims| claims["sub_id"] == of_session(&ada, &sid)), "{sid}");
        }
        assert!(told.iter().all(|claims| claims["txn"] == told[0]["txn"]), "of one cause");
        // A deletion is the end of everything.
        operator.delete(&format!("/users/{}", ada.path())).await.expect(204);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        let wanted = [caep("session-revoked"), risc("account-purged"), risc("sessions-revoked")];
        assert_eq!(types(&told), wanted);
        assert_eq!(one(&told, &risc("account-purged"))["sub_id"], of_user(&ada));
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 0);
    }

    fn a_session_that_only_time_ended_is_told_too(curfew) {
        let operator = curfew.operator().await;
        let (rx, spa) = (Rx::new(&curfew, &operator).await, operator.make_spa().await);
        let ada = operator.make_person().await;
        let (_, sid) = sign_in(&curfew, &spa, &ada).await;
        let stream = rx.polled(&[caep("session-revoked")]).await;
        curfew.advance(20 * DAY);
        curfew.sweep().await;
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!((told.len(), &told[0]["sub_id"]), (1, &of_session(&ada, &sid)));
        assert_eq!(event(&told[0]).1["initiating_entity"], "policy");
    }

    fn a_deleted_connection_names_the_sessions_of_everybody(curfew) {
        let operator = curfew.operator().await;
        let (rx, spa) = (Rx::new(&curfew, &operator).await, operator.make_spa().await);
        let connection = operator.make_connection(json!({})).await;
        operator.enable(&connection, &spa.client_id, true).await;
        let primary = operator.make_person().await;
        let secondary = operator.make_person_in(&connection).await;
        let link = json!({"provider": "auth0", "user_id": secondary.user_id});
        operator.post(&format!("/users/{}/identities", primary.path()), link).await.expect(201);
        let (_, sid) = sign_in(&curfew, &spa, &secondary).await;
        curfew.deliver().await;
        let stream = rx.polled(&[caep("session-revoked")]).await;
        let id = operator.connection_id(&connection).await;
        operator.delete(&format!("/connections/{id}")).await.expect(202);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["sub_id"], of_session(&primary, &sid));
    }

    fn changes_that_end_nothing_are_told_too(curfew) {
        let operator = curfew.operator().await;
        let rx = Rx::new(&curfew, &operator).await;
        let ada = operator.make_person().await;
        curfew.deliver().await;
        let stream = rx.polled(&every_event()).await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        rx.take(&stream).await;
        operator.change_user(&ada, json!({"blocked": false})).await.expect(200);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!(types(&told), [risc("account-enabled")]);
        assert_eq!(told[0]["sub_id"], of_user(&ada));
        // Claims that tokens carry, with what they are now. What is not in tokens is nobody's business.
        let change = json!({"name": "Ada L.", "given_name": "Ada", "app_metadata": {"x": 1}});
        operator.change_user(&ada, change).await.expect(200);
        operator.change_user(&ada, json!({"user_metadata": {"x": 1}})).await.expect(200);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!(types(&told), [caep("token-claims-change")]);
        assert_eq!(event(&told[0]).1["claims"], json!({"name": "Ada L.", "given_name": "Ada"}));
        assert_eq!(told[0]["sub_id"], of_user(&ada));
        // A verified address that is another now is named by what it was.
        let change = json!({"email": "ada@example.org", "email_verified": true});
        operator.change_user(&ada, change).await.expect(200);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert_eq!(types(&told), [caep("token-claims-change"), risc("identifier-changed")]);
        let changed = one(&told, &risc("identifier-changed"));
        assert_eq!(changed["sub_id"], json!({"format": "email", "email": ada.email}));
        assert_eq!(event(changed).1["new-value"], "ada@example.org");
        // Of one that was not verified nobody knows whose it was.
        operator.change_user(&ada, json!({"email_verified": false})).await.expect(200);
        operator.change_user(&ada, json!({"email": "ada@example.net"})).await.expect(200);
        curfew.deliver().await;
        let told = rx.take(&stream).await;
        assert!(!types(&told).contains(&risc("identifier-changed")), "{told:?}");
    }

    fn only_what_was_asked_for_is_told_and_to_each_who_asked(curfew) {
        let operator = curfew.operator().await;
        let (one, other) = (Rx::new(&curfew, &operator).await, Rx::new(&curfew, &operator).await);
        let purged = one.polled(&[risc("account-purged"), "urn:example:unknown".to_owned()]).await;
        let disabled = one.polled(&[risc("account-disabled")]).await;
        let others = other.polled(&[risc("account-disabled")]).await;
        let nothing = other.polled(&[]).await;
        let ada = operator.make_person().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        assert_eq!(one.take(&purged).await, [] as [serde_json::Value; 0]);
        assert_eq!(other.take(&nothing).await, [] as [serde_json::Value; 0]);
        let (mine, theirs) = (one.take(&disabled).await, other.take(&others).await);
        assert_eq!((mine.len(), theirs.len()), (1, 1));
        assert_ne!(mine[0]["jti"], theirs[0]["jti"]);
        assert_eq!(mine[0]["txn"], theirs[0]["txn"]);
        operator.delete(&format!("/users/{}", ada.path())).await.expect(204);
        curfew.deliver().await;
        assert_eq!(types(&one.take(&purged).await), [risc("account-purged")]);
    }

    fn many_sessions_of_one_ending_are_told_page_by_page_and_each_once(curfew) {
        let operator = curfew.operator().await;
        let (rx, spa) = (Rx::new(&curfew, &operator).await, operator.make_spa().await);
        let ada = operator.make_person().await;
        let (browser, _) = sign_in(&curfew, &spa, &ada).await;
        let second = operator.make_spa().await;
        let code = browser.authorize_silently(&second, &[]).await.code().expect("a code");
        second.redeem(&code).await.expect(200);
        let (_, like) = sign_in(&curfew, &spa, &ada).await;
        multiply(&curfew, Sid::parse(&like).expect("a session"), &spa, 248).await;
        let stream = rx.polled(&[caep("session-revoked")]).await;
        operator.change_user(&ada, json!({"password": "Correct-Horse-8"})).await.expect(200);
        curfew.deliver().await;
        // Two clients took part in the first session: it is one event all the same. One answer brings at most a hundred,
        // whatever was asked for.
        let most = rx.poll(&stream, json!({"maxEvents": 1000})).await;
        assert_eq!(most["sets"].as_object().unwrap().len(), 100);
        curfew.advance(11);
        let mut told = Vec::new();
        for expected in [100, 100, 50, 0] {
            let events = rx.take(&stream).await;
            assert_eq!(events.len(), expected);
            told.extend(events.iter().map(|claims| claims["sub_id"]["session"]["id"].to_string()));
        }
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), 250);
        // Nobody has counted the copies: they must not stay.
        operator.block(&ada).await.expect(200);
    }
}
