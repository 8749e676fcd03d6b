//! Sockets: thin drivers around the cores.
