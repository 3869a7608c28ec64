/**
 * Explicit congestion notification through a tunnel (RFC 6040): the two low bits of the TOS
 * byte, what the outer header gets from the inner one on the way in, and the other way round
 * on the way out.
 */

export const NOT_ECT = 0;
export const ECT_1 = 1;
export const ECT_0 = 2;
export const CE = 3;

/** What `decapsulate` gives for a packet that must be dropped. */
export const DROP = -1;

const ECN_MASK = 0x03;

/**
 * The ECN bits of the outer header, out of the inner TOS byte. Normal mode (section 4.1): all
 * four codepoints are copied, CE included. (The kernel's VTEP writes ECT(0) for CE, as
 * RFC 3168 had it; a peer that decapsulates either way gets the same inner packet.)
 */
export function encapsulate(innerTos: number): number {
  return innerTos & ECN_MASK;
}

// Figure 4 of section 4.2; the codepoints stand in numerical order here.
// biome-ignore format: a table, one line an inner codepoint
const RESULT = new Int8Array([
  //        outer: NOT_ECT  ECT_1    ECT_0    CE
  /* NOT_ECT */    NOT_ECT, NOT_ECT, NOT_ECT, DROP,
  /* ECT_1   */    ECT_1,   ECT_1,   ECT_1,   CE,
  /* ECT_0   */    ECT_0,   ECT_1,   ECT_0,   CE,
  /* CE      */    CE,      CE,      CE,      CE,
]);

/**
 * The ECN bits the inner packet goes on with, both given as codepoints 0..3; DROP where the
 * network reports congestion to a sender that cannot hear it (outer CE on inner Not-ECT).
 */
export function decapsulate(inner: number, outer: number): number {
  return RESULT[(inner << 2) | outer]!;
}
