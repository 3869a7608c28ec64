/* The number of this network namespace's nftables: the kernel raises it with each change to them.
 */
#include "weft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* linux/netfilter/nfnetlink.h and nf_tables.h, which older systems lack in part. */
#define SUBSYSTEM_NFTABLES 10
#define MESSAGE_NEWGEN 15
#define MESSAGE_GETGEN 16
#define ATTRIBUTE_GEN_ID 1

struct general {
  uint8_t family;
  uint8_t version;
  uint16_t resource;
};

/* The number out of an answer; 0 when it holds none, which the kernel never gives. */
static uint32_t number_in(const char *answer, size_t length) {
  size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct general));
  while (at + sizeof(struct nlattr) <= length) {
    struct nlattr attribute;
    memcpy(&attribute, answer + at, sizeof attribute);
    if (attribute.nla_len < sizeof(struct nlattr) || at + attribute.nla_len > length) return 0;
    if ((attribute.nla_type & NLA_TYPE_MASK) == ATTRIBUTE_GEN_ID &&
        attribute.nla_len >= sizeof(struct nlattr) + sizeof(uint32_t)) {
      uint32_t number;
      memcpy(&number, answer + at + sizeof(struct nlattr), sizeof number);
      return ntohl(number);
    }
    /* Each begins at a multiple of 4. */
    at += ((size_t)attribute.nla_len + 3) & ~(size_t)3;
  }
  return 0;
}

/*
 * rulesNumber(): it, from 1 up. Throws what the kernel says: EPERM without CAP_NET_ADMIN,
 * EPROTONOSUPPORT or EINVAL where it has no nftables. Its answer is there when the question was
 * taken, so nothing is waited for.
 */
napi_value rules_number(napi_env env, napi_callback_info info) {
  struct {
    struct nlmsghdr header;
    struct general general;
  } question;
  union {
    struct nlmsghdr header;
    char bytes[1024];
  } answer;
  napi_value number = NULL;
  (void)info;
  memset(&question, 0, sizeof question);
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SUBSYSTEM_NFTABLES << 8 | MESSAGE_GETGEN;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.header.nlmsg_seq = 1;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  if (fd < 0) return throw_errno(env, "socket", errno);
  ssize_t done = send(fd, &question, sizeof question, 0);
  if (done >= 0) done = recv(fd, &answer, sizeof answer, 0);
  int error = done < 0 ? errno : EPROTO;
  close(fd);
  if (done < (ssize_t)NLMSG_HDRLEN) return throw_errno(env, "netlink", error);
  if (answer.header.nlmsg_type == NLMSG_ERROR) {
    struct nlmsgerr refusal;
    if (done < (ssize_t)(NLMSG_HDRLEN + sizeof refusal)) return throw_errno(env, "netlink", EPROTO);
    memcpy(&refusal, answer.bytes + NLMSG_HDRLEN, sizeof refusal);
    return throw_errno(env, "netlink", refusal.error < 0 ? -refusal.error : EPROTO);
  }
  uint32_t found = answer.header.nlmsg_type == (SUBSYSTEM_NFTABLES << 8 | MESSAGE_NEWGEN)
                       ? number_in(answer.bytes, (size_t)done)
                       : 0;
  if (found == 0) return throw_errno(env, "netlink", EPROTO);
  napi_create_uint32(env, found, &number);
  return number;
}
