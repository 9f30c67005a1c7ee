//! Behaviour suites and end-to-end tests over every runtime.
