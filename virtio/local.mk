# virtio/: the sources of this folder.
