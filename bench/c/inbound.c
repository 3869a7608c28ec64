/*
 * Inbound of `limit`: peers to TUN.
 *
 *   1. receive   a datagram, or a train of equal ones that the kernel merged (UDP_GRO)
 *   2. frame     a known sender, VXLAN with our VNI, our MAC, a sound IPv4 header
 *   3. coalesce  what continues the open run of one TCP flow, exactly and undamaged, joins it
 *   4. write     a run as one super-packet with one writev, the payload where it lies
 *
 * A kernel VTEP with offloads sends datagrams longer than the MTU and leaves inner checksums
 * to be finished; both are recognised by the packet itself. The inner length is asked before
 * the size that UDP_GRO tells, which may be that of the inner segments.
 */
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "limit.h"
#include "wire.h"

enum { PADDED_MAX = ENCAPSULATION + 60, RUN_PIECES = 128 };

/* The open run: its first packet, and the payload that has been added. */
static struct {
  uint8_t *packet;
  int count; /* of segments; 0: nothing is open */
  unsigned headers, segment, total;
  uint32_t sequence; /* the next one */
  uint8_t flags;
  bool partial; /* the checksum is only the pseudo-header's sum */
  bool verified, may_grow;
  struct iovec iovec[RUN_PIECES]; /* one a segment */
} run;

static uint8_t *ring;

void inbound_open(struct lane *lane) {
  int on = 1;
  if (setsockopt(lane->udp, SOL_UDP, UDP_GRO, &on, sizeof on) < 0) fail("UDP_GRO");
  if (setsockopt(lane->udp, IPPROTO_IP, IP_RECVTOS, &on, sizeof on) < 0) fail("IP_RECVTOS");
  ring = ring_make();
}

static uint16_t pseudo(const struct ipv4 *ip, unsigned total) {
  return fold(pseudo_sum(ip) + htons((uint16_t)(total - ip_length(ip))));
}

static bool sum_is_right(const uint8_t *packet, unsigned total) {
  const struct ipv4 *ip = (const struct ipv4 *)packet;
  unsigned start = ip_length(ip);
  return fold((uint64_t)pseudo(ip, total) + sum_bytes(packet + start, total - start)) == 0xffff;
}

static void write_packet(struct lane *lane, struct iovec *pieces, int count) {
  lane->counters.in_writes++;
  if (writev(lane->tun, pieces, count) < 0) lane->counters.in_refused++;
}

/* Writes the open run. */
static void close_run(struct lane *lane) {
  if (run.count == 0) return;
  struct ipv4 *ip = (struct ipv4 *)run.packet;
  struct vnet *vnet = (struct vnet *)(run.packet - sizeof *vnet);
  memset(vnet, 0, sizeof *vnet);
  if (run.count > 1) {
    struct tcp *tcp = (struct tcp *)(run.packet + sizeof *ip);
    ip->total = htons((uint16_t)run.total);
    ip_seal(ip);
    tcp->flags = run.flags;
    tcp->sum = pseudo(ip, run.total);
    vnet->flags = NEEDS_CSUM;
    vnet->gso_type = GSO_TCPV4;
    vnet->header_length = (uint16_t)run.headers;
    vnet->gso_size = (uint16_t)run.segment;
    vnet->sum_start = sizeof *ip;
    vnet->sum_offset = offsetof(struct tcp, sum);
  } else if (run.partial) {
    vnet->flags = NEEDS_CSUM;
    vnet->sum_start = (uint16_t)ip_length(ip);
    vnet->sum_offset =
        ip->protocol == PROTOCOL_TCP ? offsetof(struct tcp, sum) : offsetof(struct udp, sum);
  }
  write_packet(lane, run.iovec, run.count);
  run.count = 0;
}

/* Whether all of the headers that one flow's segments share is the same in both. */
static bool same_headers(const uint8_t *packet) {
  const struct ipv4 *a = (const struct ipv4 *)run.packet, *b = (const struct ipv4 *)packet;
  const uint8_t *ta = run.packet + sizeof *a, *tb = packet + sizeof *b;
  if (a->tos != b->tos || a->ttl != b->ttl || a->fragment != b->fragment) return false;
  if ((b->fragment & DONT_FRAGMENT) == 0 &&
      ntohs(b->id) != (uint16_t)(ntohs(a->id) + (unsigned)run.count))
    return false;
  /* Addresses and ports; acknowledgement and offset; flags but for PSH; window; options. */
  return memcmp(&a->source, &b->source, 12) == 0 && memcmp(ta + 8, tb + 8, 5) == 0 &&
         ((ta[13] ^ tb[13]) & ~TCP_PSH) == 0 && memcmp(ta + 14, tb + 14, 2) == 0 &&
         memcmp(ta + 20, tb + 20, run.headers - 40) == 0;
}

