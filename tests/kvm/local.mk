# tests/kvm/
