/*
 * vm.h - a VM as the daemon knows it: definition, state, and the process that runs it. Methods are
 * in vms.c, vm_power.c, vm_console.c and vm_apply.c; the start in vm_start.c; what follows from the
 * process in vm_life.c; the process itself in worker.c.
 */
#ifndef DAEMON_VM_H
#define DAEMON_VM_H

#include <time.h>

#include "daemon/daemon.h"
#include "protocol/vmdef.h"

struct worker;
struct start;

/* A file that a running VM has open, to tell others who holds it. */
struct vm_file {
	uint64_t dev, ino;
	bool writes;
	char what[32]; /* "disk 0" */
};

struct vm {
	struct list node;
	struct daemon *d;
	uint64_t id;
	uid_t owner;
	gid_t group;
	struct vm_def *def;
	int dir; /* its directory in the state directory */
	enum vm_state state;
	enum start_phase phase;
	char reason[300];
	bool temporary;
	char token[33];
	struct worker *worker; /* NULL: no process */
	struct start *start;   /* NULL: none under way */
	time_t started, kill_at;
	bool has_exit;  /* exit_reason and exit_code are of the last run */
	bool exit_told; /* this run's process has said how it ended */
	bool kill_asked, powerdown_asked;
	bool autostart_tried;
	bool not_run;                /* it was started with "paused", and is so still */
	bool removing, remove_disks; /* as soon as the process is gone */
	enum exit_reason exit_reason;
	int64_t exit_code;
	pid_t old_pid; /* its process, as an earlier daemon knew it */
	uint64_t old_pid_start;
	char accel[16], accel_reason[200];
	struct vm_file files[VM_DISKS_MAX * 2];
	size_t n_files;
	struct vm_forward_list forwards; /* in force; addresses are owned */
	struct list waiters;
	struct loop_watch *kill_timer, *linger;
	struct scope *scope; /* being asked for; else NULL */
};

/* ---- vm_apply.c ---- */
/* The steps from one canonical form to another; changed, if not NULL, gets the keys. */
json_object *vm_def_patch(json_object *from, json_object *to, struct rpc_strings *changed);

/* ---- vms.c: the registry ---- */
int vms_load(struct daemon *d, struct err *e);
void vms_free(struct daemon *d);
struct vm *vm_by_name(struct daemon *d, const char *name_or_id);
/* The VM of a call, kind "vm.not-found"; with change: which the caller may change. */
int vm_of_call(struct rpc_call *c, const char *name_or_id, bool change, struct vm **ret,
	       struct err *e);
/* def is taken on success. */
int vm_new(struct daemon *d, struct vm_def *def, struct rpc_cred owner, struct vm **ret,
	   struct err *e);
/* May it run beside those that do? Kind "limit.reached". */
int vm_check_memory(struct vm *vm, struct err *e);
void vm_free(struct vm *vm);   /* forget, keep the files */
void vm_remove(struct vm *vm); /* and its files, and say so */
void vm_delete_disks(struct vm *vm);
int vm_save(struct vm *vm, struct err *e);
int vm_save_definition(struct vm *vm, struct err *e);
void vm_info_fill(struct vm *vm, struct arena *mem, struct vm_info *i);
static inline bool vm_has_process(const struct vm *vm)
{
	return vm->worker != NULL;
}
/* It runs, or is about to. */
static inline bool vm_is_busy(const struct vm *vm)
{
	return vm->worker || vm->start;
}

/* ---- vm_start.c ---- */
struct start_options {
	bool paused, write;
	int console; /* -1: none; duplicated */
};
typedef void start_done_fn(struct vm *vm, void *arg, const struct err *e); /* e NULL: it runs */
/*
 * The VM is stopped or crashed. On failure nothing is left, and fn is not called; data, when not
 * NULL, gets members for the error.
 */
int vm_start_begin(struct vm *vm, const struct start_options *o, start_done_fn *fn, void *arg,
		   json_object *data, struct err *e);
/* The process is gone: the start fails, with why unless more is known. */
void vm_start_failed(struct vm *vm, const struct err *why);
/* The guest ran and ended while its start was under way: the start succeeds. False: it did not run.
 */
bool vm_start_was_complete(struct vm *vm);
/* Forget a start without a word: the daemon ends. */
void vm_start_drop(struct vm *vm);
/* End a start that is under way; it fails when the process is gone. */
void vm_start_abort(struct vm *vm, const struct err *why);
/* Members of an error's data that every failed start has. */
void vm_error_data(struct vm *vm, json_object *data, enum start_phase phase);

