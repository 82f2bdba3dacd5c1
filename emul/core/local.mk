# emul/core/: the sources of this folder.
