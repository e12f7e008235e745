//! The first start makes the database, the keys and the first data. Wherever it is killed, the next start goes on.

use std::time::Duration;

use curfew_store::Engine;

use crate::process::Place;
use crate::process::actors::{Admin, Browser};
use crate::process::dice::Dice;

/// Places that are begun and cut off, and how often each.
const PLACES: u32 = 4;
const STARTS: u32 = 4;
/// No first start is over sooner on any machine that builds this.
const LONGEST_MS: u64 = 400;

async fn killed_while_it_starts(engine: Engine) {
    let mut dice = Dice::new();
    for _ in 0..PLACES {
        let place = Place::new(engine);
        for _ in 0..STARTS {
            place.launch().kill_after(Duration::from_millis(dice.below(LONGEST_MS))).await;
        }
        let server = place.start();
        let mut admin = Admin::new(&place).await;
        let application = admin.make_applications(1, 0).await.remove(0);
        let person = admin.make_person("first").await;
        let mut browser = Browser::new(place.address());
        let code = browser.log_in(&application, &person).await.expect("an answer").expect("a code");
        browser.redeem(&application, &code).await.expect("an answer").expect("tokens");
        server.kill();
        place.verify().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    killed_while_it_starts(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    killed_while_it_starts(Engine::Postgres).await;
}
