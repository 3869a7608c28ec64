/*
 * The headers of the wire, as they lie in memory: RFC 791, 793, 768, 7348, and the vnet header
 * of a TUN. Packed, so that they may stand at any address; sums in memory order (RFC 1071: the
 * sum of 16-bit words does not care about byte order, as long as it is stored as it was added).
 */
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIRE __attribute__((packed, may_alias))

struct WIRE vnet {
  uint8_t flags, gso_type;
  uint16_t header_length, gso_size, sum_start, sum_offset;
};

struct WIRE vxlan {
  uint32_t flags; /* network order, 0x08000000: the VNI counts */
  uint32_t vni;   /* network order, shifted left by 8 */
};

struct WIRE ethernet {
  uint8_t destination[6], source[6];
  uint16_t type;
};

struct WIRE ipv4 {
  uint8_t version_length, tos;
  uint16_t total, id, fragment;
  uint8_t ttl, protocol;
  uint16_t sum;
  uint32_t source, destination;
};

struct WIRE tcp {
  uint16_t source, destination;
  uint32_t sequence, acknowledgement;
  uint8_t offset, flags;
  uint16_t window, sum, urgent;
};

struct WIRE udp {
  uint16_t source, destination, length, sum;
};

enum {
  ENCAPSULATION = sizeof(struct vxlan) + sizeof(struct ethernet), /* 22 */
  NEEDS_CSUM = 1,
  GSO_NONE = 0,
  GSO_TCPV4 = 1,
  GSO_UDP_L4 = 5,
  GSO_ECN = 0x80,
  TCP_FIN = 1,
  TCP_PSH = 8,
  TCP_ACK = 16,
  TCP_CWR = 128,
  PROTOCOL_TCP = 6,
  PROTOCOL_UDP = 17,
  IP_PACKET_MAX = 65535,
};

#define VNI_FLAG htonl(0x08000000)
#define TYPE_IPV4 htons(0x0800)
#define DONT_FRAGMENT htons(0x4000)
#define IS_FRAGMENT htons(0x3fff) /* more fragments, or an offset */

static inline unsigned ip_length(const struct ipv4 *ip) {
  return (ip->version_length & 15u) * 4u;
}

static inline unsigned tcp_length(const struct tcp *tcp) {
  return (tcp->offset >> 4) * 4u;
}

/* Sum of 16-bit words, folded to at most 32 bits; an odd last byte is padded with zero. */
uint32_t sum_bytes(const void *at, size_t length);

static inline uint16_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

/* The pseudo-header's part of a transport sum, its length left out. */
static inline uint64_t pseudo_sum(const struct ipv4 *ip) {
  return (uint64_t)ip->source + ip->destination + htons(ip->protocol);
}

/* The sum over an IPv4 header of 20 bytes or more; 0xffff when its checksum is right. */
static inline uint16_t ip_sum(const struct ipv4 *ip) {
  uint64_t sum = 0;
  const uint8_t *at = (const uint8_t *)ip;
  for (unsigned i = 0; i < ip_length(ip); i += 4) {
    uint32_t word;
    memcpy(&word, at + i, 4);
    sum += word;
  }
  return fold(sum);
}

/* Writes the checksum of an IPv4 header. */
static inline void ip_seal(struct ipv4 *ip) {
  ip->sum = 0;
  ip->sum = (uint16_t)~ip_sum(ip);
}

#endif
