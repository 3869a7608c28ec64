/**
 * The alarms by which an etcd takes no more writes: seen in time, since they show in writes alone,
 * and those of a host are hours apart.
 */
import type { EtcdMembers } from './etcd-members.js';
import { StoreError } from './store.js';

/** In so many looks at the newest lease, one at the alarms: each is a proposal to the whole cluster. */
const EVERY = 8;

export class EtcdAlarms {
  readonly #members: Pick<EtcdMembers, 'probe'>;
  #raised: string | undefined;
  #looks = 0;

  constructor(members: Pick<EtcdMembers, 'probe'>) {
    this.#members = members;
  }

  /** `NOSPACE`; undefined: none, as far as is known. */
  get raised(): string | undefined {
    return this.#raised;
  }

  /** To be called with each look. Rejects as `probe` does where the member does not answer. */
  async look(timeoutMs: number): Promise<void> {
    this.#looks -= 1;
    if (this.#looks > 0) return;
    this.#looks = EVERY;
    try {
      const { alarms } = await this.#members.probe(
        'look at the alarms',
        ({ maintenance }) => maintenance.alarm({ action: 'Get', memberID: '0', alarm: 'None' }),
        timeoutMs,
      );
      const names = alarms.map(({ alarm }) => String(alarm).toUpperCase());
      const raised = names.filter((name) => name !== 'NONE');
      this.#raised = raised.length === 0 ? undefined : [...new Set(raised)].join(', ');
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      // Not every server that speaks etcd's language has them.
      this.#raised = undefined;
      this.#looks = Number.POSITIVE_INFINITY;
    }
  }
}
