/*
 * The internet checksum (RFC 1071) over payload, 32 bytes a step. Written with GCC's vector
 * types, so that each processor gets its own instructions and the text stays plain C.
 */
#include "wire.h"

typedef uint32_t words8 __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint32_t lanes8 __attribute__((vector_size(32)));

#if defined(__x86_64__)
__attribute__((target_clones("avx2", "default")))
#endif
uint32_t
sum_bytes(const void *from, size_t length) {
  const uint8_t *at = from;
  /* A lane adds two numbers below 2^16 a step: 64 KiB in 2048 steps stay below 2^28. */
  lanes8 low0 = {0}, high0 = {0}, low1 = {0}, high1 = {0};
  for (; length >= 64; length -= 64, at += 64) {
    lanes8 a = *(const words8 *)at, b = *(const words8 *)(at + 32);
    low0 += a & 0xffff;
    high0 += a >> 16;
    low1 += b & 0xffff;
    high1 += b >> 16;
  }
  lanes8 lanes = (low0 + high0) + (low1 + high1);
  uint64_t sum = 0;
  for (int i = 0; i < 8; i++) sum += lanes[i];
  for (; length >= 4; length -= 4, at += 4) {
    uint32_t word;
    memcpy(&word, at, 4);
    sum += word;
  }
  if (length > 0) {
    uint32_t word = 0;
    memcpy(&word, at, length);
    sum += word;
  }
  sum = (sum & 0xffffffff) + (sum >> 32);
  return (uint32_t)((sum & 0xffffffff) + (sum >> 32));
}
