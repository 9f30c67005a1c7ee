//! HTTP and the web API of a node, without I/O.
//!
//! [`http`] turns bytes into requests and responses into bytes.
//! Sockets, threads, clocks and files belong to the runtimes that drive it.

pub mod http;
