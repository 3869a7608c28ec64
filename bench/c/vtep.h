/* What both forwarders share: the command line, the peers, the TUN and the sockets. */
#ifndef VTEP_H
#define VTEP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEERS_MAX = 256 };

struct peer {
  uint32_t network, mask; /* host order */
  struct sockaddr_in address;
  uint8_t mac[6];
  int socket;         /* connected to it, or -1 */
  uint8_t header[22]; /* VXLAN and inner Ethernet, as every packet to it begins */
};

struct vtep {
  const char *tun;
  struct in_addr local;
  uint16_t port;
  uint32_t vni;
  uint32_t mtu;
  uint8_t mac[6];
  int peer_count;
  struct peer peers[PEERS_MAX];
};

/* Reads the command line; says what is wrong with it and ends the program with code 2. */
void vtep_parse(struct vtep *vtep, int argc, char **argv);

/* Opens the TUN, not blocking. With `offloads`: a vnet header of 10 bytes, TSO, and USO where
 * the kernel has it. Ends the program when that fails. */
int tun_open(const char *name, bool offloads, bool *uso);

/* The listening socket on the local address and port, not blocking, 8 MiB of buffer. */
int udp_listen(const struct vtep *vtep);

/* A sending socket connected to a peer; the kernel discards what arrives there. */
int udp_connect(const struct vtep *vtep, const struct peer *peer);

/* Says what failed with errno's text, and ends the program with code 1. */
_Noreturn void fail(const char *what);

#endif
