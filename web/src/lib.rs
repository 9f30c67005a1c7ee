//! HTTP and the web API of a node, without I/O.
