# tests/netdev/
