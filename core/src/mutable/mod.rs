//! Mutable files.
mod quorum;
