//! Behaviour suites and end-to-end tests over every runtime.

pub mod conformance;
pub mod puppet;
