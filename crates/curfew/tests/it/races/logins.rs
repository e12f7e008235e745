//! Logins of one person at the same instant, under a limit of sessions.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::process::actors::{Admin, Application, Browser, Person};

/// Browsers that log in at once.
const AT_ONCE: usize = 50;

/// Logs in, again where the server has too many passwords to check.
async fn log_in(browser: &mut Browser, application: &Application, person: &Person) {
    loop {
        match browser.log_in(application, person).await.expect("an answer") {
            Ok(_) => return,
            Err(answer) => assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}"),
        }
        tokio::task::yield_now().await;
    }
}

in_a_process! {
    /// Each gets its code, none gets an error, and one session lives.
    fn of_fifty_logins_under_a_limit_of_one_one_session_lives(place) {
        let mut admin = Admin::new(&place).await;
        let settings = json!({ "sessions": { "max_per_user": 1 } });
        admin.done(Method::PATCH, "tenants/settings", &settings).await;
        let application = admin.make_applications(1, 0).await.remove(0);
        let person = admin.make_person("somebody").await;
        let mut browsers: Vec<Browser> = (0..AT_ONCE).map(|_| Browser::new(place.address())).collect();
        futures_util::future::join_all(
            browsers.iter_mut().map(|browser| log_in(browser, &application, &person)),
        )
        .await;
        let path = format!("{}/sessions", person.path());
        let listed = admin.done(Method::GET, &path, &Value::Null).await;
        assert_eq!(listed["sessions"].as_array().expect("a list").len(), 1, "{listed}");
        let mut living = 0;
        for browser in &mut browsers {
            living += usize::from(browser.silent(&application).await.expect("an answer").is_ok());
        }
        assert_eq!(living, 1);
    }
}
