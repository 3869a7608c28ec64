/* UDP sockets: set-up, and receiving and sending in batches. IPv4 and IPv6 alike. */
#define _GNU_SOURCE /* sendmmsg */
#include "weft.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Room for three control messages, more than either direction has. */
#define CONTROL_SIZE 128
/* What one sendmmsg may hold: messages, and iovecs of all of them together. */
#define SEND_BATCH 64
#define SEND_PARTS 4096

/* AF_INET or AF_INET6; AF_UNSPEC for anything that is not an IP address. Reads it once. */
static sa_family_t address_family(const void *address) {
  uint8_t bytes[sizeof(sa_family_t)]; /* `address` may lie at an odd place */
  sa_family_t family;
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = ((const volatile uint8_t *)address)[i];
  memcpy(&family, bytes, sizeof family);
  return family == AF_INET || family == AF_INET6 ? family : AF_UNSPEC;
}

static socklen_t address_length(sa_family_t family) {
  if (family == AF_INET) return sizeof(struct sockaddr_in);
  if (family == AF_INET6) return sizeof(struct sockaddr_in6);
  return 0;
}

/* udpOpen(family): fd of a non-blocking socket; family 4 or 6, EAFNOSUPPORT for any other. */
napi_value udp_open(napi_env env, napi_callback_info info) {
  int32_t a[1];
  if (!get_ints(env, info, 1, a)) return NULL;
  if (a[0] != 4 && a[0] != 6) return throw_errno(env, "socket", EAFNOSUPPORT);
  int family = a[0] == 6 ? AF_INET6 : AF_INET;
  int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
  if (fd < 0) return throw_errno(env, "socket", errno);
  return make_int(env, fd);
}

/* Reads (fd, address: 32-byte view) for bind, connect and name. */
static bool get_fd_and_address(napi_env env, napi_callback_info info, int32_t *fd, uint8_t **row) {
  napi_value values[2];
  size_t given = 2, length = 0;
  void *data = NULL;
  napi_typedarray_type type;
  napi_get_cb_info(env, info, &given, values, NULL, NULL);
  if (given < 2 || !is_int(env, values[0], fd) ||
      napi_get_typedarray_info(env, values[1], &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array || length < ADDRESS_ROW) {
    napi_throw_type_error(env, NULL, "wants a descriptor and a 32-byte Uint8Array");
    return false;
  }
  *row = data;
  return true;
}

/* udpBind(fd, address): throws EADDRINUSE, EADDRNOTAVAIL; EINVAL when it is no IP address. */
napi_value udp_bind(napi_env env, napi_callback_info info) {
  int32_t fd;
  uint8_t *row;
  if (!get_fd_and_address(env, info, &fd, &row)) return NULL;
  if (bind(fd, (struct sockaddr *)row, address_length(address_family(row))) < 0)
    return throw_errno(env, "bind", errno);
  return NULL;
}

/* udpConnect(fd, address): from now on messages may have the address index -1. */
napi_value udp_connect(napi_env env, napi_callback_info info) {
  int32_t fd;
  uint8_t *row;
  if (!get_fd_and_address(env, info, &fd, &row)) return NULL;
  if (connect(fd, (struct sockaddr *)row, address_length(address_family(row))) < 0)
    return throw_errno(env, "connect", errno);
  return NULL;
}

/* udpName(fd, out): writes the socket's own address into `out`. */
napi_value udp_name(napi_env env, napi_callback_info info) {
  int32_t fd;
  uint8_t *row;
  socklen_t length = ADDRESS_ROW;
  if (!get_fd_and_address(env, info, &fd, &row)) return NULL;
  if (getsockname(fd, (struct sockaddr *)row, &length) < 0)
    return throw_errno(env, "getsockname", errno);
  return NULL;
}

/*
 * udpBindDevice(fd, name): from now on this socket has the routes and the packets of that device,
 * a VRF's too. Throws ENAMETOOLONG over 15 bytes, EINVAL for no name, ENODEV, EPERM.
 */
napi_value udp_bind_device(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t given = 2, length = 0;
  int32_t fd = -1;
  char name[4 * IFNAMSIZ]; /* longer than any good name, so that none is cut to a good one */
  napi_get_cb_info(env, info, &given, arguments, NULL, NULL);
  if (given < 2 || !is_int(env, arguments[0], &fd) ||
      napi_get_value_string_utf8(env, arguments[1], name, sizeof name, &length) != napi_ok) {
    napi_throw_type_error(env, NULL, "udpBindDevice wants a descriptor and a name");
    return NULL;
  }
  if (length >= IFNAMSIZ) return throw_errno(env, "SO_BINDTODEVICE", ENAMETOOLONG);
  /* The kernel takes an empty name for no device at all. */
  if (length == 0 || strlen(name) != length) return throw_errno(env, "SO_BINDTODEVICE", EINVAL);
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)length + 1) < 0)
    return throw_errno(env, "SO_BINDTODEVICE", errno);
  return NULL;
}

