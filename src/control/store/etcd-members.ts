/**
 * The members of an etcd cluster. One client an endpoint and our own choice among them: the
 * one in use stays in use until a call or the watch on it fails, then it is the next one's
 * turn. etcd3's own retries and breakers are off, since they hide an outage for seconds.
 */
import { noop } from 'cockatiel';
import { Etcd3, type IOptions, isRecoverableError } from 'etcd3';
import type { Clock } from '../runtime.js';
import { checkEndpoints } from './endpoints.js';
import type { WatchStream } from './etcd-follow.js';
import { LARGEST_ANSWER } from './etcd-listing.js';
import { messageOf, StoreError, StoreUnreachable } from './store.js';

export interface EtcdMembersOptions {
  /** `http://host:port` or `https://host:port`, all of one scheme. */
  readonly endpoints: readonly string[];
  readonly clock: Clock;
  /** PEM texts for https. */
  readonly credentials?: NonNullable<IOptions['credentials']>;
  readonly auth?: { readonly username: string; readonly password: string };
  /** How long one call may take on one endpoint, in milliseconds. */
  readonly callTimeout?: number;
}

const CALL_TIMEOUT = 5_000;
/** A member that has not answered a read by then gets company: the next one is asked as well. */
const HEDGE_AFTER = 1_000;

/** etcd answers "too many pings" when asked more often than every 5 s. */
const CHANNEL = {
  // A client that is opened anew gets a connection of its own.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.max_receive_message_length': LARGEST_ANSWER,
};

export class EtcdMembers {
  readonly endpoints: readonly string[];
  private readonly options: EtcdMembersOptions;
  private readonly clients: Etcd3[];
  /** Clients that were replaced, until they are closed. */
  private readonly replaced = new Map<Etcd3, () => void>();
  /** Whether new clients tell user and password; not where the cluster's authentication is off. */
  private named = true;
  private current = 0;

  /** Throws when an endpoint is not well formed; does not connect yet. */
  constructor(options: EtcdMembersOptions) {
    this.options = options;
    this.endpoints = checkEndpoints(options.endpoints);
    this.clients = this.endpoints.map((endpoint) => this.open(endpoint));
  }

  /** The endpoint in use. */
  get endpoint(): string {
    return this.endpoints[this.current] as string;
  }

  /** Opens a watch stream on the member in use; `failed` passes on to the next one. */
  async watch(): Promise<{ stream: WatchStream; failed: () => void }> {
    const index = this.current;
    const client = this.clients[index] as Etcd3;
    const stream = await client.watchClient.watch(REQUIRE_LEADER);
    return { stream, failed: () => this.leave(index, client) };
  }

  /** Opens new connections; the calls on the old ones are given their time. */
  reconnect(): void {
    for (const [index, client] of this.clients.entries()) this.renew(index, client);
  }

  close(): void {
    for (const [client, cancel] of this.replaced) {
      cancel();
      client.close();
    }
    for (const client of this.clients) client.close();
  }

  /**
   * Makes one call on the member in use, or on the next ones when it does not answer. Rejects
   * with StoreUnreachable when none does, with StoreError when one refuses.
   */
  async call<T>(what: string, run: (client: Etcd3) => Promise<T>): Promise<T> {
    const reasons: string[] = [];
    for (let tried = 0; tried < this.endpoints.length; tried++) {
      try {
        return await this.attempt(what, this.current, run, this.options.callTimeout);
      } catch (error) {
        if (!(error instanceof MemberFailed)) throw error;
        reasons.push(error.message);
      }
    }
    throw unreachable(what, reasons);
  }

  /**
   * Makes one call that changes nothing, as `call` does, but asks the next member too when one has
   * not answered within a second, round and round, on a new connection each time. The first answer
   * counts and its member is in use from then on. So a member that is stopped or cut off costs a
   * second, a slow one nothing, and a network that comes back is noticed within a second. Rejects
   * when there are as many failures as members.
   */
  read<T>(what: string, run: (client: Etcd3) => Promise<T>): Promise<T> {
    const { endpoints } = this;
    const { clock, callTimeout } = this.options;
    const first = this.current;
    const reasons = endpoints.map((endpoint) => `${endpoint}: no answer yet`);
    let failures = 0;
    return new Promise<T>((resolve, reject) => {
      let asked = 0;
      let over = false;
      let cancelHedge = () => {};
      const end = (settle: () => void) => {
        over = true;
        cancelHedge();
        settle();
      };
      const ask = () => {
        const index = (first + asked++) % endpoints.length;
        const client = this.clients[index] as Etcd3;
        let answered = false;
        cancelHedge();
        cancelHedge = clock.after(HEDGE_AFTER, () => {
          if (!answered) this.renew(index, client);
          ask();
        });
        this.attempt(what, index, run, callTimeout).then(
          (answer) => {
            answered = true;
            if (over) return;
            this.current = index;
            end(() => resolve(answer));
          },
          (error: unknown) => {
            answered = true;
            if (over) return;
            if (!(error instanceof MemberFailed)) {
              end(() => reject(error));
              return;
            }
            reasons[index] = error.message;
            if (++failures >= endpoints.length) end(() => reject(unreachable(what, reasons)));
            else if (asked < endpoints.length) ask();
          },
        );
      };
      ask();
    });
  }

