# daemon/: the sources of this folder.
