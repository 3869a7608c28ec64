/*
 * one-packet: the same tunnel as flannel's udp backend would carry it. No vnet header, so the
 * host hands over and takes single packets with finished checksums; one read and one sendto,
 * one recv and one write a packet; the route by a walk over the list; poll only when both
 * directions are idle.
 *
 * Takes the options of `limit`, and the way of its `ready` line. A kernel VTEP is a peer for it
 * on a plain wire only: nothing here finishes a checksum or cuts a super-packet.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vtep.h"
#include "wire.h"

static struct vtep vtep;
static uint8_t buffer[ENCAPSULATION + 65536];

static const struct peer *route(uint32_t address) {
  for (int i = 0; i < vtep.peer_count; i++) {
    if ((address & vtep.peers[i].mask) == vtep.peers[i].network) return &vtep.peers[i];
  }
  return NULL;
}

/* Moves one packet; false when there was none. */
static bool outbound(int tun, int udp) {
  struct ipv4 *ip = (struct ipv4 *)(buffer + ENCAPSULATION);
  ssize_t got = read(tun, ip, sizeof buffer - ENCAPSULATION);
  if (got < 0) return false;
  if ((size_t)got < sizeof *ip || ip->version_length >> 4 != 4) return true;
  const struct peer *peer = route(ntohl(ip->destination));
  if (peer == NULL) return true;
  memcpy(buffer, peer->header, ENCAPSULATION);
  ssize_t sent;
  do
    sent = sendto(udp, buffer, ENCAPSULATION + (size_t)got, 0,
                  (const struct sockaddr *)&peer->address, sizeof peer->address);
  while (sent < 0 && errno == EINTR);
  return true;
}

static bool inbound(int tun, int udp) {
  ssize_t got = recv(udp, buffer, sizeof buffer, 0);
  if (got < 0) return false;
  const struct vxlan *vxlan = (const struct vxlan *)buffer;
  if (got < ENCAPSULATION || (vxlan->flags & VNI_FLAG) == 0 || ntohl(vxlan->vni) >> 8 != vtep.vni)
    return true;
  if (write(tun, buffer + ENCAPSULATION, (size_t)got - ENCAPSULATION) < 0 && errno == EBADF)
    fail(vtep.tun);
  return true;
}

int main(int argc, char **argv) {
  vtep_parse(&vtep, argc, argv);
  int tun = tun_open(vtep.tun, false, NULL);
  int udp = udp_listen(&vtep);
  printf("ready: %s\n", vtep.tun);
  fflush(stdout);
  struct pollfd ends[2] = {{.fd = tun, .events = POLLIN}, {.fd = udp, .events = POLLIN}};
  for (;;) {
    while (outbound(tun, udp) | inbound(tun, udp)) continue;
    if (poll(ends, 2, -1) < 0 && errno != EINTR) fail("poll");
  }
}
