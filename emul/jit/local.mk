# emul/jit/: the sources of this folder.
