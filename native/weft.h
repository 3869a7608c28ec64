/*
 * weft's addon: system calls on a TUN and on UDP sockets, in batches, over one memory that
 * JavaScript registered. It holds no policy: it does not know what VXLAN is.
 *
 * Contract with JavaScript
 *   - Hot calls take integers only. Places are byte offsets into the registered memory;
 *     tables are rows of int32 words there. Every offset, length and count is checked
 *     against the memory before use; a wrong one throws a RangeError, one that is no
 *     integer of 32 bits a TypeError, and so does any call before attach().
 *   - A reading call returns how many rows it filled (0: nothing there now) or -errno.
 *     A writing call returns how many rows it got rid of; when that is fewer than asked,
 *     lastError() says which errno stopped it, at the row of that number.
 *   - A table may change while a call reads it (the memory is shared): each word is read
 *     once, so what was checked is what is used.
 *   - Set-up calls throw an Error with `code` (errno's name), `errno` and `syscall`.
 *   - Each thread that loads the addon has an instance of its own; nothing is shared
 *     between them but file descriptors, which are plain numbers, and the lines that are
 *     being written (lines.c).
 */
#ifndef WEFT_H
#define WEFT_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct instance {
  uint8_t *base; /* the registered memory; NULL before attach() */
  uint32_t size;
  napi_ref memory; /* keeps it from being collected */
  int last_error;  /* errno that stopped the last writing call */
};

/*
 * The rows of the tables, as words: io/memory.ts has the same, and constants() lets a test
 * compare them.
 */
enum { IOVEC_OFFSET, IOVEC_LENGTH, IOVEC_WORDS };
enum { PACKET_OFFSET, PACKET_LENGTH, PACKET_GAP, PACKET_VNET, PACKET_WORDS = PACKET_VNET + 3 };
enum { WRITE_FIRST, WRITE_COUNT, WRITE_WORDS };
enum {
  DATAGRAM_OFFSET,
  DATAGRAM_LENGTH,
  DATAGRAM_SEGMENT,
  DATAGRAM_ADDRESS,
  DATAGRAM_TOS,
  DATAGRAM_WORDS
};
enum {
  MESSAGE_FD,
  MESSAGE_ADDRESS,
  MESSAGE_SEGMENT,
  MESSAGE_TOS,
  MESSAGE_FIRST,
  MESSAGE_COUNT,
  MESSAGE_WORDS
};
/* One socket address in the address table, in bytes: room for IPv4 and IPv6. */
#define ADDRESS_ROW 32

/* Flags of tunOpen. */
enum { TUN_VNET_HEADER = 1, TUN_MULTI_QUEUE = 2, TUN_EXCLUSIVE = 4 };

/* linux/udp.h of 4.18 and 5.0; a C library may be older than the kernel. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

/* The longest IPv4 packet, and the longest UDP payload that a socket can deliver. */
#define PACKET_MAX 65535
/* What one message may be made of (the kernel takes 1024: UIO_MAXIOV). */
#define IOV_MAX_PARTS 1024

/* Where a batch puts its next packet: on a line of 64 bytes, plus the headroom. */
static inline int64_t place_after(int64_t cursor, int32_t headroom) {
  return ((cursor + 63) & ~(int64_t)63) + headroom;
}

/* arguments.c: everything returns false with a JavaScript exception pending when it fails */
struct instance *instance_of(napi_env env);
/* Whether `value` is an integer of 32 bits: no exception when it is not. */
bool is_int(napi_env env, napi_value value, int32_t *out);
bool get_ints(napi_env env, napi_callback_info info, size_t count, int32_t *out);
bool get_span(napi_env env, const struct instance *self, const char *what, int32_t at,
              int64_t length, uint8_t **out);
bool get_table(napi_env env, const struct instance *self, const char *what, int32_t at,
               int32_t rows, size_t row_size, int32_t **out);
napi_value make_int(napi_env env, int32_t value);
napi_value throw_range(napi_env env, const char *what);
napi_value throw_errno(napi_env env, const char *syscall, int error);
const char *errno_name(int error);

/* One iovec table shared by tun_write and udp_send: rows of {offset, length}. */
struct iovec;
bool fill_iovecs(napi_env env, const struct instance *self, const int32_t *rows, int32_t row_count,
                 int32_t first, int32_t count, struct iovec *out);

/* What JavaScript repeats of the C headers, by JavaScript's names. */
napi_value constants(napi_env env, napi_callback_info info);

napi_value tun_open(napi_env env, napi_callback_info info);
napi_value tun_offload(napi_env env, napi_callback_info info);
napi_value tun_read(napi_env env, napi_callback_info info);
napi_value tun_write(napi_env env, napi_callback_info info);
napi_value tun_steer(napi_env env, napi_callback_info info);
napi_value udp_open(napi_env env, napi_callback_info info);
napi_value udp_bind(napi_env env, napi_callback_info info);
napi_value udp_bind_device(napi_env env, napi_callback_info info);
napi_value udp_connect(napi_env env, napi_callback_info info);
napi_value udp_name(napi_env env, napi_callback_info info);
napi_value udp_discard(napi_env env, napi_callback_info info);
napi_value udp_steer(napi_env env, napi_callback_info info);
napi_value set_option(napi_env env, napi_callback_info info);
napi_value get_option(napi_env env, napi_callback_info info);
napi_value udp_receive(napi_env env, napi_callback_info info);
napi_value udp_send(napi_env env, napi_callback_info info);
napi_value event_open(napi_env env, napi_callback_info info);
napi_value event_signal(napi_env env, napi_callback_info info);
napi_value event_drain(napi_env env, napi_callback_info info);
napi_value wait_ready(napi_env env, napi_callback_info info);
napi_value close_fd(napi_env env, napi_callback_info info);
napi_value notify(napi_env env, napi_callback_info info);
napi_value nft_generation(napi_env env, napi_callback_info info);
napi_value lines_open(napi_env env, napi_callback_info info);
napi_value lines_write(napi_env env, napi_callback_info info);
napi_value lines_lost(napi_env env, napi_callback_info info);
napi_value lines_flush(napi_env env, napi_callback_info info);
napi_value pass_over_realtime_signals(napi_env env, napi_callback_info info);
napi_value exit_at_once(napi_env env, napi_callback_info info);

#endif
