//! curfew-tokens
