/**
 * One endpoint of etcd, and at most one connection to it. A connection that is being made is
 * kept until its deadline, whoever gave up waiting for it; deadlines grow from try to try. What
 * proves who we are is read at every new one.
 */
import type { IAuthenticateResponse } from 'etcd3/lib/rpc.js';
import type { Clock, Random } from '../runtime.js';
import type { CurrentAccess } from './access.js';
import { Dialling } from './dial.js';
import type { EtcdCluster, Header } from './etcd-cluster.js';
import { AUTHENTICATE } from './etcd-rpc.js';
import { GrpcConnection, type GrpcStream } from './grpc.js';
import type { Metadata, Method } from './grpc-call.js';
import type { Names } from './names.js';
import { messageOf } from './store.js';

export interface EtcdMemberOptions {
  readonly endpoint: string;
  readonly index: number;
  readonly access: CurrentAccess;
  readonly cluster: EtcdCluster;
  readonly names: Names;
  readonly clock: Clock;
  readonly random: Random;
}

/** This endpoint cannot be used now, another may; the message is the reason. */
export class NotUsable extends Error {}

/**
 * The first and the longest deadlines of a try, in milliseconds. A silent host is asked by TCP
 * after 0, 1 and 3 s of each try, so one that is back is noticed within 3 s.
 */
const FIRST = { tcp: 4_000, handshake: 8_000 };
const LONGEST = { tcp: 6_000, handshake: 20_000 };
const GROWTH = 1.5;
/** How long the calls on a connection that is replaced may still take. */
const LINGER_MS = 5_000;

/** etcd's words: authentication is off; it was switched on, or users or roles were changed. */
const AUTH_OFF = /authentication is not enabled/;
const NEW_TOKEN = /user name is empty|revision of auth store is old|invalid auth token/;

/** Who makes a call: told whenever a part of an answer came, and how the call is cancelled. */
export interface Scope {
  heard(): void;
  add(cancel: () => void): void;
}

/** A connection, and who we are on it. */
export interface Link {
  readonly connection: GrpcConnection;
  token: Promise<Metadata> | undefined;
  /** Whether its cluster was seen; before that nothing is written over it. */
  checked: boolean;
}

export class EtcdMember {
  readonly endpoint: string;
  readonly #options: EtcdMemberOptions;
  readonly #place: URL;
  /** Connections that were replaced, and how the wait for their end is given up. */
  readonly #old = new Map<GrpcConnection, () => void>();
  #link: Link | undefined;
  #making: { done: Promise<Link>; cancel: (reason: string) => void } | undefined;
  /** Tries since the last answer. */
  #tries = 0;
  #closed = false;

  constructor(options: EtcdMemberOptions) {
    this.#options = options;
    this.endpoint = options.endpoint;
    this.#place = new URL(options.endpoint);
  }

  /** What a wait of `ms` becomes for a member this far away. */
  patience(ms: number): number {
    return this.#link?.connection.patience(ms) ?? ms;
  }

