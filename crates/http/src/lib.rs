//! curfew-http
