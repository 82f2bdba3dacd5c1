# netdev/: the sources of this folder.
