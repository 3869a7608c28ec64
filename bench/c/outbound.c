/*
 * Outbound of `limit`: TUN to peers.
 *
 *   1. read      one packet or super-packet, its vnet header in front; its payload scattered,
 *                as the last super-packet was cut, so that each segment's headers fit in front
 *   2. route     IPv4 destination -> peer, one table of 2^24 entries
 *   3. segment   headers for each segment: in the hole in front of its payload, or in a slot
 *                where the guess was wrong; the payload where it lies; inner sums done
 *   4. pack      segments go into the open message, across super-packets, as UDP_SEGMENT wants
 *                it: one peer, one size, only the last shorter
 *   5. send      a message when it is full, or does not take the next segment: while the
 *                payload is still in the cache
 */
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "limit.h"
#include "wire.h"

enum {
  HEADER_SLOT = 192,   /* 22, an IPv4 header of 60 and a TCP header of 60 */
  SCATTER_LEAST = 512, /* shorter segments are not worth a scattered read */
  PIECES = IP_PACKET_MAX / SCATTER_LEAST + 2,
};

/* The open message: segments that will leave with one system call. */
static struct {
  struct peer *peer;
  int count;     /* of segments */
  unsigned size; /* of the first and of every other but the last */
  unsigned bytes;
  bool sealed; /* a shorter segment was added: none may follow */
  uint8_t tos;
  int iovecs;
  struct iovec iovec[2 * DATAGRAMS];
  uint8_t headers[DATAGRAMS][HEADER_SLOT] __attribute__((aligned(64)));
} message;

/* How the next read is laid out: as the last super-packet was cut; 0: in one piece. */
static struct { unsigned headers, size; } guess;

static uint8_t *routes; /* index of the peer + 1, by the upper 24 bits of the address */
static uint8_t *ring;

