# tests/storage/