/* udpDiscard(fd): nothing that arrives here is queued (a filter that keeps 0 bytes). */
napi_value udp_discard(napi_env env, napi_callback_info info) {
  int32_t a[1];
  if (!get_ints(env, info, 1, a)) return NULL;
  struct sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
  struct sock_fprog program = {1, &nothing};
  if (setsockopt(a[0], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
    return throw_errno(env, "SO_ATTACH_FILTER", errno);
  return NULL;
}

/* setOption(fd, level, name, value): 0 or -errno. */
napi_value set_option(napi_env env, napi_callback_info info) {
  int32_t a[4];
  if (!get_ints(env, info, 4, a)) return NULL;
  int value = a[3];
  int done = setsockopt(a[0], a[1], a[2], &value, sizeof value);
  return make_int(env, done < 0 ? -errno : 0);
}

/* getOption(fd, level, name): the value; throws. */
napi_value get_option(napi_env env, napi_callback_info info) {
  int32_t a[3];
  if (!get_ints(env, info, 3, a)) return NULL;
  int value = 0;
  socklen_t length = sizeof value;
  if (getsockopt(a[0], a[1], a[2], &value, &length) < 0)
    return throw_errno(env, "getsockopt", errno);
  return make_int(env, value);
}

/* The control messages of one datagram: the GRO segment size and the TOS or traffic class. */
static void read_control(struct msghdr *message, int32_t *segment, int32_t *tos) {
  *segment = 0;
  *tos = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      int value;
      memcpy(&value, CMSG_DATA(c), sizeof value);
      *segment = value;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      *tos = *CMSG_DATA(c);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      int value;
      memcpy(&value, CMSG_DATA(c), sizeof value);
      *tos = value & 0xff;
    }
  }
}

/*
 * udpReceive(fd, table, rows, area, areaEnd, headroom, addresses): rows filled, or -errno.
 * Row: {offset, length, GRO segment size or 0, address index, TOS}. The address table at
 * `addresses` has `rows` rows of 32 bytes; datagram i's sender is written into row i.
 * A datagram may be 64 KiB on a link of any MTU (UDP_GRO; or a veth peer's offloads).
 */
napi_value udp_receive(napi_env env, napi_callback_info info) {
  int32_t a[7];
  int32_t *table = NULL, *addresses = NULL;
  uint8_t *area = NULL;
  struct instance *self = instance_of(env);
  if (!get_ints(env, info, 7, a)) return NULL;
  const int32_t fd = a[0], rows = a[2], start = a[3], end = a[4], headroom = a[5];
  if (!get_table(env, self, "the table", a[1], rows, DATAGRAM_WORDS * sizeof(int32_t), &table))
    return NULL;
  if (!get_span(env, self, "the area", start, (int64_t)end - start, &area)) return NULL;
  if (!get_table(env, self, "the addresses", a[6], rows, ADDRESS_ROW, &addresses)) return NULL;
  if (headroom < 0 || headroom > PACKET_MAX) return throw_range(env, "the headroom");

  int64_t cursor = start;
  int32_t count = 0;
  while (count < rows) {
    int64_t place = place_after(cursor, headroom);
    if (place + PACKET_MAX > end) break;
    union {
      char bytes[CONTROL_SIZE];
      struct cmsghdr align;
    } control;
    struct iovec part = {self->base + place, PACKET_MAX};
    struct msghdr message = {
        .msg_name = (uint8_t *)addresses + (size_t)count * ADDRESS_ROW,
        .msg_namelen = ADDRESS_ROW,
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || count > 0) break;
      return make_int(env, -errno);
    }
    int32_t *row = table + DATAGRAM_WORDS * (size_t)count;
    row[DATAGRAM_OFFSET] = (int32_t)place;
    row[DATAGRAM_LENGTH] = (int32_t)got;
    row[DATAGRAM_ADDRESS] = count;
    read_control(&message, &row[DATAGRAM_SEGMENT], &row[DATAGRAM_TOS]);
    count++;
    cursor = place + got;
  }
  return make_int(env, count);
}

