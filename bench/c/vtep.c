/* What both forwarders share; see vtep.h. */
#include "vtep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { BUFFER = 8 << 20 };

_Noreturn void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static _Noreturn void usage(const char *why, const char *value) {
  fprintf(stderr,
          "%s: %s\n"
          "usage: --tun NAME --local ADDRESS --mac MAC [--port 8472] [--vni 1] [--mtu 1450]\n"
          "       --peer SUBNET/LENGTH,ADDRESS,MAC ...\n",
          why, value);
  exit(2);
}

static void parse_mac(uint8_t mac[6], const char *text) {
  char more;
  if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%c", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
             &mac[5], &more) != 6)
    usage("not a MAC", text);
}

static uint32_t parse_number(const char *text, uint32_t most) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (end == text || *end != 0 || value > most) usage("not a number in range", text);
  return (uint32_t)value;
}

static void parse_peer(struct vtep *vtep, const char *text) {
  char subnet[16], address[16], mac[18], more;
  unsigned length;
  struct in_addr network;
  if (vtep->peer_count == PEERS_MAX) usage("too many peers", text);
  struct peer *peer = &vtep->peers[vtep->peer_count++];
  if (sscanf(text, "%15[0-9.]/%u,%15[0-9.],%17[0-9a-fA-F:]%c", subnet, &length, address, mac,
             &more) != 4 ||
      length < 1 || length > 24 || inet_pton(AF_INET, subnet, &network) != 1 ||
      inet_pton(AF_INET, address, &peer->address.sin_addr) != 1)
    usage("not a peer (its prefix length is 1 to 24)", text);
  peer->mask = 0xffffffffu << (32 - length);
  peer->network = ntohl(network.s_addr) & peer->mask;
  peer->address.sin_family = AF_INET;
  peer->socket = -1;
  parse_mac(peer->mac, mac);
}

/* What stands in front of every inner packet to a peer. */
static void write_header(const struct vtep *vtep, struct peer *peer) {
  struct vxlan *vxlan = (struct vxlan *)peer->header;
  struct ethernet *ethernet = (struct ethernet *)(peer->header + sizeof *vxlan);
  vxlan->flags = VNI_FLAG;
  vxlan->vni = htonl(vtep->vni << 8);
  memcpy(ethernet->destination, peer->mac, 6);
  memcpy(ethernet->source, vtep->mac, 6);
  ethernet->type = TYPE_IPV4;
}

void vtep_parse(struct vtep *vtep, int argc, char **argv) {
  bool mac = false, local = false;
  memset(vtep, 0, sizeof *vtep);
  vtep->port = 8472;
  vtep->vni = 1;
  vtep->mtu = 1450;
  for (int i = 1; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (value == NULL) usage("no value for", name);
    if (!strcmp(name, "--tun")) {
      vtep->tun = value;
    } else if (!strcmp(name, "--local")) {
      local = inet_pton(AF_INET, value, &vtep->local) == 1;
      if (!local) usage("not an address", value);
    } else if (!strcmp(name, "--port")) {
      vtep->port = (uint16_t)parse_number(value, 65535);
    } else if (!strcmp(name, "--vni")) {
      vtep->vni = parse_number(value, 0xffffff);
    } else if (!strcmp(name, "--mtu")) {
      vtep->mtu = parse_number(value, 65535);
    } else if (!strcmp(name, "--mac")) {
      parse_mac(vtep->mac, value);
      mac = true;
    } else if (!strcmp(name, "--peer")) {
      parse_peer(vtep, value);
    } else {
      usage("unknown option", name);
    }
  }
  if (vtep->tun == NULL || !local || !mac) usage("missing", "--tun, --local or --mac");
  for (int i = 0; i < vtep->peer_count; i++) {
    vtep->peers[i].address.sin_port = htons(vtep->port);
    write_header(vtep, &vtep->peers[i]);
  }
}

int tun_open(const char *name, bool offloads, bool *uso) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  if (offloads) request.ifr_flags |= IFF_VNET_HDR;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail(name);
  if (!offloads) return fd;
  int size = sizeof(struct vnet);
  if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) fail("TUNSETVNETHDRSZ");
  unsigned tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  *uso = ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0;
  if (!*uso && ioctl(fd, TUNSETOFFLOAD, tso) < 0) fail("TUNSETOFFLOAD");
  return fd;
}

static int udp_socket(const struct vtep *vtep, uint16_t port, int flags) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) fail("socket");
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
  own.sin_addr = vtep->local;
  if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) fail("bind");
  return fd;
}

int udp_listen(const struct vtep *vtep) {
  int fd = udp_socket(vtep, vtep->port, SOCK_NONBLOCK);
  int size = BUFFER;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) fail("SO_RCVBUFFORCE");
  return fd;
}

int udp_connect(const struct vtep *vtep, const struct peer *peer) {
  int fd = udp_socket(vtep, 0, 0);
  struct sock_filter discard = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog filter = {.len = 1, .filter = &discard};
  int size = BUFFER;
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
    fail("setsockopt of a sending socket");
  if (connect(fd, (const struct sockaddr *)&peer->address, sizeof peer->address) < 0)
    fail("connect");
  return fd;
}
