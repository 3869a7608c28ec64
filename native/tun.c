/* The TUN device (drivers/net/tun.c): one read or write is one packet, so a batch is a loop. */
#include "weft.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum { VNET_KEPT = (PACKET_WORDS - PACKET_VNET) * (int)sizeof(int32_t) };

/*
 * tunOpen(name, flags): fd. Throws ENAMETOOLONG over 15 bytes; ENOENT or ENODEV without
 * /dev/net/tun; EPERM; EINVAL when the name is no device name, or belongs to a device that is
 * no TUN, or to a TUN with other flags; EBUSY when the TUN has a reader, or, with
 * TUN_EXCLUSIVE, when there is a device of that name at all. The TUN is the caller's: other users
 * need CAP_NET_ADMIN to open it.
 */
napi_value tun_open(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t given = 2;
  char name[4 * IFNAMSIZ]; /* longer than any good name, so that none is cut to a good one */
  size_t length = 0;
  int32_t wanted = 0;
  napi_get_cb_info(env, info, &given, arguments, NULL, NULL);
  if (given < 2 ||
      napi_get_value_string_utf8(env, arguments[0], name, sizeof name, &length) != napi_ok ||
      !is_int(env, arguments[1], &wanted)) {
    napi_throw_type_error(env, NULL, "tunOpen wants a name and flags");
    return NULL;
  }
  if (length >= IFNAMSIZ) return throw_errno(env, "TUNSETIFF", ENAMETOOLONG);
  /* An empty name, or one with % in it, would ask the kernel for a name of its choice. */
  if (length == 0 || strlen(name) != length || strchr(name, '%') != NULL)
    return throw_errno(env, "TUNSETIFF", EINVAL);

  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return throw_errno(env, "open /dev/net/tun", errno);
  struct ifreq request;
  memset(&request, 0, sizeof request);
  memcpy(request.ifr_name, name, length);
  int flags = IFF_TUN | IFF_NO_PI;
  if (wanted & TUN_VNET_HEADER) flags |= IFF_VNET_HDR;
  if (wanted & TUN_MULTI_QUEUE) flags |= IFF_MULTI_QUEUE;
  if (wanted & TUN_EXCLUSIVE) flags |= IFF_TUN_EXCL;
  request.ifr_flags = (short)flags;
  if (ioctl(fd, TUNSETIFF, &request) < 0) {
    int error = errno;
    close(fd);
    return throw_errno(env, "TUNSETIFF", error);
  }
  /* Without an owner, older kernels let any user open a further queue and have a share of the
   * flows. */
  if (ioctl(fd, TUNSETOWNER, (unsigned long)geteuid()) < 0) {
    int error = errno;
    close(fd);
    return throw_errno(env, "TUNSETOWNER", error);
  }
  return make_int(env, fd);
}

/* tunOffload(fd, bits): 0 or -errno (EINVAL: this kernel lacks one of them). */
napi_value tun_offload(napi_env env, napi_callback_info info) {
  int32_t a[2];
  if (!get_ints(env, info, 2, a)) return NULL;
  int done = ioctl(a[0], TUNSETOFFLOAD, (unsigned long)(uint32_t)a[1]);
  return make_int(env, done < 0 ? -errno : 0);
}

/*
 * tunRead(fd, table, rows, area, areaEnd, headroom, vnet, first, size, gap): rows filled, or
 * -errno. Row: {offset, length, gap} of the packet, and the first 12 bytes of its vnet header, for
 * whoever comes when that was written over; it (`vnet` bytes) lies just before the packet. Each
 * packet begins on a line of 64 bytes plus `headroom`; the area bounds the batch, since a read
 * starts only where the longest packet still fits.
 *
 * With a `size`, what goes beyond the packet's first `first` bytes is scattered: every further
 * `size` bytes have `gap` free bytes before them, and the row's gap says so; it is 0 for a
 * packet that lies in one piece. RangeError for more pieces than 1024.
 */
