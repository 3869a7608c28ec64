/**
 * What proves to etcd who weft is, and to weft that it is etcd. It is read again at every new
 * connection, since certificates and passwords are replaced while weft runs. What cannot be used
 * (half written, a key of another certificate) leaves what was read before in force.
 */
import type { Log } from '../runtime.js';
import type { Credentials } from './dial.js';
import { type Certificate, messageOf } from './store.js';

export interface Access {
  /** For https. */
  readonly credentials?: Credentials;
  /** The operator's own among them. */
  readonly certificates?: readonly Certificate[];
  readonly auth?: { readonly username: string; readonly password: string };
}

export class CurrentAccess {
  readonly #read: () => Access;
  readonly #log: Log;
  #good: Access | undefined;
  #said = '';

  /** @param read throws an Error that names the file and says what is wrong with it */
  constructor(read: () => Access, log: Log) {
    this.#read = read;
    this.#log = log;
  }

  /** What is there now, or what was last good; throws when nothing ever was. */
  get(): Access {
    try {
      this.#good = this.#read();
    } catch (error) {
      if (this.#good === undefined) throw error;
      this.#say(messageOf(error));
      return this.#good;
    }
    if (this.#said !== '') this.#log.info('what etcd is accessed with can be used again');
    this.#said = '';
    return this.#good;
  }

  /** In the files just now, or as they were last good. */
  get certificates(): readonly Certificate[] {
    try {
      return this.#read().certificates ?? [];
    } catch {
      return this.#good?.certificates ?? [];
    }
  }

  /** Says at once whether what is there now can be used. */
  refresh(): void {
    if (this.#good !== undefined) this.get();
  }

  #say(problem: string): void {
    if (this.#said === problem) return;
    this.#said = problem;
    this.#log.warn(
      `${problem}; going on with what was read before: mend the file, then it is taken at the ` +
        'next connection to etcd, or at once after SIGHUP',
    );
  }
}
