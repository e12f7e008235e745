//! curfew-testkit
