# tests/daemon/
