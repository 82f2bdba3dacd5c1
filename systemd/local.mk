# systemd/: the sources of this folder.
