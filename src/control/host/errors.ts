/**
 * Something about this host that an operator has to know. The message is a whole sentence: what
 * happened, to which thing, and what to do about it, where `cure` does not say that.
 */
export class HostError extends Error {
  /** Stable and short, for tests and for `status`; an errno name where there is one. */
  readonly code: string;
  /** What to type, or else to do, for what tells it apart from the message; else empty. */
  readonly cure: string;

  constructor(code: string, message: string, cure = '') {
    super(message);
    this.name = 'HostError';
    this.code = code;
    this.cure = cure;
  }
}

/** The errno name of a failed system call (`ENOENT`), or an empty string for any other error. */
export function errnoOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    return error.code;
  }
  return '';
}

/** The text of whatever was thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
