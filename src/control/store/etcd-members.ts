/**
 * The members of an etcd cluster. One connection an endpoint and our own choice among them: the
 * one in use stays in use until a call or the watch on it fails, then it is the next one's turn.
 */
import type { Clock, Log, Random } from '../runtime.js';
import { type Access, CurrentAccess } from './access.js';
import { checkEndpoints } from './endpoints.js';
import { EtcdCluster } from './etcd-cluster.js';
import type { WatchStream } from './etcd-follow.js';
import { EtcdMember, type Link, NotUsable, type Scope } from './etcd-member.js';
import { clientOn, type EtcdClient } from './etcd-rpc.js';
import { CODE, ConnectionLost, GrpcError } from './grpc-call.js';
import { type Names, ResolvedNames } from './names.js';
import { messageOf, StoreError, StoreUnreachable } from './store.js';

export interface EtcdMembersOptions {
  /** `http://host:port` or `https://host:port`, all of one scheme. */
  readonly endpoints: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** Spreads over time what all hosts do alike. */
  readonly random?: Random;
  /** Read at every new connection; throws an Error that says what is wrong with which file. */
  readonly readAccess?: () => Access;
  readonly names?: Names;
  /** How long one call may be without a sign of its answer on one endpoint, in milliseconds. */
  readonly callTimeoutMs?: number;
}

const CALL_TIMEOUT_MS = 5_000;
/** A member that has not answered a read by then gets company: another one is asked as well. */
const HEDGE_AFTER_MS = 1_000;

export class EtcdMembers {
  readonly endpoints: readonly string[];
  readonly access: CurrentAccess;
  readonly #options: EtcdMembersOptions;
  readonly #members: readonly EtcdMember[];
  readonly #cluster: EtcdCluster;
  #current = 0;

