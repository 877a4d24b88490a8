//! Sealing what another store keeps.
