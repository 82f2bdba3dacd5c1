# protocol/: the sources of this folder.
