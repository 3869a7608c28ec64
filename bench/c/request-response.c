/*
 * request-response: one byte there, one byte back, over TCP; how many a second and how long.
 *
 *   request-response server [--port 5302]
 *   request-response client --host ADDRESS [--port 5302] [--connections 1] [--seconds 3]
 *                           [--new 0|1]
 *
 * The client keeps one request under way on each of its connections. With --new 1 every
 * transaction is a connection of its own: connect, request, answer, close; its latency counts
 * from connect to answer. The server closes first then, so that the client's ports are free
 * again at once. The server says "listening" and runs until it is stopped; the client prints a
 * line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096, EVENTS = 256, KEEP = 'k', CLOSE = 'c' };

/* One of the client's connections. */
struct call {
  int fd;
  int64_t begun;
  bool answered; /* with --new: the server's close is awaited */
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct call calls[CONNECTIONS_MAX];
static uint32_t *latencies; /* in units of 100 ns, one a transaction */
static size_t done, room;
static uint64_t errors;
static int poller;

static _Noreturn void fail(const char *what) {
  fprintf(stderr, "request-response: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void set(int fd, int level, int option) {
  int on = 1;
  setsockopt(fd, level, option, &on, sizeof on);
}

static void watch(int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {.events = events, .data.u64 = data};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void answer(int fd) {
  uint8_t bytes[256];
  ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  bool over = got <= 0;
  if (!over) over = send(fd, bytes, (size_t)got, MSG_NOSIGNAL) != got || bytes[0] == CLOSE;
  if (over) close(fd);
}

static void serve(void) {
  struct epoll_event events[EVENTS];
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (listener < 0) fail("socket");
  set(listener, SOL_SOCKET, SO_REUSEADDR);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listener, 4096) < 0) fail("listen");
  watch(listener, EPOLLIN, (uint64_t)listener);
  printf("listening\n");
  fflush(stdout);
  for (;;) {
    int ready = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      int fd = (int)events[i].data.u64;
      if (fd != listener) {
        answer(fd);
        continue;
      }
      for (int next; (next = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        set(next, IPPROTO_TCP, TCP_NODELAY);
        watch(next, EPOLLIN, (uint64_t)next);
      }
    }
  }
}

static void request(struct call *call, uint8_t kind) {
  if (send(call->fd, &kind, 1, MSG_NOSIGNAL) != 1) errors++;
}

/* Begins a connection; `wait`: comes back when it stands. */
static void dial(struct call *call, bool wait) {
  call->fd = socket(AF_INET, SOCK_STREAM | (wait ? 0 : SOCK_NONBLOCK), 0);
  if (call->fd < 0) fail("socket");
  set(call->fd, IPPROTO_TCP, TCP_NODELAY);
  call->begun = now();
  call->answered = false;
  if (connect(call->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
    fail("connect");
  uint32_t events = wait ? EPOLLIN : EPOLLIN | EPOLLOUT;
  watch(call->fd, events, (uint64_t)(call - calls));
}

static void record(const struct call *call, int64_t time) {
  if (done == room) {
    room = room == 0 ? 1 << 16 : room * 2;
    latencies = realloc(latencies, room * sizeof *latencies);
    if (latencies == NULL) fail("memory");
  }
  latencies[done++] = (uint32_t)((time - call->begun) / 100);
}

static void kept_event(struct call *call) {
  uint8_t byte;
  if (recv(call->fd, &byte, 1, MSG_DONTWAIT) != 1) {
    if (errno == EAGAIN) return;
    fail("the server went away");
  }
  int64_t time = now();
  record(call, time);
  call->begun = time;
  request(call, KEEP);
}

static void new_event(struct call *call, uint32_t events) {
  uint8_t byte;
  if ((events & EPOLLERR) == 0) {
    if ((events & EPOLLOUT) != 0) {
      struct epoll_event next = {.events = EPOLLIN, .data.u64 = (uint64_t)(call - calls)};
      epoll_ctl(poller, EPOLL_CTL_MOD, call->fd, &next);
      request(call, CLOSE);
      return;
    }
    ssize_t got = recv(call->fd, &byte, 1, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got == 1) {
      record(call, now());
      call->answered = true;
      return;
    }
  }
  if (!call->answered) errors++;
  close(call->fd);
  dial(call, false);
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static double percentile(double part) {
  if (done == 0) return 0;
  size_t index = (size_t)(part * (double)done);
  return latencies[index < done ? index : done - 1] / 10.0;
}

static void ask(int connections, double seconds, bool fresh) {
  struct epoll_event events[EVENTS];
  for (int i = 0; i < connections; i++) dial(&calls[i], !fresh);
  int64_t begin = now(), end = begin + (int64_t)(seconds * 1e9), time = begin;
  for (int i = 0; i < connections && !fresh; i++) {
    calls[i].begun = now();
    request(&calls[i], KEEP);
  }
  for (; time < end; time = now()) {
    int ready = epoll_wait(poller, events, EVENTS, 100);
    for (int i = 0; i < ready; i++) {
      struct call *call = &calls[events[i].data.u64];
      if (fresh) new_event(call, events[i].events);
      else kept_event(call);
    }
  }
  double took = (double)(time - begin) / 1e9;
  qsort(latencies, done, sizeof *latencies, by_size);
  printf("{\"new\":%s,\"connections\":%d,\"seconds\":%.3f,\"transactions\":%zu,"
         "\"per_second\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"errors\":%llu}\n",
         fresh ? "true" : "false", connections, took, done, (double)done / took, percentile(0.5),
         percentile(0.99), percentile(1), (unsigned long long)errors);
}

static _Noreturn void usage(void) {
  fprintf(stderr, "usage: request-response server [--port 5302]\n"
                  "       request-response client --host ADDRESS [--port 5302] "
                  "[--connections 1] [--seconds 3] [--new 0|1]\n");
  exit(2);
}

int main(int argc, char **argv) {
  int connections = 1;
  double seconds = 3;
  bool fresh = false, host = false, client = argc > 1 && strcmp(argv[1], "client") == 0;
  address.sin_port = htons(5302);
  if (argc < 2 || (!client && strcmp(argv[1], "server") != 0) || argc % 2 != 0) usage();
  for (int i = 2; i < argc; i += 2) {
    const char *value = argv[i + 1];
    if (!strcmp(argv[i], "--host")) host = inet_pton(AF_INET, value, &address.sin_addr) == 1;
    else if (!strcmp(argv[i], "--port")) address.sin_port = htons((uint16_t)atoi(value));
    else if (!strcmp(argv[i], "--connections")) connections = atoi(value);
    else if (!strcmp(argv[i], "--seconds")) seconds = atof(value);
    else if (!strcmp(argv[i], "--new")) fresh = atoi(value) != 0;
    else usage();
  }
  if (client != host || connections < 1 || connections > CONNECTIONS_MAX || seconds <= 0) usage();
  poller = epoll_create1(0);
  if (poller < 0) fail("epoll_create1");
  if (client) ask(connections, seconds, fresh);
  else serve();
  return 0;
}
