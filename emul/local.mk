# emul/: the devices, boards, guest CPUs and the translator.
include emul/core/local.mk
include emul/dev/local.mk
include emul/board/local.mk
include emul/jit/local.mk
include emul/isa/local.mk
