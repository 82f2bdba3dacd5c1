# tests/protocol/
check_PROGRAMS += tests/protocol/check_schema tests/protocol/check_peer
tests_protocol_check_schema_SOURCES = tests/protocol/check_schema.c
tests_protocol_check_schema_CFLAGS = $(TEST_CFLAGS)
tests_protocol_check_schema_LDADD = protocol/libprotocol.la base/libbase.la $(TEST_LIBS)
tests_protocol_check_peer_SOURCES = tests/protocol/check_peer.c
tests_protocol_check_peer_CFLAGS = $(TEST_CFLAGS)
tests_protocol_check_peer_LDADD = protocol/libprotocol.la base/libbase.la $(TEST_LIBS)
check_PROGRAMS += tests/protocol/check_framing
tests_protocol_check_framing_SOURCES = tests/protocol/check_framing.c
tests_protocol_check_framing_CFLAGS = $(TEST_CFLAGS)
tests_protocol_check_framing_LDADD = protocol/libprotocol.la base/libbase.la $(TEST_LIBS)
