//! An API of orders behind a guard.

use std::env;

use axum::routing::get;
use axum::{Extension, Router};
use curfew_guard::{Claims, Config, Guard};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::new(
        env::var("ISSUER")?,   // https://login.example/
        env::var("AUDIENCE")?, // the API's identifier
        env::var("CLIENT_ID")?,
        env::var("CLIENT_SECRET")?,
    );
    let guard = Guard::start(config.name("orders-api-1"))?;

    let orders =
        Router::new().route("/orders", get(list)).route_layer(guard.layer().require(["read:orders"]));
    guard.ready().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, orders).await?;
    Ok(())
}

async fn list(Extension(claims): Extension<Claims>) -> String {
    format!("The orders of {}", claims.sub)
}
