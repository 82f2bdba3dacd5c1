# protocol/: what programs say to each other.
noinst_LTLIBRARIES += protocol/libprotocol.la
protocol_libprotocol_la_SOURCES = \
	protocol/errors.def protocol/events.def protocol/methods.def protocol/types.def \
	protocol/net.def protocol/vmdef.def protocol/worker.def \
	protocol/arena.c protocol/arena.h \
	protocol/client.c \
	protocol/conn.c protocol/conn.h \
	protocol/errors.c protocol/errors.h \
	protocol/framing.c protocol/framing.h \
	protocol/methods.c protocol/methods.h \
	protocol/openrpc.c \
	protocol/peer.c protocol/peer.h \
	protocol/schema.c protocol/schema.h \
	protocol/schema_text.c \
	protocol/suggest.c protocol/suggest.h \
	protocol/types.c protocol/types.h \
	protocol/vmdef.c protocol/vmdef.h
protocol_libprotocol_la_LIBADD = base/libbase.la $(JSONC_LIBS) -lm