void outbound_open(struct lane *lane) {
  struct vtep *vtep = lane->vtep;
  ring = ring_make();
  routes = mmap(NULL, 1 << 24, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
  if (routes == MAP_FAILED) fail("memory");
  /* Shorter prefixes first, so that longer ones stand over them. */
  for (uint32_t length = 1; length <= 24; length++) {
    for (int i = 0; i < vtep->peer_count && i < 255; i++) {
      struct peer *peer = &vtep->peers[i];
      if (peer->mask != 0xffffffffu << (32 - length)) continue;
      memset(routes + (peer->network >> 8), i + 1, (size_t)1 << (24 - length));
    }
  }
  for (int i = 0; i < vtep->peer_count; i++)
    vtep->peers[i].socket = udp_connect(vtep, &vtep->peers[i]);
}

/* The socket blocks: what the device cannot take now waits in the TUN's queue. */
static void flush(struct lane *lane) {
  if (message.count == 0) return;
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  struct msghdr header = {.msg_iov = message.iovec, .msg_iovlen = (size_t)message.iovecs};
  header.msg_control = control.bytes;
  struct cmsghdr *next = &control.align;
  if (message.count > 1) {
    next->cmsg_level = SOL_UDP;
    next->cmsg_type = UDP_SEGMENT;
    next->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    uint16_t size = (uint16_t)message.size;
    memcpy(CMSG_DATA(next), &size, sizeof size);
    header.msg_controllen += CMSG_SPACE(sizeof(uint16_t));
    next = (struct cmsghdr *)(control.bytes + header.msg_controllen);
  }
  if (message.tos != 0) {
    next->cmsg_level = IPPROTO_IP;
    next->cmsg_type = IP_TOS;
    next->cmsg_len = CMSG_LEN(sizeof(int));
    int tos = message.tos;
    memcpy(CMSG_DATA(next), &tos, sizeof tos);
    header.msg_controllen += CMSG_SPACE(sizeof(int));
  }
  if (header.msg_controllen == 0) header.msg_control = NULL;
  ssize_t sent;
  do sent = sendmsg(message.peer->socket, &header, 0);
  while (sent < 0 && errno == EINTR);
  lane->counters.out_sends++;
  if (sent < 0) lane->counters.out_refused += (uint64_t)message.count;
  message.count = 0;
  message.iovecs = 0;
}

/* Makes room for a segment of `size` bytes; returns a slot for its headers, to be used or not. */
static uint8_t *begin_segment(struct lane *lane, struct peer *peer, uint8_t tos, unsigned size) {
  bool fits = message.count > 0 && message.count < DATAGRAMS && message.peer == peer &&
              message.tos == tos && !message.sealed && size <= message.size &&
              message.bytes + size <= MESSAGE_BYTES;
  if (!fits) {
    flush(lane);
    message.peer = peer;
    message.tos = tos;
    message.size = size;
    message.bytes = 0;
    message.sealed = false;
  }
  if (size < message.size) message.sealed = true;
  message.bytes += size;
  lane->counters.out_packets++;
  return message.headers[message.count++];
}

static void add_piece(uint8_t *at, size_t length) {
  struct iovec *last = &message.iovec[message.iovecs - 1];
  if (message.iovecs > 0 && (uint8_t *)last->iov_base + last->iov_len == at) {
    last->iov_len += length;
    return;
  }
  message.iovec[message.iovecs].iov_base = at;
  message.iovec[message.iovecs].iov_len = length;
  message.iovecs++;
}

/* Completes a checksum that holds the pseudo-header's sum. */
static bool finish_sum(uint8_t *packet, unsigned total, const struct vnet *vnet) {
  unsigned start = vnet->sum_start, field = start + vnet->sum_offset;
  if (field + 2 > total) return false;
  uint16_t sum = (uint16_t)~fold(sum_bytes(packet + start, total - start));
  if (sum == 0) sum = 0xffff;
  memcpy(packet + field, &sum, 2);
  return true;
}

/* Cuts a TCP or UDP super-packet, whose payload begins `hole` bytes apart from segment to
 * segment, or lies in one piece. False when its offload does not fit it. */
static bool segment(struct lane *lane, struct peer *peer, uint8_t *packet, unsigned total,
                    const struct vnet *vnet, unsigned hole) {
  const struct ipv4 *ip = (const struct ipv4 *)packet;
  unsigned ip_size = ip_length(ip), transport_size = sizeof(struct udp), size = vnet->gso_size;
  unsigned kind = vnet->gso_type & ~(unsigned)GSO_ECN;
  bool is_tcp = kind == GSO_TCPV4 && ip->protocol == PROTOCOL_TCP;
  if (!is_tcp && !(kind == GSO_UDP_L4 && ip->protocol == PROTOCOL_UDP)) return false;
  if (size == 0 || (ip->fragment & IS_FRAGMENT) != 0) return false;
  if (is_tcp) {
    if (total < ip_size + sizeof(struct tcp)) return false;
    transport_size = tcp_length((const struct tcp *)(packet + ip_size));
    if (transport_size < sizeof(struct tcp)) return false;
  }
  unsigned headers = ip_size + transport_size;
  if (headers >= total) return false;

  guess.headers = size >= SCATTER_LEAST ? headers : 0;
  guess.size = size;

  /* What all segments share is copied and added up once: fields that change count as zero. */
  uint8_t common[HEADER_SLOT];
  memcpy(common, peer->header, ENCAPSULATION);
  memcpy(common + ENCAPSULATION, packet, headers);
  struct ipv4 *common_ip = (struct ipv4 *)(common + ENCAPSULATION);
  struct tcp *common_tcp = (struct tcp *)(common + ENCAPSULATION + ip_size);
  struct udp *common_udp = (struct udp *)common_tcp;
  uint16_t id = ntohs(ip->id);
  common_ip->total = common_ip->id = common_ip->sum = 0;
  uint64_t ip_base = ip_sum(common_ip);
  uint32_t sequence = 0;
  uint8_t flags = 0;
  if (is_tcp) {
    sequence = ntohl(common_tcp->sequence);
    flags = common_tcp->flags;
    common_tcp->sequence = common_tcp->flags = common_tcp->sum = 0;
  } else {
    common_udp->length = common_udp->sum = 0;
  }
  uint64_t base = pseudo_sum(common_ip) + sum_bytes(common_tcp, transport_size);

  uint8_t tos = ip->tos & 3;
  uint8_t *payload = packet + headers;
  for (unsigned done = headers, index = 0; done < total; done += size, index++) {
    unsigned length = total - done < size ? total - done : size;
    bool last = done + length == total;
    uint8_t *front = begin_segment(lane, peer, tos, ENCAPSULATION + headers + length);
    if (hole > 0) front = payload - headers - ENCAPSULATION;
    memcpy(front, common, ENCAPSULATION + headers);
    struct ipv4 *out = (struct ipv4 *)(front + ENCAPSULATION);
    out->total = htons((uint16_t)(headers + length));
    out->id = htons((uint16_t)(id + index));
    out->sum = (uint16_t)~fold(ip_base + out->total + out->id);
    uint64_t sum = base + htons((uint16_t)(transport_size + length)) + sum_bytes(payload, length);
    if (is_tcp) {
      struct tcp *tcp = (struct tcp *)((uint8_t *)out + ip_size);
      tcp->sequence = htonl(sequence + (done - headers));
      tcp->flags = flags;
      if (!last) tcp->flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
      if (index > 0) tcp->flags &= (uint8_t)~TCP_CWR;
      tcp->sum = (uint16_t)~fold(sum + tcp->sequence + htons(tcp->flags));
    } else {
      struct udp *udp = (struct udp *)((uint8_t *)out + ip_size);
      udp->length = htons((uint16_t)(transport_size + length));
      uint16_t value = (uint16_t)~fold(sum + udp->length);
      udp->sum = value == 0 ? 0xffff : value;
    }
    add_piece(front, ENCAPSULATION + headers);
    add_piece(payload, length);
    payload += length + hole;
  }
  return true;
}

/* One packet, the vnet header in front of it. False: it goes nowhere. */
static bool forward(struct lane *lane, uint8_t *packet, unsigned length, unsigned hole) {
  struct ipv4 *ip = (struct ipv4 *)packet;
  if (length < sizeof *ip || ip->version_length >> 4 != 4) return false;
  unsigned total = ntohs(ip->total);
  if (ip_length(ip) < sizeof *ip || total < ip_length(ip) || total > length) return false;
  unsigned route = routes[ntohl(ip->destination) >> 8];
  if (route == 0) return false;
  struct peer *peer = &lane->vtep->peers[route - 1];
  struct vnet vnet;
  memcpy(&vnet, packet - sizeof vnet, sizeof vnet);
  if (vnet.gso_type != GSO_NONE) return segment(lane, peer, packet, total, &vnet, hole);
  if ((vnet.flags & NEEDS_CSUM) != 0 && !finish_sum(packet, total, &vnet)) return false;
  begin_segment(lane, peer, ip->tos & 3, ENCAPSULATION + total);
  memcpy(packet - ENCAPSULATION, peer->header, ENCAPSULATION);
  add_piece(packet - ENCAPSULATION, ENCAPSULATION + total);
  return true;
}

/* The length of the headers in front of the payload of a super-packet, 0 when there is none. */
static unsigned headers_of(const uint8_t *packet) {
  const struct ipv4 *ip = (const struct ipv4 *)packet;
  unsigned start = ip_length(ip);
  if (ip->protocol == PROTOCOL_UDP) return start + sizeof(struct udp);
  return start + tcp_length((const struct tcp *)(packet + start));
}

/* Reads a packet behind its vnet header, in pieces as guessed: the headers and the payload of
 * the first segment, then a hole for headers in front of each further segment's payload.
 * Returns the packet's length, or -1. `hole` is set to 0 when the guess did not hold: then the
 * packet lies in one piece. */
static ssize_t read_packet(struct lane *lane, uint8_t *packet, unsigned *hole) {
  const unsigned vnet_size = sizeof(struct vnet), headers = guess.headers, size = guess.size;
  *hole = 0;
  if (headers == 0) {
    ssize_t got = read(lane->tun, packet - vnet_size, vnet_size + IP_PACKET_MAX);
    return got - vnet_size;
  }
  struct iovec pieces[PIECES];
  unsigned gap = ENCAPSULATION + headers, first = headers + size;
  int count = 1;
  pieces[0] = (struct iovec){.iov_base = packet - vnet_size, .iov_len = vnet_size + first};
  uint8_t *at = packet + first + gap;
  for (unsigned room = first; room < IP_PACKET_MAX; room += size, at += size + gap)
    pieces[count++] = (struct iovec){.iov_base = at, .iov_len = size};
  ssize_t got = readv(lane->tun, pieces, count);
  ssize_t length = got - vnet_size;
  if (length <= (ssize_t)first) return length;
  const struct vnet *vnet = (const struct vnet *)(packet - vnet_size);
  if (vnet->gso_type != GSO_NONE && vnet->gso_size == size && headers_of(packet) == headers) {
    *hole = gap;
    return length;
  }
  at = packet + first;
  for (ssize_t rest = length - (ssize_t)first, i = 1; rest > 0; rest -= size, at += size, i++)
    memmove(at, pieces[i].iov_base, rest < (ssize_t)size ? (size_t)rest : size);
  return length;
}

void outbound_turn(struct lane *lane) {
  uint8_t *at = ring;
  unsigned moved = 0;
  for (int packets = 0; packets < TURN_PACKETS && moved < TURN_BYTES; packets++) {
    if (at >= ring + RING_BYTES) {
      flush(lane);
      at = ring;
    }
    uint8_t *packet = at + 64; /* room for the headers in front */
    unsigned hole;
    ssize_t length = read_packet(lane, packet, &hole);
    if (length < 0) break;
    if (!forward(lane, packet, (unsigned)length, hole)) lane->counters.out_dropped++;
    unsigned space = (unsigned)length;
    if (hole > 0) space += (space / guess.size + 1) * hole;
    at = packet + ((space + 63) & ~63u);
    moved += (unsigned)length;
  }
  flush(lane);
}