/* Whether the packet is exactly what comes next in the open run, and undamaged. */
static bool continues(const uint8_t *packet, unsigned total, unsigned headers, bool partial) {
  const struct tcp *tcp = (const struct tcp *)(packet + sizeof(struct ipv4));
  if (run.count == 0 || !run.may_grow || run.count == RUN_PIECES) return false;
  unsigned payload = total - headers;
  if (headers != run.headers || payload > run.segment) return false;
  if (run.total + payload > IP_PACKET_MAX || ntohl(tcp->sequence) != run.sequence) return false;
  if (!same_headers(packet) || (!partial && !sum_is_right(packet, total))) return false;
  if (!run.verified) {
    run.verified = sum_is_right(run.packet, run.headers + run.segment);
    run.may_grow = run.verified;
  }
  return run.verified;
}

/* The length of the headers when the packet may be part of a run, else 0: whole TCP with data,
 * ACK and at most PSH, no IP options. */
static unsigned mergeable(const uint8_t *packet, unsigned total) {
  const struct ipv4 *ip = (const struct ipv4 *)packet;
  const struct tcp *tcp = (const struct tcp *)(packet + sizeof *ip);
  if (ip->protocol != PROTOCOL_TCP || ip->version_length != 0x45) return 0;
  if ((ip->fragment & IS_FRAGMENT) != 0 || total < sizeof *ip + sizeof *tcp) return 0;
  unsigned headers = sizeof *ip + tcp_length(tcp);
  if (headers < sizeof *ip + sizeof *tcp || headers >= total) return 0;
  return (tcp->flags & ~TCP_PSH) == TCP_ACK ? headers : 0;
}

/* A packet that fits the TUN's MTU: joins the open run, or begins one. */
static void add(struct lane *lane, uint8_t *packet, unsigned total, bool partial) {
  unsigned headers = mergeable(packet, total);
  const struct tcp *tcp = (const struct tcp *)(packet + sizeof(struct ipv4));
  if (headers > 0 && continues(packet, total, headers, partial)) {
    unsigned payload = total - headers;
    run.iovec[run.count].iov_base = packet + headers;
    run.iovec[run.count].iov_len = payload;
    run.count++;
    run.total += payload;
    run.sequence += payload;
    run.flags |= tcp->flags & TCP_PSH;
    run.may_grow = payload == run.segment && (tcp->flags & TCP_PSH) == 0;
    return;
  }
  close_run(lane);
  run.packet = packet;
  run.count = 1;
  run.partial = run.verified = partial;
  run.total = total;
  run.may_grow = headers > 0 && (tcp->flags & TCP_PSH) == 0;
  run.iovec[0].iov_base = packet - sizeof(struct vnet);
  run.iovec[0].iov_len = total + sizeof(struct vnet);
  if (headers == 0) return;
  run.headers = headers;
  run.segment = total - headers;
  run.sequence = ntohl(tcp->sequence) + run.segment;
  run.flags = tcp->flags;
}

/* A packet longer than the MTU: a peer's super-packet, to be cut again where it must. */
static bool add_super(struct lane *lane, uint8_t *packet, unsigned total, bool partial,
                      unsigned segment) {
  struct ipv4 *ip = (struct ipv4 *)packet;
  unsigned start = ip_length(ip), headers = start + sizeof(struct udp);
  bool is_tcp = ip->protocol == PROTOCOL_TCP;
  if (is_tcp) {
    headers = start + tcp_length((struct tcp *)(packet + start));
    segment = lane->vtep->mtu - headers;
  } else if (!lane->uso || segment == 0) {
    return false;
  }
  if (headers >= total || headers >= lane->vtep->mtu) return false;
  unsigned field = is_tcp ? offsetof(struct tcp, sum) : offsetof(struct udp, sum);
  if (!partial) {
    /* A complete sum must not be finished again: the unfinished one takes its place. */
    if (!sum_is_right(packet, total)) return false;
    uint16_t sum = pseudo(ip, total);
    memcpy(packet + start + field, &sum, 2);
  }
  close_run(lane);
  struct vnet *vnet = (struct vnet *)(packet - sizeof *vnet);
  vnet->flags = NEEDS_CSUM;
  vnet->gso_type = is_tcp ? GSO_TCPV4 : GSO_UDP_L4;
  vnet->header_length = (uint16_t)headers;
  vnet->gso_size = (uint16_t)segment;
  vnet->sum_start = (uint16_t)start;
  vnet->sum_offset = (uint16_t)field;
  struct iovec piece = {.iov_base = vnet, .iov_len = total + sizeof *vnet};
  write_packet(lane, &piece, 1);
  return true;
}

/* Congestion marks of the outer header into the inner one (RFC 6040, figure 4). */
static bool mark_congestion(struct ipv4 *ip, unsigned outer) {
  unsigned inner = ip->tos & 3u, merged = inner;
  if (outer == 3) {
    if (inner == 0) return false;
    merged = 3;
  } else if (outer == 1 && inner == 2) {
    merged = 1;
  }
  if (merged == inner) return true;
  ip->tos = (uint8_t)((ip->tos & ~3u) | merged);
  ip_seal(ip);
  return true;
}

