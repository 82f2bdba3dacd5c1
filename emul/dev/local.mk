# emul/dev/: the sources of this folder.
