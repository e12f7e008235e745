//! Event streams: webhooks that hear of what changes and of what ends.
//!
//! They are an outlet of [`deliveries`](crate::deliveries): [`news`] writes a delivery for each stream that is subscribed
//! to what happened, [`webhook`] says what a try sends and writes down what came of it.

pub(crate) mod event;
pub(crate) mod news;
pub(crate) mod sample;
pub(crate) mod secrets;
pub(crate) mod tries;
pub(crate) mod webhook;
