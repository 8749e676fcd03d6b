//! System memory: one interface, an embedded and a Hazelcast backend, the map schema.
