//! The first article: somebody signs in, stays in, and is put out.

use crate::support::Tokens;

in_a_box! {
    fn blocking_a_user_ends_what_they_have(curfew) {
        let operator = curfew.operator().await;
        let (spa, api, ada) = (operator.make_spa().await, operator.make_api().await, operator.make_person().await);
        let browser = curfew.browser();
        let asked = [("audience", api.as_str()), ("scope", "openid offline_access")];
        let code = browser.log_in(&spa, &ada, &asked).await;
        let tokens = Tokens::of(&spa.redeem(&code).await);
        spa.userinfo(&tokens.access).await.expect(200);
        let tokens = Tokens::of(&spa.refresh(tokens.refresh()).await);
        assert!(browser.authorize_silently(&spa, &asked).await.code().is_some());

        operator.block(&ada).await.expect(200);
        spa.userinfo(&tokens.access).await.expect(401);
        let answer = spa.refresh(tokens.refresh()).await.expect(403);
        assert_eq!(answer.error_description().as_deref(), Some("user is blocked"));
        let silent = browser.authorize_silently(&spa, &asked).await;
        assert_eq!(silent.error().as_deref(), Some("login_required"));
        let to_login = browser.authorize(&spa, &asked).await;
        let answer = browser.submit_login(&to_login, &ada.email, &ada.password).await;
        assert_eq!(answer.error().as_deref(), Some("unauthorized"));
        assert_eq!(answer.error_description().as_deref(), Some("user is blocked"));
    }
}