napi_value tun_read(napi_env env, napi_callback_info info) {
  int32_t a[10];
  int32_t *table = NULL;
  uint8_t *area = NULL;
  struct iovec parts[IOV_MAX_PARTS];
  struct instance *self = instance_of(env);
  if (!get_ints(env, info, 10, a)) return NULL;
  const int32_t fd = a[0], rows = a[2], start = a[3], end = a[4], headroom = a[5], vnet = a[6];
  const int32_t first = a[7], size = a[8], gap = a[9];
  if (!get_table(env, self, "the table", a[1], rows, PACKET_WORDS * sizeof(int32_t), &table))
    return NULL;
  if (!get_span(env, self, "the area", start, (int64_t)end - start, &area)) return NULL;
  if (vnet < 0 || vnet > headroom || headroom > PACKET_MAX) return throw_range(env, "the headroom");
  if (size < 0 || size > PACKET_MAX || first < 0 || first > PACKET_MAX || gap < 0 ||
      gap > PACKET_MAX)
    return throw_range(env, "the pieces");
  const int32_t pieces = size > 0 ? (PACKET_MAX - first + size - 1) / size : 0;
  if (pieces >= IOV_MAX_PARTS) return throw_range(env, "the number of pieces");
  const int64_t longest = PACKET_MAX + (int64_t)pieces * (gap + 1);

  int64_t cursor = start;
  int32_t count = 0;
  while (count < rows) {
    int64_t packet = place_after(cursor, headroom);
    if (packet + longest > end) break;
    uint8_t *at = self->base + packet - vnet;
    ssize_t got;
    if (size == 0) {
      got = read(fd, at, (size_t)vnet + PACKET_MAX);
    } else {
      parts[0] = (struct iovec){at, (size_t)vnet + (size_t)first};
      at += vnet + first + gap;
      for (int32_t i = 1; i <= pieces; i++, at += size + gap)
        parts[i] = (struct iovec){at, (size_t)size};
      got = readv(fd, parts, pieces + 1);
    }
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || count > 0) break;
      return make_int(env, -errno);
    }
    int32_t length = got > vnet ? (int32_t)(got - vnet) : 0;
    int32_t *row = table + PACKET_WORDS * (size_t)count;
    row[PACKET_OFFSET] = (int32_t)packet;
    row[PACKET_LENGTH] = length;
    bool scattered = size > 0 && length > first;
    row[PACKET_GAP] = scattered ? gap : 0;
    memset(row + PACKET_VNET, 0, VNET_KEPT);
    memmove(row + PACKET_VNET, self->base + packet - vnet,
            (size_t)(vnet < VNET_KEPT ? vnet : VNET_KEPT));
    count++;
    cursor = packet + length;
    if (scattered) cursor += (int64_t)((length - first + size - 1) / size) * gap;
  }
  return make_int(env, count);
}

/*
 * tunWrite(fd, table, rows, iovecs, iovecRows): rows written; fewer: see lastError().
 * Row: {first iovec, count}; the first iovec begins with the vnet header, if the TUN has one.
 */
napi_value tun_write(napi_env env, napi_callback_info info) {
  int32_t a[5];
  int32_t *table = NULL, *iovecs = NULL;
  struct iovec parts[IOV_MAX_PARTS];
  struct instance *self = instance_of(env);
  if (!get_ints(env, info, 5, a)) return NULL;
  const int32_t fd = a[0], rows = a[2], iovec_rows = a[4];
  if (!get_table(env, self, "the table", a[1], rows, WRITE_WORDS * sizeof(int32_t), &table))
    return NULL;
  if (!get_table(env, self, "the iovecs", a[3], iovec_rows, IOVEC_WORDS * sizeof(int32_t), &iovecs))
    return NULL;

  self->last_error = 0;
  int32_t done = 0;
  while (done < rows) {
    const volatile int32_t *row = table + WRITE_WORDS * (size_t)done;
    int32_t first = row[WRITE_FIRST], count = row[WRITE_COUNT];
    if (count > IOV_MAX_PARTS) return throw_range(env, "a packet's number of iovecs");
    if (!fill_iovecs(env, self, iovecs, iovec_rows, first, count, parts)) return NULL;
    if (writev(fd, parts, count) < 0) {
      if (errno == EINTR) continue;
      self->last_error = errno;
      break;
    }
    done++;
  }
  return make_int(env, done);
}
