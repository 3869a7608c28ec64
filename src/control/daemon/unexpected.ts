/** How an error is told that nobody expected: one line for the operator, the stack on request. */

/** `again` is how to see the stack. */
export function describeUnexpected(error: unknown, again: string): string {
  const [first = ''] = String(error).split('\n');
  // Its modules are files, too.
  if (/\bEMFILE\b/.test(first)) {
    return `${first}; allow more: LimitNOFILE=65536 in a unit, ulimit -n in a script`;
  }
  return (
    `unexpected error: ${first}; this is a fault in weft: please report it, with the stack ` +
    `that ${again} shows`
  );
}

/** The stack, line by line; empty when there is none. */
export function stackOf(error: unknown): string[] {
  return error instanceof Error
    ? (error.stack ?? '').split('\n').filter((line) => line !== '')
    : [];
}
