//! HTTP and the web API of a node, without I/O.
//!
//! [`http`] turns bytes into requests and responses into bytes. [`gateway`] is a node with its web
//! side, as one machine. [`pages`] are what people see of it. Sockets, threads, clocks and files belong to the runtimes that drive it.

pub mod gateway;
pub mod http;
pub mod pages;