/* ---- vm_life.c ---- */
void vm_set_state(struct vm *vm, enum vm_state to, const char *reason);
void vm_set_phase(struct vm *vm, enum start_phase phase);
void vm_end(struct vm *vm);
void vm_worker_event(struct vm *vm, const char *method, json_object *params);
/* The process has ended: status as of waitid(), known false when it was not our child. */
void vm_worker_gone(struct vm *vm, bool known, int code, int status);
void vm_give_time(struct vm *vm, time_t until);
/* The run is over; say how, once. */
void vm_exit_info(struct vm *vm, const struct worker_exit_event *ev);
void vm_finish(struct vm *vm);
/* Remove the VM if vm.rm waits for the end of its run. */
void vm_remove_if_asked(struct daemon *d, uint64_t id);
/* A new daemon finds no process of a VM that had one; vm->reason says what is known. */
void vm_lost_while_away(struct vm *vm);

/* Those who wait for something of a VM. */
struct waiter {
	struct list node;
	struct vm *vm;
	struct rpc_call *call;
	bool (*ready)(const struct waiter *w);
	void (*done)(struct waiter *w);    /* answer the call */
	void (*expired)(struct waiter *w); /* answer it with an error, or go on */
	unsigned want;
	struct loop_watch *timer;
};
/* Answers at once when it is ready. timeout_ns < 0: none. */
int vm_wait_for(struct vm *vm, struct rpc_call *c, const struct waiter *how, int64_t timeout_ns,
		struct err *e);
void waiter_free(struct waiter *w);
void vm_check_waiters(struct vm *vm);
/* The VM goes away: all are answered. */
void vm_release_waiters(struct vm *vm);

/* ---- worker.c ---- */
/* Bind the socket, start the process and connect. log: standard output and error, borrowed. */
int worker_spawn(struct vm *vm, int log, struct worker **ret, struct err *e);
/* Connect to a process that an earlier daemon started. -ECONNREFUSED, -ENOENT: there is none. */
int worker_adopt(struct vm *vm, struct worker **ret, struct err *e);
/* worker.hello has told the pid: watch that process. */
int worker_greeted(struct worker *w, pid_t pid, struct err *e);
void worker_kill(struct worker *w);
void worker_free(struct worker *w);             /* does not kill */
void worker_end(struct worker *w);              /* kill at once, and free */
void worker_clean_up(struct vm *vm);            /* its socket and directory */
struct rpc_peer *worker_peer(struct worker *w); /* NULL: the connection is lost */
pid_t worker_pid(const struct worker *w);
uint64_t worker_pid_start(const struct worker *w);
/* ---- scope.c ---- */
struct scope;
void scope_begin(struct vm *vm); /* best effort, nobody waits for it */
void scope_free(struct scope *s);

/* ---- machines.c ---- */
/* Finish a call of host.info with what KVM is good for: RPC_LATER, or an error. */
int kvm_describe(struct rpc_call *c, struct err *e);

/* ---- adopt.c ---- */
void vms_adopt(struct daemon *d);

/* ---- files.c ---- */
/*
 * Open every file of the definition, or duplicate what came with it. *n is set on failure, too: the
 * caller closes. data, when not NULL, gets members for the error.
 */
int vm_open_files(struct vm *vm, struct worker_fd *fds, size_t max, size_t *n, struct arena *mem,
		  json_object *data, struct err *e);

/* ---- chain.c ---- */
struct chain;
typedef void chain_fn(void *arg, const struct err *e);
/*
 * Look into the images of fds[0..*n) for files they name, in a child with the owner's rights; these
 * are appended. Strings are in mem. fn is called later, once, unless the chain is freed.
 */
int chain_resolve(struct vm *vm, struct worker_fd *fds, size_t max, size_t *n, struct arena *mem,
		  chain_fn *fn, void *arg, struct chain **ret, struct err *e);
void chain_free(struct chain *c);
/* open(2) with the rights of a user. */
int unlink_as(uid_t uid, gid_t gid, const char *path);
int open_as(uid_t uid, gid_t gid, int dir, const char *path, int flags, mode_t mode);

/* ---- vm_console.c ---- */
/* The last lines of the console, from its log; NULL when there are none. */
char *vm_console_tail(struct vm *vm, struct arena *mem, unsigned lines);
void vm_tail_strings(struct vm *vm, struct arena *mem, unsigned lines, struct rpc_strings *to);
int vm_rotate_console(struct vm *vm, int *fd, struct err *e);

/* ---- nets.c ---- */
typedef void net_fn(void *arg, const struct vm_forward_list *forwards, const struct err *e);
/*
 * The host's end of card number i: *fd is the caller's, -1 for a card without a cable. 1: fn will
 * be called when the network has taken it; 0: there is nothing to wait for.
 */
int net_connect(struct vm *vm, size_t i, net_fn *fn, void *arg, int *fd, struct err *e);
/* The run is over: forget what was forwarded. */
void net_disconnect(struct vm *vm);
/* Add or remove a forward of a VM whose cards are connected; fn gets the list. */
int net_forward(struct vm *vm, enum forward_action action, const struct vm_forward *f, net_fn *fn,
		void *arg, struct err *e);
/* The list as its network says it. */
void net_forwards_are(struct vm *vm, const struct vm_forward_list *now);

#endif
