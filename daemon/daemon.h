/*
 * daemon.h - vmd as one struct: the registry and what serves it. Everything runs on the thread of
 * the one loop; nothing here blocks on a guest, a worker or a client.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/loop.h"
#include "daemon/config.h"
#include "daemon/state.h"
#include "protocol/peer.h"

enum daemon_mode { MODE_SYSTEM, MODE_USER, MODE_PRIVATE };

enum {
	CLIENTS_MAX = 1024,
	CLIENTS_PER_UID_MAX = 64,
	SUBSCRIPTIONS_MAX = 16,          /* per connection */
	EVENT_BACKLOG = 4 * 1024 * 1024, /* bytes a subscriber may leave unread */
	EVENTS_KEPT = 10000,
	TAIL_LINES = 10,
};

struct events;   /* events.c */
struct jobs;     /* jobs.c */
struct requests; /* requests.c */
struct nets;     /* nets.c */

struct daemon {
	struct loop *loop;
	enum daemon_mode mode;
	const char *state_path, *runtime_path, *socket_path, *config_path;
	struct config config;
	bool verbose; /* on the command line */
	int state_dir, runtime_dir, lock_fd;
	char boot_id[40];
	char epoch[17];
	char kvm[256]; /* what KVM is good for here, once it was asked for */
	uint64_t next_vm, next_job;
	uint64_t vm_ids; /* on disk: ids from here on have never been given */
	int64_t started_ns;
	struct list vms;     /* by name */
	struct list clients; /* struct client of server.c */
	unsigned n_clients;
	struct events *events;
	struct jobs *jobs;
	struct requests *requests;
	struct nets *nets;
	struct loop_watch *listen, *sigterm, *sigint, *sighup, *idle;
	int64_t idle_ns;   /* end when nothing runs for so long; < 0: never */
	unsigned adopting; /* processes that have not answered yet */
	bool stopping;
	struct err why; /* the daemon ended */
};

/* ---- daemon.c: the registry's own file ---- */
int daemon_save(struct daemon *d, struct err *e);
/* "2026-03-01T10:31:07.120Z" */
void time_text(char *buf, size_t len);
/* Start the next VM that shall start with the daemon (main.c). */
void daemon_autostart(struct daemon *d);
/* Start or stop the clock of the idle end. */
void daemon_check_idle(struct daemon *d);
/* Name of a user for people: "ann", or the number. */
void user_name(uid_t uid, char *buf, size_t len);
/* Bytes as text that JSON may hold: what is not UTF-8 becomes U+FFFD, NUL and CR vanish. */
char *clean_text(struct arena *mem, const char *data, size_t len);

/* ---- server.c ---- */
int server_start(struct daemon *d, int fd, struct err *e);
void server_stop(struct daemon *d);

struct daemon *daemon_of(struct rpc_call *c);
enum rpc_role call_role(const struct rpc_call *c);
/* May the caller change what belongs to owner? Kind "role.denied". */
int call_owns(struct rpc_call *c, uid_t owner, const char *what, struct err *e);

extern rpc_handler *const daemon_handlers[]; /* dispatch.c: in the order of client_table */

/* Every handler: int method_vm_start(call, args, reply, e) and so on. */
#define METHOD(id, name, role, effect, doc, params, results)                                 \
	int method_##id(struct rpc_call *c, const struct id##_args *a, struct id##_reply *r, \
			struct err *e);
#define EVENT(id, name, doc, fields)
#include "protocol/methods.def"
#undef METHOD
#undef EVENT

/* ---- events.c ---- */
int events_new(struct daemon *d, struct err *e);
void events_free(struct events *ev);
/* An event of events.def; vm may be NULL, fields is its struct. */
void event_publish(struct daemon *d, const char *kind, const char *vm, const void *fields);
void events_client_gone(struct daemon *d, struct rpc_peer *p);
/* job.progress: not kept, not numbered. */
void event_progress(struct daemon *d, const struct job_info *job);

/* ---- requests.c ---- */
int requests_new(struct daemon *d, struct err *e);
void requests_free(struct requests *q);
int requests_before(struct rpc_call *c, json_object **answer, struct err *e);
void requests_after(struct rpc_call *c, json_object *result, const struct err *e);

/* ---- jobs.c ---- */
int jobs_new(struct daemon *d, struct err *e);
void jobs_free(struct jobs *j);

/* ---- nets.c ---- */
int nets_new(struct daemon *d, struct err *e);
void nets_free(struct nets *n);

#endif