/* Appends one control message at `length`, its padding zero; returns the new length. */
static size_t add_control(char *control, size_t length, int level, int type, const void *value,
                          size_t size) {
  struct cmsghdr header = {.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
  memset(control + length, 0, CMSG_SPACE(size));
  memcpy(control + length, &header, sizeof header);
  memcpy(control + length + CMSG_LEN(0), value, size);
  return length + CMSG_SPACE(size);
}

/*
 * Writes the control messages that one outgoing message needs; returns their length. A
 * connected socket's family is not known here (AF_UNSPEC): it gets the TOS in both ways, and
 * each family passes over the other's.
 */
static size_t write_control(char *control, sa_family_t family, int32_t segment, int32_t tos) {
  size_t length = 0;
  if (segment > 0) {
    uint16_t size = (uint16_t)segment;
    length = add_control(control, length, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
  }
  if (tos != 0 && family != AF_INET6)
    length = add_control(control, length, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
  if (tos != 0 && family != AF_INET)
    length = add_control(control, length, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos);
  return length;
}

/*
 * udpSend(messages, rows, iovecs, iovecRows, addresses, addressRows): rows sent; fewer: see
 * lastError(), which belongs to the row of that number.
 * Row: {fd, address index or -1 for a connected socket, UDP_SEGMENT size or 0, TOS,
 * first iovec, count}. Rows of one fd that follow each other leave by one sendmmsg. A row
 * that throws is not sent, nor is any after it; rows before it may have been.
 */
napi_value udp_send(napi_env env, napi_callback_info info) {
  int32_t a[6];
  int32_t *messages = NULL, *iovecs = NULL, *addresses = NULL;
  struct instance *self = instance_of(env);
  if (!get_ints(env, info, 6, a)) return NULL;
  const int32_t rows = a[1], iovec_rows = a[3], address_rows = a[5];
  if (!get_table(env, self, "the messages", a[0], rows, MESSAGE_WORDS * sizeof(int32_t),
                 &messages) ||
      !get_table(env, self, "the iovecs", a[2], iovec_rows, IOVEC_WORDS * sizeof(int32_t),
                 &iovecs) ||
      !get_table(env, self, "the addresses", a[4], address_rows, ADDRESS_ROW, &addresses))
    return NULL;

  struct mmsghdr batch[SEND_BATCH];
  struct iovec parts[SEND_PARTS];
  union {
    char bytes[CONTROL_SIZE];
    struct cmsghdr align;
  } controls[SEND_BATCH];

  self->last_error = 0;
  int32_t done = 0;
  while (done < rows) {
    int32_t fd = -1, part_count = 0;
    unsigned int size = 0;
    while (size < SEND_BATCH && done + (int32_t)size < rows) {
      const volatile int32_t *row = messages + MESSAGE_WORDS * (size_t)(done + (int32_t)size);
      const int32_t row_fd = row[MESSAGE_FD], address = row[MESSAGE_ADDRESS],
                    segment = row[MESSAGE_SEGMENT], tos = row[MESSAGE_TOS],
                    first = row[MESSAGE_FIRST], count = row[MESSAGE_COUNT];
      if (size > 0 && row_fd != fd) break;
      if (count > IOV_MAX_PARTS) return throw_range(env, "a message's number of iovecs");
      if (count > SEND_PARTS - part_count) break;
      fd = row_fd;
      if (!fill_iovecs(env, self, iovecs, iovec_rows, first, count, parts + part_count))
        return NULL;
      if (segment < 0 || segment > PACKET_MAX) return throw_range(env, "a segment size");
      struct msghdr *header = &batch[size].msg_hdr;
      memset(header, 0, sizeof *header);
      if (address < -1 || address >= address_rows) return throw_range(env, "an address index");
      sa_family_t family = AF_UNSPEC;
      if (address >= 0) {
        uint8_t *name = (uint8_t *)addresses + (size_t)address * ADDRESS_ROW;
        family = address_family(name);
        if (family == AF_UNSPEC) return throw_range(env, "the family of an address");
        header->msg_name = name;
        header->msg_namelen = address_length(family);
      }
      header->msg_iov = parts + part_count;
      header->msg_iovlen = (size_t)count;
      header->msg_controllen = write_control(controls[size].bytes, family, segment, tos & 0xff);
      if (header->msg_controllen > 0) header->msg_control = controls[size].bytes;
      part_count += count;
      size++;
    }
    int sent = sendmmsg(fd, batch, size, MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      self->last_error = errno;
      break;
    }
    done += sent;
  }
  return make_int(env, done);
}
