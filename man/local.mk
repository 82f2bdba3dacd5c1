# man/: the sources of this folder.
