//! Finished records of another store, in this process's memory.
