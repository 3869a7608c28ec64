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

/** etcd answers "too many pings" when asked more often than every 5 s. */
const CHANNEL = {
  // A client that is opened anew gets a connection of its own.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
};

export class EtcdMembers {
  readonly endpoints: readonly string[];
  private readonly options: EtcdMembersOptions;
  private readonly clients: Etcd3[];
  private current = 0;
  /** Whether clients say a user and a password. */
  private named = true;

  /** Throws when an endpoint is not well formed; does not connect yet. */
  constructor(options: EtcdMembersOptions) {
    this.options = options;
    this.endpoints = checkEndpoints(options.endpoints);
    this.clients = this.endpoints.map((endpoint) => this.connect(endpoint, true));
  }

  /** The endpoint in use. */
  get endpoint(): string {
    return this.endpoints[this.current] as string;
  }

  /** Opens a watch stream on the member in use; `failed` passes on to the next one. */
  async watch(): Promise<{ stream: WatchStream; failed: () => void }> {
    const index = this.current;
    const stream = await (this.clients[index] as Etcd3).watchClient.watch(REQUIRE_LEADER);
    return { stream, failed: () => this.leave(index) };
  }

  /** Opens new connections; the calls on the old ones are given their time. */
  reconnect(): void {
    for (const [index, client] of this.clients.entries()) this.replace(index, client, this.named);
  }

  close(): void {
    for (const client of this.clients) client.close();
  }

  /**
   * Makes one call on the member in use, or on the next ones when it does not answer. Rejects
   * with StoreUnreachable when none does, with StoreError when one refuses.
   */
  async call<T>(what: string, run: (client: Etcd3) => Promise<T>): Promise<T> {
    const reasons: string[] = [];
    for (let tried = 0; tried < this.endpoints.length; tried++) {
      const index = this.current;
      try {
        return await this.inTime(this.asUser(index, run));
      } catch (error) {
        const reason = reasonOf(error);
        if (!(error instanceof Overdue || (error instanceof Error && isRecoverableError(error)))) {
          throw new StoreError(`${this.endpoints[index]} refuses to ${what}: ${reason}`);
        }
        reasons.push(`${this.endpoints[index]}: ${reason}`);
        this.leave(index);
      }
    }
    throw new StoreUnreachable(`etcd does not answer, cannot ${what} (${reasons.join('; ')})`);
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
      if (this.options.auth === undefined || !(off || NEW_TOKEN.test(messageOf(error))))
        throw error;
      this.replace(index, client, !off);
      return run(this.clients[index] as Etcd3);
    }
  }

  /** The old client goes when the calls on it are done; a watch on it then starts again. */
  private replace(index: number, old: Etcd3, named: boolean): void {
    if (this.clients[index] !== old) return;
    this.named = named;
    this.clients[index] = this.connect(this.endpoints[index] as string, named);
    this.options.clock.after(this.options.callTimeout ?? CALL_TIMEOUT, () => old.close());
  }

  private connect(hosts: string, named: boolean): Etcd3 {
    const { credentials, auth } = this.options;
    return new Etcd3({
      hosts,
      grpcOptions: CHANNEL,
      faultHandling: { host: () => noop, global: noop },
      ...(credentials && { credentials }),
      ...(named && auth && { auth }),
    });
  }

  private leave(index: number): void {
    if (this.current === index) this.current = (index + 1) % this.endpoints.length;
  }

  private inTime<T>(call: Promise<T>): Promise<T> {
    const { clock, callTimeout = CALL_TIMEOUT } = this.options;
    return new Promise<T>((resolve, reject) => {
      const overdue = () => reject(new Overdue(`no answer within ${callTimeout} ms`));
      const cancel = clock.after(callTimeout, overdue);
      call.then(resolve, reject).finally(cancel);
    });
  }
}

/** etcd's words: authentication is off; it was switched on, or users or roles were changed. */
const AUTH_OFF = /authentication is not enabled/;
const NEW_TOKEN = /user name is empty|revision of auth store is old/;

class Overdue extends Error {}

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
