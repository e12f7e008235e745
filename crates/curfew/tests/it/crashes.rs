//! kill -9 under load: what was acknowledged stands after the next start, and what was not is whole or not there.

mod deliveries;
mod first_start;
mod ledger;
mod nodes;

use std::sync::Arc;

use curfew_testkit::OwnPostgres;

use crate::process::actors::Admin;
use crate::process::dice::Dice;
use crate::process::{Place, Process};
use ledger::{Ledger, Load};

/// Names how often a server is killed in one test.
const KILLS_VARIABLE: &str = "CURFEW_TEST_KILLS";
const KILLS: u32 = 5;

fn kills() -> u32 {
    std::env::var(KILLS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// A server that is killed and started again, and what it has acknowledged.
struct Story {
    place: Place,
    server: Option<Process>,
    ledger: Ledger,
    dice: Dice,
}

impl Story {
    async fn begin(place: Place) -> Self {
        let server = place.start();
        let mut admin = Admin::new(&place).await;
        let ledger = Ledger::new(&place, &mut admin).await;
        Self { place, server: Some(server), ledger, dice: Dice::new() }
    }

    /// Puts load on the server until a random number of answers came.
    async fn load(&mut self) -> Arc<Load> {
        let load = self.ledger.load(&self.place, &mut self.dice).await;
        load.acknowledged(20 + self.dice.below(400)).await;
        load
    }

    /// Kills the server under load, looks at what it left, and starts it again.
    async fn kill_server(&mut self) {
        let load = self.load().await;
        self.server.take().expect("it runs").kill();
        self.ledger.settle(load).await;
        // The server is the one that finds what the killed one left; the whole store is looked at after that.
        self.server = Some(self.place.start());
        self.place.verify().await;
        self.ledger.check(&self.place).await;
    }

    /// Kills the database under load; the server goes on by itself when it is back.
    async fn kill_database(&mut self, postgres: &mut OwnPostgres) {
        let load = self.load().await;
        postgres.kill();
        postgres.restart();
        load.acknowledged(50).await;
        self.ledger.settle(load).await;
        self.place.verify().await;
        self.ledger.check(&self.place).await;
    }

    async fn end(mut self) {
        self.server.take().expect("it runs").kill();
        self.place.verify().await;
        println!("{}", self.ledger.summary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_on_sqlite() {
    let mut story = Story::begin(Place::new(curfew_store::Engine::Sqlite)).await;
    for _ in 0..kills() {
        story.kill_server().await;
    }
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_and_database_on_postgres() {
    let mut postgres = OwnPostgres::start();
    let place = Place::at(Some(crate::process::with_schema(&postgres.url(), "public")));
    let mut story = Story::begin(place).await;
    for round in 0..kills() {
        if round % 2 == 0 {
            story.kill_server().await;
        } else {
            story.kill_database(&mut postgres).await;
        }
    }
    story.end().await;
}
