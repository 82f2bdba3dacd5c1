# kvm/: the sources of this folder.
