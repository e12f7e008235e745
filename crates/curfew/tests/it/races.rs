//! What happens at the same time: endings against everything, and one thing presented twice.

mod block;
mod interleavings;
mod logins;
mod presentations;
