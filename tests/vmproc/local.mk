# tests/vmproc/
