# vmproc/: the sources of this folder.
