# emul/isa/: the sources of this folder.