  /** Throws when an endpoint is not well formed; does not connect yet. */
  constructor(options: EtcdMembersOptions) {
    this.#options = options;
    const { clock, log, random = () => 0.5, readAccess = () => ({}) } = options;
    const endpoints = checkEndpoints(options.endpoints);
    this.endpoints = endpoints;
    this.access = new CurrentAccess(readAccess, log);
    this.#cluster = new EtcdCluster({ endpoints, log });
    const names = options.names ?? new ResolvedNames(clock);
    const { access } = this;
    const cluster = this.#cluster;
    this.#members = endpoints.map(
      (endpoint, index) =>
        new EtcdMember({ endpoint, index, access, cluster, names, clock, random }),
    );
  }

  /** The endpoint in use. */
  get endpoint(): string {
    return this.endpoints[this.#current] as string;
  }

  /** The cluster that was joined, in hex as etcdctl prints it; undefined before the first answer. */
  get cluster(): string | undefined {
    return this.#cluster.joined;
  }

  /** The cluster that was joined before this start: an endpoint of another one is not used. */
  expectCluster(id: string): void {
    this.#cluster.expect(id);
  }

  /** What a wait of `ms` becomes for the member in use: longer when it is far away. */
  patience(ms: number): number {
    return this.#member(this.#current).patience(ms);
  }

  /** Opens a watch stream on the member in use; `failed` passes on to the next one. */
  async watch(): Promise<{ stream: WatchStream; failed: () => void }> {
    const index = this.#current;
    const member = this.#member(index);
    let link: Link | undefined;
    try {
      link = await member.link();
      const stream = await this.#client(member, link, UNBOUNDED).watchClient.watch();
      return { stream, failed: () => this.#leave(index, link) };
    } catch (error) {
      this.#leave(index, link);
      throw new StoreUnreachable(`${member.endpoint}: ${messageOf(error)}`);
    }
  }

  /** Opens new connections, with what the files hold now; calls on the old ones get their time. */
  reconnect(): void {
    this.access.refresh();
    for (const member of this.#members) member.reconnect();
  }

  close(): void {
    for (const member of this.#members) member.close();
  }

  /**
   * Makes one call on the member in use, or on the next ones when it does not answer. Rejects
   * with StoreUnreachable when none does, with StoreError when one refuses. Before a connection
   * is there nothing is sent, so only the last member is waited for until that is settled.
   */
  async call<T>(what: string, run: (client: EtcdClient) => Promise<T>): Promise<T> {
    const reasons: string[] = [];
    const { length } = this.endpoints;
    for (let tried = 0; tried < length; tried++) {
      const index = this.#current;
      try {
        const link = await this.#linked(index, tried + 1 < length ? HEDGE_AFTER_MS : undefined);
        await this.#know(index, link);
        return await this.#attempt(what, index, run, this.#timeout, link);
      } catch (error) {
        if (!(error instanceof MemberFailed)) throw error;
        reasons.push(error.message);
      }
    }
    throw unreachable(what, reasons);
  }

  /**
   * Makes one call that changes nothing, as `call` does, but asks another member too when one has
   * not answered within a second, round and round, each one once at a time. The first answer
   * counts and its member is in use from then on. So a member that is stopped or cut off costs a
   * second, a slow one nothing. Rejects when there are as many failures as members.
   */
  read<T>(what: string, run: (client: EtcdClient) => Promise<T>): Promise<T> {
    const { endpoints } = this;
    const { clock } = this.#options;
    const first = this.#current;
    const reasons = endpoints.map((endpoint) => `${endpoint}: no answer yet`);
    const asked = new Set<number>();
    const others = new AbortController();
    let failures = 0;
    return new Promise<T>((resolve, reject) => {
      let turn = 0;
      let cancelHedge = () => {};
      const end = (settle: () => void) => {
        others.abort();
        cancelHedge();
        settle();
      };
      const askNext = () => {
        cancelHedge();
        for (let passed = 0; passed < endpoints.length; passed++) {
          const index = (first + turn++) % endpoints.length;
          if (asked.has(index)) continue;
          ask(index);
          break;
        }
        if (endpoints.length === 1) return;
        cancelHedge = clock.after(this.patience(HEDGE_AFTER_MS), askNext);
      };
      const ask = (index: number) => {
        asked.add(index);
        this.#attempt(what, index, run, this.#timeout, undefined, others.signal).then(
          (answer) => {
            if (others.signal.aborted) return;
            this.#current = index;
            end(() => resolve(answer));
          },
          (error: unknown) => {
            asked.delete(index);
            if (others.signal.aborted) return;
            if (!(error instanceof MemberFailed)) {
              end(() => reject(error));
              return;
            }
            reasons[index] = error.message;
            if (++failures >= endpoints.length) end(() => reject(unreachable(what, reasons)));
            else askNext();
          },
        );
      };
      askNext();
    });
  }

  /** Makes one call on the member in use alone, and passes on to the next one if it fails. */
  probe<T>(what: string, run: (client: EtcdClient) => Promise<T>, timeout: number): Promise<T> {
    return this.#attempt(what, this.#current, run, timeout);
  }

  get #timeout(): number {
    return this.#options.callTimeoutMs ?? CALL_TIMEOUT_MS;
  }

  #member(index: number): EtcdMember {
    return this.#members[index] as EtcdMember;
  }

  /** Rejects with MemberFailed when another member may do better, with StoreError when not. */
  async #attempt<T>(
    what: string,
    index: number,
    run: (client: EtcdClient) => Promise<T>,
    timeout: number,
    given?: Link,
    signal?: AbortSignal,
  ): Promise<T> {
    const member = this.#member(index);
    const link = given ?? (await this.#linked(index));
    const scope = new Attempt(this.#options.clock, member.patience(timeout), signal);
    try {
      return await scope.bound(run(this.#client(member, link, scope)));
    } catch (error) {
      const reason = messageOf(error);
      if (refused(error)) {
        const remedy = NO_SPACE.test(reason) ? `; ${MAKE_SPACE}` : '';
        throw new StoreError(`${member.endpoint} refuses to ${what}: ${reason}${remedy}`);
      }
      if (!signal?.aborted) this.#leave(index, link);
      throw new MemberFailed(`${member.endpoint}: ${reason}`);
    } finally {
      scope.end();
    }
  }

  /** @param timeout how long is waited for it; the connection goes on being made in any case */
  async #linked(index: number, timeout?: number): Promise<Link> {
    const member = this.#member(index);
    try {
      const made = member.link();
      if (timeout === undefined) return await made;
      const late = new Error('no connection yet');
      return await within(this.#options.clock, timeout, made, late);
    } catch (error) {
      this.#leave(index, undefined);
      throw new MemberFailed(`${member.endpoint}: ${messageOf(error)}`);
    }
  }

  /** A write must not go to another cluster, so one answer is read on a connection before it. */
  async #know(index: number, link: Link): Promise<void> {
    if (link.checked) return;
    const look = { key: Buffer.from([0]), limit: 1, keys_only: true, serializable: true };
    try {
      await this.#attempt('look', index, ({ kv }) => kv.range(look), this.#timeout, link);
    } catch (error) {
      // What may not read that key is not of another cluster for it.
      if (error instanceof MemberFailed) throw error;
    }
  }

  #client(member: EtcdMember, link: Link, scope: Scope): EtcdClient {
    return clientOn({
      unary: (method, request) => member.unary(link, method, request, scope),
      stream: async (method) => {
        const stream = await member.stream(link, method);
        scope.add(() => stream.cancel());
        return stream;
      },
    });
  }

  /** Not when it was an old connection that failed: the member may answer on a new one. */
  #leave(index: number, link: Link | undefined): void {
    if (link !== undefined && !this.#member(index).has(link)) return;
    if (this.#current === index) this.#current = (index + 1) % this.endpoints.length;
  }
}

/** A watch has no deadline here. */
const UNBOUNDED: Scope = { heard() {}, add() {} };

/** One attempt: it fails when nothing is heard for too long, and leaves no call behind. */
class Attempt implements Scope {
  readonly #clock: Clock;
  readonly #timeout: number;
  readonly #calls: (() => void)[] = [];
  readonly #overdue: Promise<never>;
  #fail: (error: Error) => void = () => {};
  #cancelTimer = () => {};
  #over = false;

  constructor(clock: Clock, timeout: number, signal?: AbortSignal) {
    this.#clock = clock;
    this.#timeout = timeout;
    this.#overdue = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#overdue.catch(() => {});
    signal?.addEventListener('abort', () => this.end(), { once: true });
    if (signal?.aborted) this.#fail(new ConnectionLost('not needed any more'));
    this.heard();
  }

  bound<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#overdue]);
  }

  readonly heard = (): void => {
    this.#cancelTimer();
    if (this.#over) return;
    this.#cancelTimer = this.#clock.after(this.#timeout, () =>
      this.#fail(new ConnectionLost(`no answer within ${Math.round(this.#timeout)} ms`)),
    );
  };

  add(cancel: () => void): void {
    if (this.#over) cancel();
    else this.#calls.push(cancel);
  }

  end(): void {
    this.#over = true;
    this.#cancelTimer();
    for (const cancel of this.#calls.splice(0)) cancel();
  }
}

/** One member did not answer; the message names it. */
class MemberFailed extends Error {}

function within<T>(clock: Clock, ms: number, work: Promise<T>, late: Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(late));
    work.then(resolve, reject).finally(cancel);
  });
}