/* One VXLAN frame of `length` bytes. False: it goes nowhere. */
static bool frame(struct lane *lane, uint8_t *at, unsigned length, unsigned tos, unsigned segment) {
  const struct vxlan *vxlan = (const struct vxlan *)at;
  const struct ethernet *ethernet = (const struct ethernet *)(at + sizeof *vxlan);
  uint8_t *packet = at + ENCAPSULATION;
  struct ipv4 *ip = (struct ipv4 *)packet;
  if (length < ENCAPSULATION + sizeof *ip) return false;
  if ((vxlan->flags & VNI_FLAG) == 0 || ntohl(vxlan->vni) >> 8 != lane->vtep->vni) return false;
  if (ethernet->type != TYPE_IPV4 || memcmp(ethernet->destination, lane->vtep->mac, 6) != 0)
    return false;

  unsigned start = ip_length(ip), total = ntohs(ip->total);
  if (ip->version_length >> 4 != 4 || start < sizeof *ip || total < start) return false;
  if (ENCAPSULATION + total > length || ip_sum(ip) != 0xffff) return false;
  if (ENCAPSULATION + total < length && length > PADDED_MAX) return false;
  if (tos != (ip->tos & 3u) && !mark_congestion(ip, tos)) return false;

  bool whole = (ip->fragment & IS_FRAGMENT) == 0, partial = false, known = false;
  if (whole && ip->protocol == PROTOCOL_TCP && total >= start + sizeof(struct tcp)) {
    const struct tcp *tcp = (const struct tcp *)(packet + start);
    known = tcp_length(tcp) >= sizeof *tcp && total >= start + tcp_length(tcp);
    partial = known && tcp->sum == pseudo(ip, total);
  } else if (whole && ip->protocol == PROTOCOL_UDP && total >= start + sizeof(struct udp)) {
    known = true;
    partial = ((const struct udp *)(packet + start))->sum == pseudo(ip, total);
  }
  if (total > lane->vtep->mtu) return known && add_super(lane, packet, total, partial, segment);
  add(lane, packet, total, partial);
  return true;
}

static bool is_peer(const struct vtep *vtep, uint32_t address) {
  static int last;
  if (last < vtep->peer_count && vtep->peers[last].address.sin_addr.s_addr == address) return true;
  for (int i = 0; i < vtep->peer_count; i++) {
    if (vtep->peers[i].address.sin_addr.s_addr != address) continue;
    last = i;
    return true;
  }
  return false;
}

/* What one receive brought: one frame, or a train of them. */
static void datagram(struct lane *lane, uint8_t *at, unsigned length, unsigned tos,
                     unsigned segment) {
  bool one = segment == 0 || segment >= length;
  if (!one && length >= ENCAPSULATION + sizeof(struct ipv4)) {
    const struct ipv4 *ip = (const struct ipv4 *)(at + ENCAPSULATION);
    one = length == (unsigned)ENCAPSULATION + ntohs(ip->total);
  }
  unsigned step = one ? length : segment;
  for (unsigned done = 0; done < length; done += step) {
    unsigned size = length - done < step ? length - done : step;
    lane->counters.in_packets++;
    if (!frame(lane, at + done, size, tos, one ? segment : 0)) lane->counters.in_dropped++;
  }
}

void inbound_turn(struct lane *lane) {
  uint8_t *at = ring;
  unsigned moved = 0;
  for (int packets = 0; packets < TURN_PACKETS && moved < TURN_BYTES; packets++) {
    if (at >= ring + RING_BYTES) {
      close_run(lane);
      at = ring;
    }
    union {
      char bytes[CMSG_SPACE(sizeof(int)) * 2];
      struct cmsghdr align;
    } control;
    struct sockaddr_in from;
    /* Two bytes in, so that the inner IPv4 header, 22 on, stands at a multiple of 4. */
    struct iovec piece = {.iov_base = at + 2, .iov_len = PACKET_SPACE - 128};
    struct msghdr header = {.msg_name = &from,
                            .msg_namelen = sizeof from,
                            .msg_iov = &piece,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t got = recvmsg(lane->udp, &header, 0);
    if (got < 0) break;
    unsigned tos = 0, segment = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
        int size;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        segment = (unsigned)size;
      } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
        tos = *(const uint8_t *)CMSG_DATA(c) & 3u;
      }
    }
    if (is_peer(lane->vtep, from.sin_addr.s_addr))
      datagram(lane, at + 2, (unsigned)got, tos, segment);
    else lane->counters.in_dropped++;
    at += ((unsigned)got + 2 + 63) & ~63u;
    moved += (unsigned)got;
  }
  close_run(lane);
}
