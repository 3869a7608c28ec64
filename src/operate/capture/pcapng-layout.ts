/**
 * The pcapng format (draft-ietf-opsawg-pcapng): blocks one after the other,
 *
 *   type 4, length 4, body, length 4 again                    the length counts all of these
 *
 * in the byte order that the Section Header Block before them tells. A section has interfaces of
 * its own, each with its link type, snap length and resolution of time. Bodies:
 *
 *   Section Header    byte order 4, major 2, minor 2, section length 8, options
 *   Interface         link type 2, reserved 2, snap length 4, options
 *   Enhanced Packet   interface 4, time 4 + 4, captured length 4, original length 4, data, options
 *   Packet (old)      interface 2, drops 2, and on as above
 *   Simple Packet     original length 4, data
 *   Statistics        interface 4, time 4 + 4, options
 *
 * An option is code 2, length 2, value; value and data are filled up to a whole word of 4 bytes.
 */

/** Block types. */
export const SECTION_HEADER = 0x0a0d0d0a;
export const INTERFACE = 1;
export const PACKET = 2;
export const SIMPLE_PACKET = 3;
export const STATISTICS = 5;
export const ENHANCED_PACKET = 6;

/** The first word of a section's body, in its byte order. */
export const BYTE_ORDER = 0x1a2b3c4d;

/** Type and length; and the length again. */
export const BLOCK_HEADER = 8;
export const BLOCK_TRAILER = 4;
export const BLOCK_LEAST = BLOCK_HEADER + BLOCK_TRAILER;

/** Option codes; the first two mean the same in every block. */
export const OPTION = {
  end: 0,
  comment: 1,
  /** Enhanced Packet Block. */
  flags: 2,
  /** Interface Description Block. */
  name: 2,
  timeResolution: 9,
  timeOffset: 14,
  /** Section Header Block. */
  application: 4,
  /** Interface Statistics Block, eight bytes each: packets received, and not captured. */
  received: 4,
  dropped: 5,
} as const;

/** The low two bits of an Enhanced Packet Block's flags. */
export const DIRECTION = { unknown: 0, inbound: 1, outbound: 2 } as const;

/** A length up to a whole word. */
export function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
