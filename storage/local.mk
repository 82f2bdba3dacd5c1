# storage/: the sources of this folder.
