/**
 * etcd's keys as text, and back. They are bytes: one that is no UTF-8 has a half of a surrogate pair,
 * U+DC80 to U+DCFF, for each byte beyond ASCII. No UTF-8 has any of them, so that two keys are never one.
 */
const HALVES = 0xdc00;

export function keyText(key: Buffer): string {
  const text = key.toString();
  // Mostly there is nothing that could not be read.
  if (!text.includes('\ufffd') || Buffer.from(text).equals(key)) return text;
  return Array.from(key, (byte) => String.fromCharCode(byte < 128 ? byte : HALVES + byte)).join('');
}

export function keyBytes(text: string): Buffer {
  // With the flag a pair is one character, and none of these.
  if (!/[\udc80-\udcff]/u.test(text)) return Buffer.from(text);
  return Buffer.from(Array.from(text, (one) => one.charCodeAt(0) & 0xff));
}
