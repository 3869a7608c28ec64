/* What nftables tells of its rules in one message, where its program would be started and read. */
#include "weft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The answer is 60 bytes long; an error has the question behind it. */
#define ANSWER_MAX 256

/* The generation that the answer holds, or -errno. Its lengths are the kernel's, and checked all
 * the same. */
static int64_t generation_in(const uint8_t *answer, size_t length) {
  struct nlmsghdr head;
  if (length < NLMSG_HDRLEN) return -EPROTO;
  memcpy(&head, answer, sizeof head);
  if (head.nlmsg_len < NLMSG_HDRLEN || head.nlmsg_len > length) return -EPROTO;
  length = head.nlmsg_len;
  if (head.nlmsg_type == NLMSG_ERROR) {
    int32_t error;
    if (length < NLMSG_HDRLEN + sizeof error) return -EPROTO;
    memcpy(&error, answer + NLMSG_HDRLEN, sizeof error);
    return error < 0 && error > -4096 ? error : -EPROTO;
  }
  if (head.nlmsg_type != ((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWGEN)) return -EPROTO;
  struct nlattr attribute;
  for (size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
       at + sizeof attribute <= length;) {
    memcpy(&attribute, answer + at, sizeof attribute);
    if (attribute.nla_len < sizeof attribute || attribute.nla_len > length - at) return -EPROTO;
    if ((attribute.nla_type & NLA_TYPE_MASK) == NFTA_GEN_ID) {
      uint32_t generation;
      if (attribute.nla_len < sizeof attribute + sizeof generation) return -EPROTO;
      memcpy(&generation, answer + at + sizeof attribute, sizeof generation);
      return ntohl(generation);
    }
    at += (size_t)NLA_ALIGN(attribute.nla_len);
  }
  return -EPROTO;
}

/*
 * nftGeneration(): the number that nftables gives this network namespace's rules, those of
 * iptables-nft among them, another with each change (NFT_MSG_GETGEN,
 * net/netfilter/nf_tables_api.c). Throws what the kernel says: EPERM without CAP_NET_ADMIN, EINVAL
 * or EOPNOTSUPP where it has no nftables, EAFNOSUPPORT where netlink is forbidden.
 */
napi_value nft_generation(napi_env env, napi_callback_info info) {
  (void)info;
  struct {
    struct nlmsghdr head;
    struct nfgenmsg body;
  } question;
  uint8_t answer[ANSWER_MAX];
  napi_value result = NULL;
  memset(&question, 0, sizeof question);
  question.head.nlmsg_len = sizeof question;
  question.head.nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN;
  question.head.nlmsg_flags = NLM_F_REQUEST;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  if (fd < 0) return throw_errno(env, "socket", errno);
  /* What has no address goes to the kernel, which answers meanwhile. */
  ssize_t done = send(fd, &question, sizeof question, 0);
  const char *call = done < 0 ? "send" : "recv";
  if (done >= 0) done = recv(fd, answer, sizeof answer, 0);
  int error = errno;
  close(fd);
  if (done < 0) return throw_errno(env, call, error);
  int64_t generation = generation_in(answer, (size_t)done);
  if (generation < 0) return throw_errno(env, "NFT_MSG_GETGEN", (int)-generation);
  napi_create_int64(env, generation, &result);
  return result;
}
