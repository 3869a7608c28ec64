/* The parts of `limit`: what the lane shares, and its two directions. */
#ifndef LIMIT_H
#define LIMIT_H

#include <stdint.h>

#include "vtep.h"

enum {
  TURN_PACKETS = 64,
  TURN_BYTES = 1 << 20,
  RING_BYTES = 128 << 10,  /* packets in work: few enough to stay in the cache */
  PACKET_SPACE = 96 << 10, /* the longest packet, and the headers of its segments */
  DATAGRAMS = 64,          /* in one UDP_SEGMENT send: what every kernel since 4.18 takes */
  MESSAGE_BYTES = 65000,   /* 65507 are taken, but over 65000 nothing merges again */
};

struct counters {
  uint64_t out_packets, out_sends, out_dropped, out_refused;
  uint64_t in_packets, in_writes, in_dropped, in_refused;
};

struct lane {
  struct vtep *vtep;
  int tun, udp;
  bool uso;
  struct counters counters;
};

/* Allocates and prepares; each ends the program when it cannot. */
void outbound_open(struct lane *lane);
void inbound_open(struct lane *lane);

/* One turn: up to 64 packets or 1 MiB, fewer when there are no more; all of it has left when
 * it returns. */
void outbound_turn(struct lane *lane);
void inbound_turn(struct lane *lane);

/* Memory for the packets in work of one direction: RING_BYTES, and one packet more. */
uint8_t *ring_make(void);

#endif