  /** The connection, once there is one; rejects with NotUsable when a try to make it failed. */
  async link(): Promise<Link> {
    for (;;) {
      if (this.#closed) throw new NotUsable('the store was closed');
      if (this.#link?.connection.usable) return this.#link;
      this.#retire();
      this.#making ??= this.#make();
      const { done } = this.#making;
      try {
        return await done;
      } catch (error) {
        if (error instanceof StartedAnew) continue;
        throw error;
      }
    }
  }

  /** Whether this is the connection in use, or was the last one. */
  has(link: Link): boolean {
    return this.#link === link;
  }

  /** One message there and one back. */
  async unary(link: Link, method: Method, request: object, scope: Scope): Promise<object> {
    for (let again = true; ; again = false) {
      const metadata = await this.#token(link, scope.heard);
      const { answer, cancel } = link.connection.unary(method, request, metadata, scope.heard);
      scope.add(cancel);
      try {
        const message = await answer;
        this.#check(link, message);
        return message;
      } catch (error) {
        const renew = this.#options.access.get().auth && NEW_TOKEN.test(messageOf(error));
        if (!(renew && again)) throw error;
        link.token = undefined;
      }
    }
  }

  /** Many messages there and many back; each names its cluster. */
  async stream(link: Link, method: Method): Promise<GrpcStream> {
    // As flannel asks: a member without a leader ends the stream instead of going silent.
    const metadata = { ...(await this.#token(link, () => {})), hasleader: 'true' };
    const stream = link.connection.stream(method, metadata);
    return checked(stream, (message) => this.#check(link, message));
  }

  /** Makes a new connection for the calls from now on; those on the old one are given their time. */
  reconnect(): void {
    this.#making?.cancel('made anew');
    this.#retire();
  }

  close(): void {
    this.#closed = true;
    this.#making?.cancel('the store was closed');
    this.#link?.connection.close('the store was closed');
    for (const [connection, cancel] of this.#old) {
      cancel();
      connection.close('the store was closed');
    }
  }

  /** Takes no new calls on the connection; those under way get their time. */
  #retire(): void {
    const { connection } = this.#link ?? {};
    this.#link = undefined;
    if (connection === undefined) return;
    const end = () => {
      this.#old.delete(connection);
      connection.close('replaced by a new connection');
    };
    if (connection.busy) this.#old.set(connection, this.#options.clock.after(LINGER_MS, end));
    else end();
  }

  /** One try. It ends well with the other end's first word, or at a deadline. */
  #make(): { done: Promise<Link>; cancel: (reason: string) => void } {
    const { names, clock, access } = this.#options;
    const deadlines = { tcp: this.#deadline('tcp'), handshake: this.#deadline('handshake') };
    const turn = this.#tries++;
    let dialling: Dialling | undefined;
    let connection: GrpcConnection | undefined;
    let link: Link | undefined;
    let anew = false;
    const make = async (): Promise<Link> => {
      try {
        const { credentials } = access.get();
        dialling = new Dialling({
          ...{ place: this.#place, names, clock, deadlines, turn },
          credentials,
        });
        const { socket, roundTripMs } = await dialling.done;
        connection = await new Promise<GrpcConnection>((resolve, reject) => {
          const late = `connected, but no word within ${Math.round(deadlines.handshake)} ms`;
          const cancelTimer = clock.after(deadlines.handshake, () => made.close(late));
          const made: GrpcConnection = new GrpcConnection({
            ...{ socket, roundTripMs, clock, origin: this.#place },
            answered: () => {
              cancelTimer();
              resolve(made);
            },
            ended: (reason) => {
              cancelTimer();
              reject(new Error(reason));
            },
          });
          connection = made;
          link = { connection: made, token: undefined, checked: false };
          // On its way before the other end has spoken: a round trip less on a far one.
          this.#token(link, () => {}).catch(() => {});
        });
      } catch (error) {
        if (anew && !this.#closed) throw new StartedAnew();
        throw new NotUsable(messageOf(error));
      }
      this.#tries = 0;
      this.#link = link as Link;
      return this.#link;
    };
    const done = make();
    const over = () => {
      this.#making = undefined;
    };
    // Also when whoever waited for it has gone.
    done.then(over, over);
    const cancel = (reason: string) => {
      anew = true;
      dialling?.cancel(reason);
      connection?.close(reason);
    };
    return { done, cancel };
  }

  /** Grows from try to try; less up to a fifth, so that many hosts come apart. */
  #deadline(step: 'tcp' | 'handshake'): number {
    const full = Math.min(LONGEST[step], FIRST[step] * GROWTH ** this.#tries);
    return full * (1 - this.#options.random() / 5);
  }

  /** With user and password, or without where authentication is off, as flanneld does. */
  #token(link: Link, heard: () => void): Promise<Metadata> {
    link.token ??= this.#authenticate(link, heard).catch((error) => {
      link.token = undefined;
      throw error;
    });
    return link.token;
  }

  async #authenticate(link: Link, heard: () => void): Promise<Metadata> {
    const { auth } = this.#options.access.get();
    if (auth === undefined) return {};
    const { username: name, password } = auth;
    const { answer } = link.connection.unary(AUTHENTICATE, { name, password }, {}, heard);
    try {
      const message = (await answer) as IAuthenticateResponse;
      this.#check(link, message);
      return { token: message.token };
    } catch (error) {
      if (AUTH_OFF.test(messageOf(error))) return {};
      throw error;
    }
  }

  #check(link: Link, message: { readonly header?: Header | null }): void {
    const { cluster, index } = this.#options;
    const reason = cluster.check(index, message.header);
    if (reason !== undefined) throw new NotUsable(reason);
    link.checked = true;
  }
}

class StartedAnew extends Error {}

/** The same stream, which ends with an error when a message does not pass. */
function checked(stream: GrpcStream, check: (message: object) => void): GrpcStream {
  let failed = false;
  const errors: ((error: Error) => void)[] = [];
  return {
    write: (request) => stream.write(request),
    end: () => stream.end(),
    cancel: () => stream.cancel(),
    on(event: 'data' | 'end' | 'error', call: (value: never) => void) {
      if (event === 'error') errors.push(call as (error: Error) => void);
      if (event !== 'data') {
        return stream.on(event as 'error', (error) => {
          if (!failed) (call as (error: Error) => void)(error);
        });
      }
      return stream.on('data', (message) => {
        if (failed) return;
        try {
          check(message);
        } catch (error) {
          failed = true;
          stream.cancel();
          for (const tell of errors) tell(error as Error);
          return;
        }
        call(message);
      });
    },
  };
}
