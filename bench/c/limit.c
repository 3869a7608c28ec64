/*
 * limit: what a program in C can do on the way that weft takes. A VXLAN forwarder in one
 * thread: TUN with vnet header, TSO and USO; UDP_SEGMENT out, UDP_GRO in; no payload is copied
 * here. A turn drains one direction, then the other; nothing waits for more to come.
 *
 *   limit --tun flannel.1 --local 192.168.56.11 --mac 02:00:00:00:00:01 --port 8472 --vni 1
 *         --mtu 1450 --peer 10.10.2.0/24,192.168.56.12,02:00:00:00:00:02
 *
 * Makes the TUN and says "ready"; addresses, MTU and routes are the caller's. SIGTERM ends it;
 * then it prints its counters as a line of JSON.
 */
#define _GNU_SOURCE
#include "limit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t stopped;

static void stop(int signal) {
  (void)signal;
  stopped = 1;
}

uint8_t *ring_make(void) {
  void *memory;
  if ((errno = posix_memalign(&memory, 4096, RING_BYTES + PACKET_SPACE)) != 0) fail("memory");
  return memory;
}

static void print_counters(const struct counters *c) {
  printf("{\"out_packets\":%llu,\"out_sends\":%llu,\"out_dropped\":%llu,\"out_refused\":%llu,"
         "\"in_packets\":%llu,\"in_writes\":%llu,\"in_dropped\":%llu,\"in_refused\":%llu}\n",
         (unsigned long long)c->out_packets, (unsigned long long)c->out_sends,
         (unsigned long long)c->out_dropped, (unsigned long long)c->out_refused,
         (unsigned long long)c->in_packets, (unsigned long long)c->in_writes,
         (unsigned long long)c->in_dropped, (unsigned long long)c->in_refused);
}

int main(int argc, char **argv) {
  static struct vtep vtep;
  static struct lane lane;
  vtep_parse(&vtep, argc, argv);
  lane.vtep = &vtep;
  lane.tun = tun_open(vtep.tun, true, &lane.uso);
  lane.udp = udp_listen(&vtep);
  outbound_open(&lane);
  inbound_open(&lane);

  /* Signals arrive in ppoll only, so that none is missed between the look and the wait. */
  sigset_t during, before;
  sigemptyset(&during);
  sigaddset(&during, SIGTERM);
  sigaddset(&during, SIGINT);
  sigprocmask(SIG_BLOCK, &during, &before);
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);

  printf("ready: %s, uso %s\n", vtep.tun, lane.uso ? "on" : "off");
  fflush(stdout);

  struct pollfd ends[2] = {{.fd = lane.tun, .events = POLLIN}, {.fd = lane.udp, .events = POLLIN}};
  while (!stopped) {
    if (ppoll(ends, 2, NULL, &before) < 0) {
      if (errno == EINTR) continue;
      fail("poll");
    }
    if (ends[0].revents != 0) outbound_turn(&lane);
    if (ends[1].revents != 0) inbound_turn(&lane);
  }
  print_counters(&lane.counters);
  return 0;
}
