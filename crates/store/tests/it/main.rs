//! The store's promises, each on both engines.

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
mod batches;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod hints;
#[cfg(test)]
mod integrity;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod lost_connections;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod status_lists;
#[cfg(test)]
mod transport;
#[cfg(test)]
mod values;
#[cfg(test)]
mod write_ahead_log;
