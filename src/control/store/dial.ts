/**
 * Makes a connection to one place: the name's addresses, TCP, and TLS where the URL says https.
 * No proxy variable has a say. Each step has a deadline of its own: TCP's is short, since it asks
 * a silent host again at ever longer intervals, and a fresh start asks at once; a host that has
 * accepted may take its time.
 */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { Clock } from '../runtime.js';
import { connectionReason } from './grpc.js';
import type { Names } from './names.js';

/** PEM texts. */
export interface Credentials {
  /** Node's own list when absent. */
  readonly rootCertificate?: Buffer;
  readonly privateKey?: Buffer;
  readonly certChain?: Buffer;
}

/** Milliseconds for TCP to one address, and for TLS. */
export interface Deadlines {
  readonly tcp: number;
  readonly handshake: number;
}

export interface DialOptions {
  readonly place: URL;
  readonly credentials: Credentials | undefined;
  readonly names: Names;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** Which of a name's addresses is tried first: another one from attempt to attempt. */
  readonly turn: number;
}

export interface Dialled {
  readonly socket: Duplex;
  /** How long the slowest of TCP and TLS took, in milliseconds. */
  readonly roundTripMs: number;
}

export class Dialling {
  /** Rejects with the reason; what was half made is closed. */
  readonly done: Promise<Dialled>;
  readonly #options: DialOptions;
  #socket: net.Socket | undefined;
  #cancel: (error: Error) => void = () => {};
  #cancelled: Error | undefined;

  constructor(options: DialOptions) {
    this.#options = options;
    this.done = this.#dial();
    this.done.catch(() => {});
  }

  cancel(reason: string): void {
    this.#cancelled ??= new Error(reason);
    this.#cancel(this.#cancelled);
    this.#socket?.destroy();
  }

  async #dial(): Promise<Dialled> {
    const { place, names, clock, deadlines, turn } = this.#options;
    const host = hostOf(place);
    // Without any address the resolver's own time-out counts, which is longer than ours.
    const known = await this.#within(
      deadlines.handshake,
      names.addresses(host),
      `no address for ${host} yet`,
    );
    const begun = clock.now();
    const socket = await this.#tcp(inTurn(known, turn));
    const connected = clock.now();
    if (place.protocol === 'http:') return { socket, roundTripMs: connected - begun };
    const secure = await this.#tls(socket, host);
    return { socket: secure, roundTripMs: Math.max(connected - begun, clock.now() - connected) };
  }

  async #tcp(addresses: readonly string[]): Promise<net.Socket> {
    const { place, deadlines } = this.#options;
    const port = portOf(place);
    let reason = new Error('no address');
    for (const address of addresses) {
      const socket = net.connect({ host: address, port, noDelay: true });
      this.#socket = socket;
      try {
        const connected = new Promise<void>((resolve, reject) => {
          socket.once('connect', () => resolve());
          socket.once('error', reject);
        });
        const at = addresses.length > 1 ? ` from ${address}` : '';
        await this.#within(deadlines.tcp, connected, `no answer to TCP${at}`);
        // An error is told by whoever has the socket from now on.
        socket.on('error', () => {});
        return socket;
      } catch (error) {
        socket.on('error', () => {});
        socket.destroy();
        reason = error as Error;
        if (this.#cancelled !== undefined) break;
      }
    }
    throw reason;
  }

  async #tls(socket: net.Socket, host: string): Promise<tls.TLSSocket> {
    const { credentials, deadlines } = this.#options;
    let secure: tls.TLSSocket | undefined;
    try {
      const handshake = new Promise<void>((resolve, reject) => {
        secure = tls.connect({
          socket,
          ...secureOptions(host, credentials),
        });
        secure.once('secureConnect', () => resolve());
        secure.once('error', reject);
        secure.once('close', () => reject(new Error('closed in the handshake')));
      });
      await this.#within(deadlines.handshake, handshake, 'no end of the TLS handshake');
      if (secure === undefined) throw new Error('no TLS');
      secure.on('error', () => {});
      return secure;
    } catch (error) {
      secure?.on('error', () => {});
      secure?.destroy();
      socket.destroy();
      const ended = (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      const closed = 'closed in the handshake: is it http:// there?';
      const reason = ended ? closed : connectionReason(error as Error);
      throw new Error(reason.startsWith('TLS: ') ? reason : `TLS: ${reason}`);
    }
  }

  #within<T>(ms: number, work: Promise<T>, late: string): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#cancelled !== undefined) reject(this.#cancelled);
      this.#cancel = reject;
      const overdue = () => reject(new Error(`${late}, within ${Math.round(ms)} ms`));
      const cancelTimer = this.#options.clock.after(ms, overdue);
      work.then(resolve, reject).finally(cancelTimer);
    });
  }
}

/** A name is told to the server and looked for in its certificate; an address is looked for only. */
function secureOptions(host: string, credentials: Credentials | undefined): tls.ConnectionOptions {
  return {
    host,
    ...(net.isIP(host) === 0 && { servername: host }),
    checkServerIdentity: (_, certificate) => tls.checkServerIdentity(host, certificate),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.2',
    ...(credentials?.rootCertificate && { ca: credentials.rootCertificate }),
    ...(credentials?.privateKey && { key: credentials.privateKey }),
    ...(credentials?.certChain && { cert: credentials.certChain }),
  };
}

function inTurn(addresses: readonly string[], turn: number): readonly string[] {
  const first = turn % addresses.length;
  return [...addresses.slice(first), ...addresses.slice(0, first)];
}

/** Without the brackets of an IPv6 address. */
function hostOf(place: URL): string {
  return place.hostname.replace(/^\[(.*)\]$/, '$1');
}

/** A URL leaves its scheme's own port out. */
function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port);
  return protocol === 'https:' ? 443 : 80;
}
