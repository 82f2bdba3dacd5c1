/*
 * vmdef.h - definitions of VMs: vm.json, and what comes with vm.create. The keys are in vmdef.def;
 * here is what a table cannot say. Any thread.
 */
#ifndef PROTOCOL_VMDEF_H
#define PROTOCOL_VMDEF_H

#include "base/own.h"
#include "protocol/types.h"

enum {
	VM_NAME_MAX = 64,
	VM_CPUS_MAX = 256,
	VM_DISKS_MAX = 32,
	VM_NETS_MAX = 16,
	VM_SHARES_MAX = 16,
	VM_FORWARDS_MAX = 256,
};

/*
 * From JSON, checked as a whole; the VM's own copy: it does not depend on the JSON afterwards.
 * {"fd": N} means fds[N], which stays the caller's; a file without a path gets the one its
 * descriptor has. Free with vm_def_free().
 */
int vm_def_parse(json_object *from, const int *fds, size_t n, struct vm_def **ret, struct err *e);
int vm_def_copy(const struct vm_def *from, struct vm_def **ret, struct err *e);
int vm_def_parse_text(const char *text, size_t len, struct vm_def **ret, struct err *e);
void vm_def_free(struct vm_def *d);

/* What a table cannot say: names, ports, addresses, limits. Kind "vm.definition". */
int vm_def_check(const struct vm_def *d, struct err *e);

int vm_forward_check(const struct vm_forward *f, struct err *e);

/*
 * The canonical form: keys in the order of the table, only those that were given. Without
 * descriptors: a file that is only a descriptor is left out. The caller owns it.
 */
json_object *vm_def_json(const struct vm_def *d);
/* The same with every default. */
json_object *vm_def_json_all(const struct vm_def *d);

/* Forget the descriptors of a definition, so that it can be sent or kept: paths stay. */
void vm_def_drop_fds(struct vm_def *d);

/* Is this a name that a VM or a network may have? It is a file name, too. */
bool vm_name_valid(const char *name);

/* The address of card number i, which is the same at each start: its key, or made from the name. */
void vm_def_mac(const struct vm_def *d, size_t i, uint8_t mac[6]);
bool mac_parse(const char *s, uint8_t mac[6]);

/* Call fn for every file that the definition names. what: "disk 0", "kernel" ... for sentences. */
typedef int vm_file_fn(void *arg, enum worker_fd_role role, size_t index, const char *what,
		       const struct rpc_file *file, struct err *e);
int vm_def_files(const struct vm_def *d, vm_file_fn *fn, void *arg, struct err *e);

AUTOPTR(vm_def, vm_def_free)

#endif
