# client/: the sources of this folder.
