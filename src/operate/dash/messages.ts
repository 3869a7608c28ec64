/** What `weft dash` and the process that serves its page say to each other. */
import type { Answer } from '../status/status.js';

/** To the server: once, then every two seconds. */
export type ToServer =
  | {
      readonly kind: 'begin';
      readonly port: number;
      /** Whoever knows it may look. */
      readonly token: string;
      /** User and group that it becomes; null: as it is. */
      readonly become: number | null;
      /** By path, what it serves beside the events. */
      readonly files: Readonly<Record<string, ServedFile>>;
    }
  /** A text: why there is no answer. `time`: seconds since 1970. */
  | { readonly kind: 'answer'; readonly answer: Answer | string; readonly time: number };

export interface ServedFile {
  readonly type: string;
  readonly text: string;
}

export type FromServer =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };
