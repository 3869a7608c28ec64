/**
 * The alarms by which an etcd takes no more writes: seen in time, since they show in writes alone,
 * and those of a host are hours apart. The member in use tells them of itself, without asking the
 * others, so it can be asked often.
 */
import type { EtcdMembers } from './etcd-members.js';
import { messageOf, StoreError } from './store.js';

export class EtcdAlarms {
  readonly #members: Pick<EtcdMembers, 'probe'>;
  #raised: string | undefined;
  #hasNone = false;

  constructor(members: Pick<EtcdMembers, 'probe'>) {
    this.#members = members;
  }

  /** `NOSPACE`; undefined: none, as far as is known. */
  get raised(): string | undefined {
    return this.#raised;
  }

  /** To be called with each look. Rejects as `probe` does where the member does not answer. */
  async look(timeoutMs: number): Promise<void> {
    if (this.#hasNone) return;
    try {
      const { errors } = await this.#members.probe(
        'look at the alarms',
        ({ maintenance }) => maintenance.status(),
        timeoutMs,
      );
      const names = errors.flatMap((error) => ALARM.exec(error)?.[1] ?? []);
      this.#raised = names.length === 0 ? undefined : [...new Set(names)].sort().join(', ');
    } catch (error) {
      if (!(error instanceof StoreError || LACKING.test(messageOf(error)))) throw error;
      // Not every server that speaks etcd's language has them.
      this.#raised = undefined;
      this.#hasNone = true;
    }
  }
}

/** gRPC's and other servers' words. */
const LACKING = /unknown (?:service|method)|unimplemented|not (?:implemented|supported)/i;
/** etcd's words for one member's alarm: `memberID:9372538179322589801 alarm:NOSPACE `. */
const ALARM = /\balarm:(?!NONE)([A-Z]+)/;
