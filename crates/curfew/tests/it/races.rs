//! An ending against everything that happens at the same time.

mod block;
