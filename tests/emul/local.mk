# tests/emul/
