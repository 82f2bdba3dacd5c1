# tests/virtio/