  /** Makes one call on the member in use alone, and passes on to the next one if it fails. */
  probe<T>(what: string, run: (client: Etcd3) => Promise<T>, timeout: number): Promise<T> {
    return this.attempt(what, this.current, run, timeout);
  }

  /** Rejects with MemberFailed when another member may do better, with StoreError when not. */
  private async attempt<T>(
    what: string,
    index: number,
    run: (client: Etcd3) => Promise<T>,
    timeout = CALL_TIMEOUT,
  ): Promise<T> {
    const endpoint = this.endpoints[index];
    const client = this.clients[index] as Etcd3;
    try {
      return await this.inTime(this.asUser(index, run), timeout);
    } catch (error) {
      const reason = reasonOf(error);
      if (refused(error)) throw new StoreError(`${endpoint} refuses to ${what}: ${reason}`);
      this.leave(index, client);
      if (error instanceof Overdue) this.renew(index, client);
      throw new MemberFailed(`${endpoint}: ${reason}`);
    }
  }

  /**
   * With user and password, or without where the server's authentication is off, as flanneld does.
   * A token that etcd3 does not renew by itself costs a new client.
   */
  private async asUser<T>(index: number, run: (client: Etcd3) => Promise<T>): Promise<T> {
    const client = this.clients[index] as Etcd3;
    try {
      return await run(client);
    } catch (error) {
      const off = AUTH_OFF.test(messageOf(error));
      if (this.options.auth === undefined || !(off || NEW_TOKEN.test(messageOf(error)))) {
        throw error;
      }
      this.named = !off;
      this.renew(index, client);
      return run(this.clients[index] as Etcd3);
    }
  }

  /**
   * Opens a new connection for the next call: TCP tries a silent one again at ever longer
   * intervals, also when the network is long back. What waits on the old one may still be
   * answered; then it is closed, and a watch on it starts again.
   */
  private renew(index: number, old: Etcd3): void {
    if (this.clients[index] !== old) return;
    this.clients[index] = this.open(this.endpoints[index] as string);
    const { clock, callTimeout = CALL_TIMEOUT } = this.options;
    const cancel = clock.after(callTimeout, () => {
      this.replaced.delete(old);
      old.close();
    });
    this.replaced.set(old, cancel);
  }

  private open(endpoint: string): Etcd3 {
    const { credentials, auth } = this.options;
    return new Etcd3({
      hosts: endpoint,
      grpcOptions: CHANNEL,
      faultHandling: { host: () => noop, global: noop },
      ...(credentials && { credentials }),
      ...(this.named && auth && { auth }),
    });
  }

  /** Not when it was an old connection that failed: the member may answer on a new one. */
  private leave(index: number, client: Etcd3): void {
    if (this.clients[index] !== client) return;
    if (this.current === index) this.current = (index + 1) % this.endpoints.length;
  }

  private inTime<T>(call: Promise<T>, timeout: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const overdue = () => reject(new Overdue(`no answer within ${timeout} ms`));
      const cancel = this.options.clock.after(timeout, overdue);
      call.then(resolve, reject).finally(cancel);
    });
  }
}

/** etcd's words: authentication is off; it was switched on, or users or roles were changed. */
const AUTH_OFF = /authentication is not enabled/;
const NEW_TOKEN = /user name is empty|revision of auth store is old/;

class Overdue extends Error {}
/** One member did not answer; the message names it. */
class MemberFailed extends Error {}

function unreachable(what: string, reasons: readonly string[]): StoreUnreachable {
  return new StoreUnreachable(`etcd does not answer, cannot ${what} (${reasons.join('; ')})`);
}

/**
 * Whether another member would say the same. Out of space (NOSPACE) is an alarm of them all, and
 * what is larger than this host takes is so everywhere.
 */
function refused(error: unknown): boolean {
  if (/database space exceeded|larger than max/.test(messageOf(error))) return true;
  return !(error instanceof Overdue || (error instanceof Error && isRecoverableError(error)));
}

/** gRPC's message without its frame: `14 UNAVAILABLE: No connection established. Last error: …` */
function reasonOf(error: unknown): string {
  return messageOf(error)
    .replace(/^\d+ [A-Z_]+: /, '')
    .replace(/^No connection established\. Last error: (?:Error: )?/, '')
    .replace(/\.? Resolution note: $/, '');
}

type WatchOptions = NonNullable<Parameters<Etcd3['watchClient']['watch']>[0]>;
type Interceptor = NonNullable<WatchOptions['interceptors']>[number];

/** As flannel asks: a member without a leader ends the stream instead of going silent. */
const REQUIRE_LEADER: WatchOptions = {
  interceptors: [
    (options, nextCall) => {
      const call = nextCall(options) as ReturnType<Interceptor>;
      const start = call.start.bind(call);
      call.start = (metadata, listener) => {
        const own = metadata.clone();
        own.set('hasleader', 'true');
        start(own, listener);
      };
      return call;
    },
  ],
};
