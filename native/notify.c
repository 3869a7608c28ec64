/* One datagram to a unix socket, as sd_notify(3) speaks to systemd: Node has none of its own. */
#include "weft.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* More than any notification says. */
#define TEXT_MAX 4096

/*
 * notify(path, text): sends the text and does not wait. A path that begins with @ is in the
 * abstract name space. Throws EINVAL for a path that is none, ENAMETOOLONG for one over 107
 * bytes, EMSGSIZE for a text over 4 KiB, and what the kernel says (EAGAIN: its queue is full).
 */
napi_value notify(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t given = 2, path_length = 0, text_length = 0;
  struct sockaddr_un to;
  /* Longer than any good one, so that none is cut to a good one. */
  char path[sizeof to.sun_path + 4];
  char text[TEXT_MAX + 8];
  napi_get_cb_info(env, info, &given, arguments, NULL, NULL);
  if (given < 2 ||
      napi_get_value_string_utf8(env, arguments[0], path, sizeof path, &path_length) != napi_ok ||
      napi_get_value_string_utf8(env, arguments[1], text, sizeof text, &text_length) != napi_ok) {
    napi_throw_type_error(env, NULL, "notify wants a path and a text");
    return NULL;
  }
  if ((path[0] != '/' && path[0] != '@') || path_length < 2 || strlen(path) != path_length)
    return throw_errno(env, "notify", EINVAL);
  if (path_length >= sizeof to.sun_path) return throw_errno(env, "notify", ENAMETOOLONG);
  if (text_length > TEXT_MAX) return throw_errno(env, "notify", EMSGSIZE);

  memset(&to, 0, sizeof to);
  to.sun_family = AF_UNIX;
  memcpy(to.sun_path, path, path_length);
  if (path[0] == '@') to.sun_path[0] = 0;
  /* An abstract name is as long as it is said to be; a path ends with its zero. */
  socklen_t length =
      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_length + (path[0] == '/'));
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return throw_errno(env, "socket", errno);
  ssize_t sent = sendto(fd, text, text_length, MSG_NOSIGNAL, (struct sockaddr *)&to, length);
  int error = errno;
  close(fd);
  if (sent < 0) return throw_errno(env, "sendto", error);
  return make_int(env, (int32_t)sent);
}
