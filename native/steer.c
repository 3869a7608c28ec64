/*
 * Which lane a packet takes, decided in the kernel: one program on the TUN for what leaves, one on
 * the listening sockets for what comes. Both depend on the packet alone, so packets of a flow
 * never part and never overtake each other.
 */
#include "weft.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Newer than some C libraries' headers: linux/if_tun.h of 4.16, asm-generic/socket.h of 4.5. */
#ifndef TUNSETSTEERINGEBPF
#define TUNSETSTEERINGEBPF _IOR('T', 224, int)
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

/* eBPF, an instruction a line (linux/bpf.h). A load beyond the packet's end returns 0. */
/* clang-format off */
#define MOVE(to, from) {BPF_ALU64 | BPF_MOV | BPF_X, (to), (from), 0, 0}
#define ALU(operation, to, value) {BPF_ALU | (operation) | BPF_K, (to), 0, 0, (value)}
#define ALU_X(operation, to, from) {BPF_ALU | (operation) | BPF_X, (to), (from), 0, 0}
#define LOAD(size, at) {BPF_LD | BPF_ABS | (size), 0, 0, 0, (at)}
#define LOAD_BEHIND(size, from, at) {BPF_LD | BPF_IND | (size), 0, (from), 0, (at)}
#define JUMP(condition, what, value, over) {BPF_JMP | (condition) | BPF_K, (what), 0, (over), (value)}
#define RETURN {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}
/* clang-format on */

/*
 * Whether a filter of system calls ends whoever calls bpf, as systemd's SystemCallFilter= does: a
 * child tries it. Where none can be made, the answer is yes: one lane is better than none.
 */
static int bpf_kills(void) {
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0) return 0;
  pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    syscall(SYS_bpf, -1, NULL, 0);
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return 1;
  return WIFSIGNALED(status);
}

enum { R0, R1, R6 = 6, R7, R8 };

/*
 * tunSteer(fd, lanes): each packet goes to the queue of its hash modulo the lanes, and to none
 * behind those: the kernel's own modulo counts the queues that another process attached, too.
 * Throws what bpf or the TUN say, EPERM where bpf would end the process; RangeError for no lane.
 *
 * A hash of an IPv4 packet that is the same in both directions: of the addresses, and of the ports
 * where it is TCP and no fragment. All UDP between two addresses goes together, since a datagram's
 * fragments have no ports. The packet begins where a TUN's skb does: there is no link layer.
 */
napi_value tun_steer(napi_env env, napi_callback_info info) {
  int32_t a[2];
  if (!get_ints(env, info, 2, a)) return NULL;
  if (a[1] < 1) return throw_range(env, "the number of lanes");
  const struct bpf_insn outbound[] = {
      /* clang-format off */
      MOVE(R6, R1),                            /* the loads read the packet of R6 into R0 */
      LOAD(BPF_W, 12), MOVE(R8, R0),           /* source address */
      LOAD(BPF_W, 16), ALU_X(BPF_ADD, R8, R0), /* destination address: the sum, since the difference
                                                of hosts numbered alike in two subnets is the same */
      LOAD(BPF_B, 9), JUMP(BPF_JNE, R0, IPPROTO_TCP, 11),
      LOAD(BPF_H, 6), JUMP(BPF_JSET, R0, 0x3fff, 9), /* more fragments, or an offset */
      LOAD(BPF_B, 0), ALU(BPF_AND, R0, 0x0f), ALU(BPF_LSH, R0, 2), MOVE(R7, R0),
      ALU(BPF_MUL, R8, (int32_t)0x9e3779b1),
      LOAD_BEHIND(BPF_H, R7, 0), ALU_X(BPF_XOR, R8, R0), /* source port */
      LOAD_BEHIND(BPF_H, R7, 2), ALU_X(BPF_XOR, R8, R0), /* destination port */
      ALU(BPF_MUL, R8, (int32_t)0x85ebca6b), /* each bit counts in the upper half */
      MOVE(R0, R8), ALU(BPF_RSH, R0, 16), ALU(BPF_MOD, R0, a[1]),
      RETURN,
      /* clang-format on */
  };
  if (bpf_kills()) return throw_errno(env, "bpf", EPERM);
  union bpf_attr load;
  memset(&load, 0, sizeof load);
  load.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  load.insns = (uint64_t)(uintptr_t)outbound;
  load.insn_cnt = sizeof outbound / sizeof outbound[0];
  load.license = (uint64_t)(uintptr_t) "Apache-2.0";
  int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
  if (program < 0) return throw_errno(env, "bpf", errno);
  int done = ioctl(a[0], TUNSETSTEERINGEBPF, &program);
  int error = errno;
  close(program); /* the TUN holds it */
  if (done < 0) return throw_errno(env, "TUNSETSTEERINGEBPF", error);
  return NULL;
}

/*
 * udpSteer(fd, lanes): of the sockets that share this one's port, the one bound as number
 * (source port mod lanes) gets the datagram. Throws what the kernel says; RangeError for no lane.
 * The program sees the payload, and the headers at SKF_NET_OFF.
 */
napi_value udp_steer(napi_env env, napi_callback_info info) {
  int32_t a[2];
  if (!get_ints(env, info, 2, a)) return NULL;
  if (a[1] < 1) return throw_range(env, "the number of lanes");
  struct sock_filter inbound[] = {
      {BPF_LD | BPF_B | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF},
      {BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x0f},
      {BPF_ALU | BPF_LSH | BPF_K, 0, 0, 2},
      {BPF_MISC | BPF_TAX, 0, 0, 0},
      {BPF_LD | BPF_H | BPF_IND, 0, 0, (uint32_t)SKF_NET_OFF},
      {BPF_ALU | BPF_MOD | BPF_K, 0, 0, (uint32_t)a[1]},
      {BPF_RET | BPF_A, 0, 0, 0},
  };
  struct sock_fprog program = {sizeof inbound / sizeof inbound[0], inbound};
  if (setsockopt(a[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) < 0)
    return throw_errno(env, "SO_ATTACH_REUSEPORT_CBPF", errno);
  return NULL;
}
