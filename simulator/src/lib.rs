//! Whole grids in one thread, in virtual time, from one seed.
