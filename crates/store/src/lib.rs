//! curfew-store
