/*
 * nbd_proto.h - numbers of the NBD protocol (doc/proto.md of the NetworkBlockDevice project): fixed
 * newstyle handshake, structured and extended replies. All big-endian on the wire.
 */
#ifndef STORAGE_NBD_PROTO_H
#define STORAGE_NBD_PROTO_H

#include <stdint.h>

#define NBD_MAGIC       UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPT_MAGIC   UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_REP_MAGIC   UINT64_C(0x0003e889045565a9)
#define NBD_REQ_MAGIC   0x25609513u
#define NBD_REQ_EXT     0x21e41c71u
#define NBD_REPLY_MAGIC 0x67446698u
#define NBD_CHUNK_MAGIC 0x668e33efu
#define NBD_CHUNK_EXT   0x6e8a278cu

enum { NBD_FIXED = 1, NBD_NO_ZEROES = 2 }; /* handshake flags, both sides */

enum {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED = 8,
	NBD_OPT_LIST_META = 9,
	NBD_OPT_SET_META = 10,
	NBD_OPT_EXTENDED = 11,
};

enum {
	NBD_REP_ACK = 1,
	NBD_REP_SERVER = 2,
	NBD_REP_INFO = 3,
	NBD_REP_META = 4,
};
#define NBD_REP_ERROR       (1u << 31)
#define NBD_REP_ERR_UNSUP   (NBD_REP_ERROR | 1)
#define NBD_REP_ERR_POLICY  (NBD_REP_ERROR | 2)
#define NBD_REP_ERR_INVALID (NBD_REP_ERROR | 3)
#define NBD_REP_ERR_TLS     (NBD_REP_ERROR | 5)
#define NBD_REP_ERR_UNKNOWN (NBD_REP_ERROR | 6)
#define NBD_REP_ERR_TOO_BIG (NBD_REP_ERROR | 9)

enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

enum { /* transmission flags */
       NBD_HAS_FLAGS = 1,
       NBD_READ_ONLY = 2,
       NBD_CAN_FLUSH = 4,
       NBD_CAN_FUA = 8,
       NBD_CAN_TRIM = 32,
       NBD_CAN_ZERO = 64,
       NBD_CAN_DF = 128,
       NBD_MULTI_CONN = 256,
};

enum {
	NBD_CMD_READ,
	NBD_CMD_WRITE,
	NBD_CMD_DISC,
	NBD_CMD_FLUSH,
	NBD_CMD_TRIM,
	NBD_CMD_CACHE,
	NBD_CMD_WRITE_ZEROES,
	NBD_CMD_BLOCK_STATUS,
	NBD_CMDS
};
enum { /* command flags */
       NBD_FUA = 1,
       NBD_NO_HOLE = 2,
       NBD_DF = 4,
       NBD_REQ_ONE = 8,
       NBD_FAST_ZERO = 16,
       NBD_PAYLOAD_LEN = 32,
};

enum { NBD_CHUNK_DONE = 1 };
enum {
	NBD_CHUNK_NONE = 0,
	NBD_CHUNK_DATA = 1,
	NBD_CHUNK_HOLE = 2,
	NBD_CHUNK_STATUS = 5,
	NBD_CHUNK_STATUS_EXT = 6,
	NBD_CHUNK_ERROR = 0x8001,
	NBD_CHUNK_ERROR_OFFSET = 0x8002,
};

enum {
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
	NBD_ESHUTDOWN = 108,
};

enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 }; /* base:allocation */

enum {
	NBD_STRING_MAX = 4096,
	NBD_PAYLOAD_MAX = 32 << 20,
	NBD_OPTION_MAX = 64 << 10,
	NBD_REQ_BYTES = 28,
	NBD_REQ_EXT_BYTES = 32,
};

#endif
