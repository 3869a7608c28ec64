/*
 * What JavaScript repeats of this addon's and of the kernel's headers (io/native.ts and
 * io/memory.ts), for a test to compare: a TypeScript compiler reads no C.
 */
#include "weft.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

/* Newer than some C libraries' headers: linux/if_tun.h of 6.2. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#endif
#ifndef TUN_F_USO6
#define TUN_F_USO6 0x40
#endif

/* constants(): an object, name to number; a row's words are named ROW.word. */
napi_value constants(napi_env env, napi_callback_info info) {
#define SAME(name) \
  { #name, name }
#define WORD(table, word, value) \
  { table "_ROW." word, value }
  static const struct {
    const char *name;
    int value;
  } all[] = {
      /* clang-format off */
      WORD("IOVEC", "offset", IOVEC_OFFSET), WORD("IOVEC", "length", IOVEC_LENGTH),
      WORD("IOVEC", "words", IOVEC_WORDS),
      WORD("PACKET", "offset", PACKET_OFFSET), WORD("PACKET", "length", PACKET_LENGTH),
      WORD("PACKET", "gap", PACKET_GAP), WORD("PACKET", "vnet", PACKET_VNET),
      WORD("PACKET", "words", PACKET_WORDS),
      WORD("WRITE", "first", WRITE_FIRST), WORD("WRITE", "count", WRITE_COUNT),
      WORD("WRITE", "words", WRITE_WORDS),
      WORD("DATAGRAM", "offset", DATAGRAM_OFFSET), WORD("DATAGRAM", "length", DATAGRAM_LENGTH),
      WORD("DATAGRAM", "segment", DATAGRAM_SEGMENT),
      WORD("DATAGRAM", "address", DATAGRAM_ADDRESS), WORD("DATAGRAM", "tos", DATAGRAM_TOS),
      WORD("DATAGRAM", "words", DATAGRAM_WORDS),
      WORD("MESSAGE", "fd", MESSAGE_FD), WORD("MESSAGE", "address", MESSAGE_ADDRESS),
      WORD("MESSAGE", "segment", MESSAGE_SEGMENT), WORD("MESSAGE", "tos", MESSAGE_TOS),
      WORD("MESSAGE", "first", MESSAGE_FIRST), WORD("MESSAGE", "count", MESSAGE_COUNT),
      WORD("MESSAGE", "words", MESSAGE_WORDS),
      {"ADDRESS_SIZE", ADDRESS_ROW},
      SAME(TUN_VNET_HEADER), SAME(TUN_MULTI_QUEUE), SAME(TUN_EXCLUSIVE),
      SAME(TUN_F_CSUM), SAME(TUN_F_TSO4), SAME(TUN_F_USO4), SAME(TUN_F_USO6),
      SAME(SOL_SOCKET), SAME(SO_SNDBUF), SAME(SO_RCVBUF), SAME(SO_SNDBUFFORCE), SAME(SO_REUSEPORT),
      SAME(SO_RCVBUFFORCE),
      {"SOL_IP", IPPROTO_IP}, SAME(IP_MTU_DISCOVER), SAME(IP_PMTUDISC_DONT), SAME(IP_PMTUDISC_OMIT),
      SAME(IP_RECVTOS),
      SAME(SOL_UDP), SAME(UDP_SEGMENT), SAME(UDP_GRO),
      SAME(EPERM), SAME(EINTR), SAME(EIO), SAME(EAGAIN), SAME(EINVAL), SAME(EMSGSIZE),
      SAME(EACCES), SAME(ENETDOWN), SAME(ENETUNREACH), SAME(ENOBUFS), SAME(ECONNREFUSED),
      SAME(EHOSTDOWN), SAME(EHOSTUNREACH),
      SAME(POLLIN), SAME(POLLERR), SAME(POLLHUP), SAME(POLLNVAL),
      /* clang-format on */
  };
  (void)info;
  napi_value result = NULL;
  napi_create_object(env, &result);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    napi_set_named_property(env, result, all[i].name, make_int(env, all[i].value));
  return result;
}
