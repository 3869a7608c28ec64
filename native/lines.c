/*
 * Lines for a descriptor that may stand still for ever (a terminal stopped by Ctrl-S, a pipe that
 * nobody reads, a file server that is away): a thread of their own writes them, so nobody waits for
 * it, and the process ends without it. One for the process.
 */
#include "weft.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* What may wait to be written, in bytes; and the longest line. */
#define WAITING_MAX (256 * 1024)
#define LINE_MAX_BYTES (64 * 1024)

struct line {
  struct line *next;
  size_t length;
  int32_t carries;
  char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
/* Made by linesOpen: it waits by a clock that nobody sets. */
static pthread_cond_t done;
static struct line *first, **end = &first;
static size_t waiting; /* bytes, those that are being written too */
static int output = -1;
static int32_t lost, lost_carried, last_error;

/* 0 or an errno; `length` becomes what was not written. */
static int put(const char *text, size_t *length) {
  while (*length > 0) {
    ssize_t wrote = write(output, text, *length);
    if (wrote > 0) {
      text += wrote;
      *length -= (size_t)wrote;
    } else if (wrote < 0 && errno == EAGAIN) {
      /* Another process made the open file non-blocking. */
      struct pollfd row = {.fd = output, .events = POLLOUT};
      poll(&row, 1, -1);
    } else if (wrote == 0 || errno != EINTR) {
      return wrote == 0 ? EIO : errno;
    }
  }
  return 0;
}

static void *write_lines(void *unused) {
  bool torn = false; /* half a line stands at the end of what was written */
  (void)unused;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (first == NULL) pthread_cond_wait(&more, &lock);
    struct line *line = first;
    pthread_mutex_unlock(&lock);
    size_t left = line->length, one = 1;
    int error = torn ? put("\n", &one) : 0;
    if (error == 0) {
      error = put(line->text, &left);
      torn = left > 0 && left < line->length;
    }
    pthread_mutex_lock(&lock);
    if (error != 0) {
      lost += line->carries >= 0;
      lost_carried += abs(line->carries);
      last_error = error;
    }
    first = line->next;
    if (first == NULL) end = &first;
    waiting -= line->length;
    free(line);
    if (first == NULL) pthread_cond_broadcast(&done);
  }
  return NULL;
}

/* linesOpen(fd): starts the thread; a second call throws EBUSY. */
napi_value lines_open(napi_env env, napi_callback_info info) {
  int32_t a[1];
  sigset_t all, before;
  pthread_t thread;
  pthread_condattr_t steady;
  if (!get_ints(env, info, 1, a)) return NULL;
  if (output >= 0) return throw_errno(env, "linesOpen", EBUSY);
  output = a[0];
  pthread_condattr_init(&steady);
  pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
  pthread_cond_init(&done, &steady);
  pthread_condattr_destroy(&steady);
  /* No signal is for it; and a terminal with `tostop` stops nobody who holds SIGTTOU back. */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread, NULL, write_lines, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    output = -1;
    return throw_errno(env, "pthread_create", error);
  }
  pthread_detach(thread);
  return NULL;
}

/*
 * linesWrite(text, carries): whether it was taken: not when too much waits to be written.
 * `carries`: what is added to the second number of linesLost if it cannot be written. Below 0: its
 * absolute value is, and the line itself does not count as a lost one.
 */
napi_value lines_write(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  size_t given = 2, length = 0;
  int32_t carries = 0;
  struct line *line = NULL;
  napi_get_cb_info(env, info, &given, arguments, NULL, NULL);
  if (given < 2 || !is_int(env, arguments[1], &carries) ||
      napi_get_value_string_utf8(env, arguments[0], NULL, 0, &length) != napi_ok) {
    napi_throw_type_error(env, NULL, "linesWrite wants a text and a number");
    return NULL;
  }
  if (length <= LINE_MAX_BYTES) line = malloc(sizeof *line + length + 1);
  if (line != NULL) {
    line->next = NULL;
    line->carries = carries;
    napi_get_value_string_utf8(env, arguments[0], line->text, length + 1, &line->length);
    pthread_mutex_lock(&lock);
    bool taken = output >= 0 && waiting + line->length <= WAITING_MAX;
    if (taken) {
      *end = line;
      end = &line->next;
      waiting += line->length;
      pthread_cond_signal(&more);
    }
    pthread_mutex_unlock(&lock);
    if (!taken) {
      free(line);
      line = NULL;
    }
  }
  napi_get_boolean(env, line != NULL, &result);
  return result;
}

/* linesLost(): [lines that could not be written, what they carried, the last errno or 0]. */
napi_value lines_lost(napi_env env, napi_callback_info info) {
  napi_value result = NULL;
  (void)info;
  pthread_mutex_lock(&lock);
  int32_t numbers[] = {lost, lost_carried, last_error};
  pthread_mutex_unlock(&lock);
  napi_create_array_with_length(env, 3, &result);
  for (uint32_t i = 0; i < 3; i++) napi_set_element(env, result, i, make_int(env, numbers[i]));
  return result;
}

/* linesFlush(milliseconds): waits so long at most; whether all is written, or lost. */
napi_value lines_flush(napi_env env, napi_callback_info info) {
  int32_t a[1];
  napi_value result = NULL;
  struct timespec until;
  if (!get_ints(env, info, 1, a)) return NULL;
  if (a[0] < 0) return throw_range(env, "the time");
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += a[0] / 1000;
  until.tv_nsec += (long)(a[0] % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec += 1;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&lock);
  int error = 0;
  while (first != NULL && error == 0) error = pthread_cond_timedwait(&done, &lock, &until);
  napi_get_boolean(env, first == NULL, &result);
  pthread_mutex_unlock(&lock);
  return result;
}
