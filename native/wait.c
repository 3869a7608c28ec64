/* Waiting: poll over a few descriptors, and the eventfd that wakes a lane. */
#include "weft.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* More than a lane has descriptors: its TUN, its sockets, its wake-up event. */
#define WAIT_MAX 64

/* eventOpen(): fd. */
napi_value event_open(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return throw_errno(env, "eventfd", errno);
  return make_int(env, fd);
}

/* eventSignal(fd): wakes whoever waits on it. 0 or -errno. */
napi_value event_signal(napi_env env, napi_callback_info info) {
  int32_t a[1];
  if (!get_ints(env, info, 1, a)) return NULL;
  uint64_t one = 1;
  ssize_t done = write(a[0], &one, sizeof one);
  return make_int(env, done < 0 && errno != EAGAIN ? -errno : 0);
}

/* eventDrain(fd): forgets the signals so far. 0 or -errno. */
napi_value event_drain(napi_env env, napi_callback_info info) {
  int32_t a[1];
  if (!get_ints(env, info, 1, a)) return NULL;
  uint64_t count;
  ssize_t done = read(a[0], &count, sizeof count);
  return make_int(env, done < 0 && errno != EAGAIN ? -errno : 0);
}

/*
 * wait(table, rows, milliseconds): rows that are ready, or -errno (EINTR: look around and
 * come again). Row: struct pollfd, so {fd, events | revents << 16}; a negative fd is passed
 * over. At most 64 rows. Never waits for ever: a negative time throws.
 */
napi_value wait_ready(napi_env env, napi_callback_info info) {
  int32_t a[3];
  int32_t *table = NULL;
  struct instance *self = instance_of(env);
  struct pollfd rows[WAIT_MAX];
  if (!get_ints(env, info, 3, a)) return NULL;
  if (a[1] < 0 || a[1] > WAIT_MAX) return throw_range(env, "the number of descriptors");
  if (a[2] < 0) return throw_range(env, "the time");
  if (!get_table(env, self, "the table", a[0], a[1], sizeof(struct pollfd), &table)) return NULL;
  for (int32_t i = 0; i < a[1]; i++) {
    rows[i].fd = table[2 * i];
    rows[i].events = (short)(table[2 * i + 1] & 0xffff);
    rows[i].revents = 0;
  }
  int ready = poll(rows, (nfds_t)a[1], a[2]);
  if (ready < 0) return make_int(env, -errno);
  for (int32_t i = 0; i < a[1]; i++)
    table[2 * i + 1] =
        (int32_t)((uint32_t)(uint16_t)rows[i].events | ((uint32_t)(uint16_t)rows[i].revents << 16));
  return make_int(env, ready);
}

/* close(fd): 0 or -errno. */
napi_value close_fd(napi_env env, napi_callback_info info) {
  int32_t a[1];
  if (!get_ints(env, info, 1, a)) return NULL;
  return make_int(env, close(a[0]) < 0 ? -errno : 0);
}