function unreachable(what: string, reasons: readonly string[]): StoreUnreachable {
  return new StoreUnreachable(`etcd does not answer, cannot ${what} (${reasons.join('; ')})`);
}

const NO_SPACE = /database space exceeded/;
const MAKE_SPACE =
  'make space with: etcdctl compact REVISION, etcdctl defrag, etcdctl alarm disarm';

const PASSED_OVER: ReadonlySet<number> = new Set([
  CODE.cancelled,
  CODE.unknown,
  CODE.deadlineExceeded,
  CODE.resourceExhausted,
  CODE.aborted,
  CODE.unimplemented,
  CODE.internal,
  CODE.unavailable,
]);
/** A member that has no vote, or is of an older version, says so; another one may serve. */
const NOT_THIS_MEMBER = /not supported for learner|not capable/;

/**
 * Whether another member would say the same. Out of space (NOSPACE) is an alarm of them all, and
 * what is larger than this host takes is so everywhere.
 */
function refused(error: unknown): boolean {
  const message = messageOf(error);
  if (error instanceof ConnectionLost || error instanceof NotUsable) return false;
  if (NO_SPACE.test(message) || /larger than max/.test(message)) return true;
  if (NOT_THIS_MEMBER.test(message)) return false;
  return !(error instanceof GrpcError && PASSED_OVER.has(error.code));
}
