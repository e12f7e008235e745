//! What is over is swept (invariant I6), in small transactions, and nothing before its time.

use crate::support::Tokens;

const DAY: i64 = 86_400;

in_a_box! {
    fn a_redemption_is_kept_an_hour_past_its_code(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let code = curfew.browser().log_in(&spa, &ada, &[]).await;
        Tokens::of(&spa.redeem(&code).await);
        curfew.advance(3_500);
        assert_eq!(curfew.sweep().await.others_purged, 0);
        spa.redeem(&code).await.expect(403);
        // The replay keeps the redemption for as long as what was issued from it lives.
        curfew.advance(1_000);
        assert_eq!(curfew.sweep().await.others_purged, 0);
        curfew.advance(31 * DAY);
        assert!(curfew.sweep().await.others_purged >= 1);
        assert_eq!(curfew.sweep().await.others_purged, 0, "there is nothing left to do");
    }

    fn many_rows_go_page_by_page(curfew) {
        let operator = curfew.operator().await;
        let machine = operator.make_client(serde_json::json!({"app_type": "non_interactive"})).await;
        for _ in 0..450 {
            machine.client_credentials().await;
        }
        let refused = curfew.logs("feccft").await.len();
        assert!(refused >= 450, "{refused} refusals are in the log");
        curfew.advance(29 * DAY);
        curfew.sweep().await;
        assert_eq!(curfew.logs("feccft").await.len(), refused);
        curfew.advance(2 * DAY);
        assert!(curfew.sweep().await.others_purged >= 450);
        assert_eq!(curfew.logs("feccft").await.len(), 0);
    }

    fn what_ended_is_kept_for_as_long_as_a_token_may_live_and_then_goes(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let code = browser.log_in(&spa, &ada, &[("scope", "openid offline_access")]).await;
        let tokens = Tokens::of(&spa.redeem(&code).await);
        spa.revoke(tokens.refresh()).await.expect(200);
        operator.block(&ada).await.expect(200);
        curfew.advance(30 * DAY);
        let early = curfew.sweep().await;
        assert_eq!((early.sessions_purged, early.families_purged), (0, 0));
        curfew.advance(2 * DAY);
        let late = curfew.sweep().await;
        assert_eq!((late.sessions_purged, late.families_purged), (1, 1));
    }

    fn nothing_is_left_of_a_deleted_user(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let code = curfew.browser().log_in(&spa, &ada, &[("scope", "openid offline_access")]).await;
        Tokens::of(&spa.redeem(&code).await);
        operator.delete(&format!("/users/{}", ada.path())).await.expect(204);
        curfew.advance(33 * DAY);
        let swept = curfew.sweep().await;
        assert_eq!((swept.sessions_purged, swept.families_purged), (1, 1));
        let left = curfew.store().read((), |tx, ()| Box::pin(async move {
            let none = (&curfew_model::UserKey([0; 12]), &curfew_model::ClientId(String::new()));
            curfew_store::users::purgeable_clients(tx, curfew_model::TenantId(1), none, 10).await
        }));
        assert_eq!(left.await.unwrap(), []);
    }
}
