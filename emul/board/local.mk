# emul/board/: the sources of this folder.
