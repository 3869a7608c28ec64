/*
 * udp-flood: numbered UDP datagrams at a given rate, and the count of what arrives.
 *
 *   udp-flood receive [--port 5301] [--seconds 30]
 *   udp-flood send --host ADDRESS [--port 5301] [--rate 100000] [--size 64] [--seconds 5]
 *
 * The receiver says "listening", waits for one flow, and prints a line of JSON when the sender
 * has said that it is done (or when nothing came for 2 s, or after --seconds). The sender keeps
 * to the rate: it sends what is due, up to 64 datagrams a system call, and sleeps while nothing
 * is due; a stall of more than 5 ms is not made up for, so that no burst follows it, and the
 * JSON tells the rate that was reached. Sizes are those of the UDP payload.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, PAYLOAD_MAX = 65507, BUFFER = 16 << 20, ENDS = 20 };

static const uint32_t MAGIC = 0x77656674;
static const int64_t STALL = 5000000; /* ns */
static const int64_t NAP = 50000;     /* ns: the shortest sleep */
static const uint64_t SEQUENCES = 1ull << 28;

struct header {
  uint32_t magic;
  uint32_t done; /* 1: the flow has ended, `sequence` datagrams were sent */
  uint64_t sequence;
};

static _Noreturn void fail(const char *what) {
  fprintf(stderr, "udp-flood: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void nap(int64_t ns) {
  struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
  nanosleep(&t, NULL);
}

static void enlarge(int fd, int force, int plain) {
  int size = BUFFER;
  if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof size) < 0)
    setsockopt(fd, SOL_SOCKET, plain, &size, sizeof size);
}

static void say_done(int fd, uint64_t sent) {
  struct header end = {.magic = MAGIC, .done = 1, .sequence = sent};
  for (int i = 0; i < ENDS; i++) {
    nap(10000000);
    if (send(fd, &end, sizeof end, 0) < 0) continue; /* the receiver may have gone already */
  }
}

static void flood(struct sockaddr_in *to, double rate, int size, double seconds) {
  static uint8_t bytes[BATCH][PAYLOAD_MAX];
  struct mmsghdr messages[BATCH];
  struct iovec pieces[BATCH];
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)to, sizeof *to) < 0) fail("connect");
  enlarge(fd, SO_SNDBUFFORCE, SO_SNDBUF);
  prctl(PR_SET_TIMERSLACK, 1000);
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = (size_t)size};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  uint64_t sent = 0, refused = 0, stalls = 0;
  double each = 1e9 / rate;
  int64_t begin = now(), end = begin + (int64_t)(seconds * 1e9), time = begin;
  double next = (double)begin; /* when the next datagram is due */
  for (; time < end; time = now()) {
    if ((double)time - next > (double)STALL) {
      next = (double)time;
      stalls++;
    }
    int due = (double)time < next ? 0 : (int)(((double)time - next) / each) + 1;
    if (due == 0) {
      int64_t rest = (int64_t)next - time;
      nap(rest > NAP ? rest : NAP);
      continue;
    }
    if (due > BATCH) due = BATCH;
    for (int i = 0; i < due; i++) {
      struct header header = {.magic = MAGIC, .sequence = sent + (uint64_t)i};
      memcpy(bytes[i], &header, sizeof header);
    }
    int done = sendmmsg(fd, messages, (unsigned)due, 0);
    if (done < 0) {
      if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED)
        fail("sendmmsg");
      refused++;
      done = 0;
    }
    sent += (uint64_t)done;
    next += each * done;
  }
  double took = (double)(time - begin) / 1e9;
  say_done(fd, sent);
  printf("{\"sent\":%llu,\"size\":%d,\"seconds\":%.3f,\"asked\":%.0f,\"rate\":%.0f,"
         "\"refused\":%llu,\"stalls\":%llu}\n",
         (unsigned long long)sent, size, took, rate, (double)sent / took,
         (unsigned long long)refused, (unsigned long long)stalls);
}

