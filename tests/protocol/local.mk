# tests/protocol/
