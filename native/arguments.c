/* Arguments in, results and errors out: the only file that checks places in the memory. */
#include "weft.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

struct instance *instance_of(napi_env env) {
  void *data = NULL;
  if (napi_get_instance_data(env, &data) != napi_ok) return NULL;
  return data;
}

/* udpReceive and tunRead take seven. */
#define MOST_ARGUMENTS 10

bool is_int(napi_env env, napi_value value, int32_t *out) {
  /* Not napi_get_value_int32: that takes 1.5 for 1, NaN for 0 and 2^32 + 8 for 8. */
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= INT32_MIN) ||
      !(number <= INT32_MAX) || number != (double)(int32_t)number)
    return false;
  *out = (int32_t)number;
  return true;
}

bool get_ints(napi_env env, napi_callback_info info, size_t count, int32_t *out) {
  napi_value values[MOST_ARGUMENTS];
  size_t given = count;
  if (count > MOST_ARGUMENTS ||
      napi_get_cb_info(env, info, &given, values, NULL, NULL) != napi_ok || given < count) {
    napi_throw_type_error(env, NULL, "too few arguments");
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (!is_int(env, values[i], &out[i])) {
      napi_throw_type_error(env, NULL, "an argument is not an integer of 32 bits");
      return false;
    }
  }
  return true;
}

bool get_span(napi_env env, const struct instance *self, const char *what, int32_t at,
              int64_t length, uint8_t **out) {
  if (self == NULL || self->base == NULL) {
    napi_throw_type_error(env, NULL, "no memory is registered: call attach() first");
    return false;
  }
  if (at < 0 || length < 0 || at > (int64_t)self->size - length) {
    throw_range(env, what);
    return false;
  }
  *out = self->base + at;
  return true;
}

bool get_table(napi_env env, const struct instance *self, const char *what, int32_t at,
               int32_t rows, size_t row_size, int32_t **out) {
  uint8_t *place = NULL;
  if ((at & 3) != 0) {
    throw_range(env, what);
    return false;
  }
  if (!get_span(env, self, what, at, (int64_t)rows * (int64_t)row_size, &place)) return false;
  *out = (int32_t *)(void *)place;
  return true;
}

/* Each word is read once: another thread may write the memory between a check and a use. */
bool fill_iovecs(napi_env env, const struct instance *self, const int32_t *rows, int32_t row_count,
                 int32_t first, int32_t count, struct iovec *out) {
  if (first < 0 || count < 0 || count > row_count - first) {
    throw_range(env, "a message's iovecs");
    return false;
  }
  for (int32_t i = 0; i < count; i++) {
    const volatile int32_t *row = rows + IOVEC_WORDS * (size_t)(first + i);
    int32_t at = row[IOVEC_OFFSET];
    int32_t length = row[IOVEC_LENGTH];
    uint8_t *place = NULL;
    if (!get_span(env, self, "an iovec", at, length, &place)) return false;
    out[i].iov_base = place;
    out[i].iov_len = (size_t)length;
  }
  return true;
}

napi_value make_int(napi_env env, int32_t value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

napi_value throw_range(napi_env env, const char *what) {
  char text[120];
  snprintf(text, sizeof text, "%s is out of range", what);
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", text);
  return NULL;
}

napi_value throw_errno(napi_env env, const char *syscall, int error) {
  char text[160];
  napi_value code = NULL, message = NULL, exception = NULL, number = NULL, name = NULL;
  snprintf(text, sizeof text, "%s: %s (%s)", syscall, strerror(error), errno_name(error));
  napi_create_string_utf8(env, errno_name(error), NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message);
  napi_create_error(env, code, message, &exception);
  napi_create_int32(env, error, &number);
  napi_set_named_property(env, exception, "errno", number);
  napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &name);
  napi_set_named_property(env, exception, "syscall", name);
  napi_throw(env, exception);
  return NULL;
}

const char *errno_name(int error) {
#define NAME(n) \
  case n:       \
    return #n
  switch (error) {
    /* clang-format off */
    NAME(EPERM); NAME(ENOENT); NAME(EINTR); NAME(EIO); NAME(ENXIO); NAME(E2BIG);
    NAME(EBADF); NAME(EAGAIN); NAME(ENOMEM); NAME(EACCES); NAME(EFAULT); NAME(EBUSY);
    NAME(EEXIST); NAME(ENODEV); NAME(ENOTDIR); NAME(EISDIR); NAME(EINVAL); NAME(ENFILE);
    NAME(EMFILE); NAME(ENOTTY); NAME(ENOSPC); NAME(EROFS); NAME(EPIPE); NAME(ERANGE);
    NAME(EFBIG); NAME(EDQUOT); NAME(ESTALE); NAME(ENAMETOOLONG); NAME(ENOSYS); NAME(EBADFD); NAME(EPROTO); NAME(EOVERFLOW);
    NAME(ENOTSOCK); NAME(EDESTADDRREQ); NAME(EMSGSIZE); NAME(EPROTOTYPE);
    NAME(ENOPROTOOPT); NAME(EPROTONOSUPPORT); NAME(EOPNOTSUPP); NAME(EAFNOSUPPORT);
    NAME(EADDRINUSE); NAME(EADDRNOTAVAIL); NAME(ENETDOWN); NAME(ENETUNREACH);
    NAME(ECONNABORTED); NAME(ECONNRESET); NAME(ENOBUFS); NAME(EISCONN); NAME(ENOTCONN);
    NAME(ETIMEDOUT); NAME(ECONNREFUSED); NAME(EHOSTDOWN); NAME(EHOSTUNREACH);
    NAME(EALREADY); NAME(EINPROGRESS); NAME(ENOTUNIQ); NAME(ECANCELED);
      /* clang-format on */
    default:
      return "UNKNOWN";
  }
#undef NAME
}
