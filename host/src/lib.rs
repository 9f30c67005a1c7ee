//! What every runtime needs of the operating system: share files, TLS, keys, a pool for jobs.
