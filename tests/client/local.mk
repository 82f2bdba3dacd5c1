# tests/client/
