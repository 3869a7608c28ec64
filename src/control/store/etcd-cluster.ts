/**
 * Which cluster was joined, and whether an endpoint is of it. Every answer of etcd names its
 * cluster; two that were set up alike have the same keys, and nothing else tells them apart.
 */
import type { Log } from '../runtime.js';

export interface EtcdClusterOptions {
  readonly endpoints: readonly string[];
  readonly log: Log;
}

/** The part of every answer that names its cluster: a decimal number, `0` when it says nothing. */
export interface Header {
  readonly cluster_id: string;
}

export class EtcdCluster {
  readonly #options: EtcdClusterOptions;
  /** By endpoint, what it said last. */
  readonly #told: (string | undefined)[];
  readonly #warned = new Set<string>();
  #joined: string | undefined;

  constructor(options: EtcdClusterOptions) {
    this.#options = options;
    this.#told = options.endpoints.map(() => undefined);
  }

  /** In hex, as etcdctl prints it; undefined before the first answer. */
  get joined(): string | undefined {
    return this.#joined;
  }

  /** What was joined before this start; an answer that came already counts more. */
  expect(id: string): void {
    this.#joined ??= id;
  }

  /**
   * Takes note of an endpoint's answer. Gives the reason for which it is not used, or undefined.
   * An answer without an id, as a proxy may give, says nothing.
   */
  check(index: number, header: Header | null | undefined): string | undefined {
    const id = idOf(header);
    if (id === undefined) return undefined;
    this.#told[index] = id;
    this.#joined ??= id;
    if (id === this.#joined) return undefined;
    const { endpoints, log } = this.#options;
    if (this.#told.every((told) => told === id)) {
      log.warn(
        `etcd's cluster ${this.#joined} is no more: each endpoint (${endpoints.join(',')}) is of ` +
          `cluster ${id} now; taking it for the same network, restored or made anew`,
      );
      this.#joined = id;
      this.#warned.clear();
      return undefined;
    }
    const reason =
      `it is of another etcd cluster, ${id}, than what was joined, ${this.#joined}; ` +
      'take it out of -etcd-endpoints, or the others if they are wrong';
    if (!this.#warned.has(`${index} ${id}`)) {
      this.#warned.add(`${index} ${id}`);
      log.warn(`${endpoints[index]} is not used: ${reason}`);
    }
    return reason;
  }
}

function idOf(header: Header | null | undefined): string | undefined {
  if (header === null || header === undefined || header.cluster_id === '0') return undefined;
  return BigInt(header.cluster_id).toString(16);
}
