//! curfew-core
