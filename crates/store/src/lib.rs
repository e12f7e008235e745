//! All SQL of Curfew, and the two executors that run it: SQLite inside the process, PostgreSQL beside it.
//!
//! Invariant: no SQL stands outside this crate. Its only seam between the engines is [`executor`]; everything
//! above is written once.
//!
//! A flow enters through one of four doors of [`Store`]: [`Store::read`] and [`Store::read_long`] only look;
//! [`Store::transact`] is a transaction (`Ok` commits, also when it carries a refusal; `Err` rolls back);
//! [`Store::command`] is the same for hot paths whose whole work is one statement on PostgreSQL.

pub mod access;
pub mod action_executions;
pub mod action_modules;
pub mod action_packages;
pub mod action_runs;
pub mod actions;
pub mod changes;
pub mod client_grants;
pub mod clients;
pub mod codes;
pub mod config;
pub mod connections;
pub mod deliveries;
pub mod endings;
pub mod event_streams;
pub mod executor;
pub mod families;
pub mod fanouts;
pub mod feed;
pub mod grants;
pub mod logs;
pub mod migrate;
pub mod policies;
pub mod resource_servers;
pub mod row;
pub mod sessions;
pub mod signals;
pub mod signing_keys;
pub mod statement;
pub mod status_lists;
pub mod tenants;
pub mod users;
pub mod value;
pub mod verify;

pub use executor::{Engine, Lane, Store, StoreOptions, Tx};
pub use row::{FromValue, Row};
pub use statement::Statement;
pub use value::Value;

/// The statements of every module, for the test that prepares each on both engines.
const STATEMENTS: &[&[&Statement]] = &[
    access::ALL,
    action_executions::ALL,
    action_modules::ALL,
    action_packages::ALL,
    action_runs::ALL,
    actions::ALL,
    changes::ALL,
    client_grants::ALL,
    clients::ALL,
    codes::ALL,
    config::ALL,
    connections::ALL,
    deliveries::ALL,
    endings::ALL,
    event_streams::ALL,
    families::ALL,
    fanouts::ALL,
    feed::ALL,
    grants::ALL,
    logs::ALL,
    migrate::ALL,
    policies::ALL,
    resource_servers::ALL,
    sessions::ALL,
    signals::ALL,
    signing_keys::ALL,
    status_lists::ALL,
    tenants::ALL,
    users::ALL,
    verify::ALL,
];

/// Every statement of the store.
pub fn all_statements() -> impl Iterator<Item = &'static Statement> {
    STATEMENTS.iter().flat_map(|module| module.iter().copied())
}
