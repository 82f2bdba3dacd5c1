# client/: the sources of this folder.
include client/demo/local.mk