static void count(struct sockaddr_in *own, double seconds) {
  static uint8_t bytes[BATCH][PAYLOAD_MAX + 1];
  struct mmsghdr messages[BATCH];
  struct iovec pieces[BATCH];
  uint8_t *seen = calloc(SEQUENCES / 8, 1); /* pages come when they are written */
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (seen == NULL || fd < 0 || bind(fd, (struct sockaddr *)own, sizeof *own) < 0) fail("bind");
  enlarge(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  struct timeval quiet = {.tv_sec = 2};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof quiet);
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizeof bytes[i]};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  printf("listening\n");
  fflush(stdout);

  uint64_t received = 0, duplicates = 0, reordered = 0, foreign = 0, octets = 0, sent = 0;
  uint64_t highest = 0; /* one above the highest sequence number so far */
  int64_t first = 0, last = 0, limit = now() + (int64_t)(seconds * 1e9);
  bool ended = false;
  while (!ended && now() < limit) {
    int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != EAGAIN) fail("recvmmsg");
    if (got < 0 && received > 0) break;
    for (int i = 0; i < got; i++) {
      struct header header;
      memcpy(&header, bytes[i], sizeof header);
      if (messages[i].msg_len < sizeof header || header.magic != MAGIC ||
          header.sequence >= SEQUENCES) {
        foreign++;
        continue;
      }
      if (header.done != 0) {
        ended = true;
        sent = header.sequence;
        continue;
      }
      uint8_t bit = (uint8_t)(1 << (header.sequence & 7));
      if (seen[header.sequence >> 3] & bit) {
        duplicates++;
        continue;
      }
      seen[header.sequence >> 3] |= bit;
      if (header.sequence < highest) reordered++;
      else highest = header.sequence + 1;
      received++;
      octets += messages[i].msg_len;
      last = now();
      if (first == 0) first = last;
    }
  }
  if (!ended) sent = highest;
  double took = (double)(last - first) / 1e9;
  printf("{\"ended\":%s,\"sent\":%llu,\"received\":%llu,\"lost\":%llu,\"reordered\":%llu,"
         "\"duplicates\":%llu,\"foreign\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"rate\":%.0f}\n",
         ended ? "true" : "false", (unsigned long long)sent, (unsigned long long)received,
         (unsigned long long)(sent - received), (unsigned long long)reordered,
         (unsigned long long)duplicates, (unsigned long long)foreign, (unsigned long long)octets,
         took, took > 0 ? (double)received / took : 0);
}

static _Noreturn void usage(void) {
  fprintf(stderr, "usage: udp-flood receive [--port 5301] [--seconds 30]\n"
                  "       udp-flood send --host ADDRESS [--port 5301] [--rate 100000] [--size 64] "
                  "[--seconds 5]\n");
  exit(2);
}

int main(int argc, char **argv) {
  struct sockaddr_in end = {.sin_family = AF_INET, .sin_port = htons(5301)};
  bool sends = argc > 1 && strcmp(argv[1], "send") == 0, host = false;
  double rate = 100000, seconds = sends ? 5 : 30;
  int size = 64;
  if (argc < 2 || (!sends && strcmp(argv[1], "receive") != 0) || argc % 2 != 0) usage();
  for (int i = 2; i < argc; i += 2) {
    const char *value = argv[i + 1];
    if (!strcmp(argv[i], "--host")) host = inet_pton(AF_INET, value, &end.sin_addr) == 1;
    else if (!strcmp(argv[i], "--port")) end.sin_port = htons((uint16_t)atoi(value));
    else if (!strcmp(argv[i], "--rate")) rate = atof(value);
    else if (!strcmp(argv[i], "--size")) size = atoi(value);
    else if (!strcmp(argv[i], "--seconds")) seconds = atof(value);
    else usage();
  }
  if (sends != host || rate < 1 || seconds <= 0) usage();
  if (size < (int)sizeof(struct header) || size > PAYLOAD_MAX) usage();
  if (rate * seconds >= (double)SEQUENCES) usage();
  if (sends) flood(&end, rate, size, seconds);
  else count(&end, seconds);
  return 0;
}
