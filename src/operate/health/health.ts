/**
 * flanneld's health listener: /healthz answers 200 as long as the process runs and its lanes turn,
 * 503 with the reason when one stands still; /readyz 200 once packets flow and the subnet file is
 * written, 503 before. Every method is answered alike, and to
 * the byte as flanneld's (Go net/http) does, so that whatever reads the one reads the other. Node
 * parses the requests; the answers are written here, since Node's own have other headers. /metrics is
 * weft's own.
 */
import type { Server } from 'node:http';
import { createRequire } from 'node:module';
import net, { type AddressInfo } from 'node:net';
import { messageOf } from '../../control/store/store.js';
import { plain } from '../status/plain.js';

/**
 * Taken by require: for an `import`, Node 22 looks at all that the module has, for which it makes a
 * WebAssembly of its own, which costs memory and is not there on every host.
 */
const http = createRequire(import.meta.url)('node:http') as typeof import('node:http');

export interface HealthOptions {
  readonly address: string;
  readonly port: number;
  readonly ready: () => boolean;
  /** Why nothing passes though it is up; empty where that is not so. */
  readonly broken: () => string;
  /** What keeps it from forwarding, a line each; none while all is well. */
  readonly standing: () => readonly string[];
  /** What /metrics answers; absent: there is none. */
  readonly metrics?: () => Promise<{ readonly type: string; readonly body: string }>;
  /** The time of day, for the Date header. */
  readonly now: () => Date;
}

/** A request that takes longer, headers or body, is cut off. */
const REQUEST_WITHIN_MS = 10_000;
const MOST_CONNECTIONS = 64;
const TYPE = 'Content-Type: text/plain; charset=utf-8';

export class Health {
  readonly #server: Server;
  readonly #options: HealthOptions;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#server = http.createServer(
      { requestTimeout: REQUEST_WITHIN_MS, headersTimeout: REQUEST_WITHIN_MS },
      (request) => {
        const { socket, method = '', url = '', httpVersion } = request;
        // A body is read and forgotten, or the kernel would reset the connection under the answer.
        request.resume();
        request.once('end', () => {
          void answered(url, options).then((answer) => {
            socket.write(format(answer, method, httpVersion));
            socket.destroySoon();
          });
        });
      },
    );
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  /** Rejects with an Error that names the flag to change when the address cannot be had. */
  async open(): Promise<void> {
    const { address, port } = this.#options;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen({ host: address, port }, resolve);
      });
    } catch (error) {
      throw new Error(
        `cannot answer health requests on ${placeOf(address, port)}: ${reason(error, port)}`,
      );
    }
    // One connection that cannot be taken (no descriptor left) is no reason to end.
    this.#server.removeAllListeners('error').on('error', () => {});
    this.#server.unref();
  }

  /** The port in use, after `open`. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** `[::1]:8081`: an address of IPv6 in brackets, as in a URL. */
export function placeOf(address: string, port: number): string {
  return `${net.isIPv6(address) ? `[${address}]` : address}:${port}`;
}

function reason(error: unknown, port: number): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EADDRINUSE':
      return `the port is taken (see: ss -ltnp 'sport = :${port}'); give another -healthz-port`;
    case 'EADDRNOTAVAIL':
      return 'this host has no such address; give another -healthz-ip';
    case 'EACCES':
      return 'weft may not take this port; give another -healthz-port';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'this is no address; give another -healthz-ip';
    default:
      return message;
  }
}

interface Answer {
  readonly status: string;
  readonly headers: readonly string[];
  readonly body: string;
}

function dateOf({ now }: HealthOptions): string {
  return `Date: ${now().toUTCString()}`;
}

function answer(options: HealthOptions, status: string, body: string, type = TYPE): Answer {
  const headers = [dateOf(options), `Content-Length: ${Buffer.byteLength(body)}`, type];
  return { status, headers, body };
}

/** Never rejects: what cannot be told costs this answer, never the packets. */
async function answered(url: string, options: HealthOptions): Promise<Answer> {
  try {
    return await answerTo(url, options);
  } catch (error) {
    return answer(options, '500 Internal Server Error', plain(messageOf(error)));
  }
}

async function answerTo(url: string, options: HealthOptions): Promise<Answer> {
  const { ready, broken, standing, metrics } = options;
  const known = (status: string, body: string) => answer(options, status, body);
  if (metrics !== undefined && pathOf(url) === '/metrics') {
    const { type, body } = await metrics();
    return answer(options, '200 OK', body, `Content-Type: ${type}`);
  }
  switch (pathOf(url)) {
    case '/healthz': {
      const faults = standing();
      return faults.length === 0
        ? known('200 OK', 'flanneld is running')
        : known('503 Service Unavailable', `weft does not forward: ${faults.join('; ')}`);
    }
    case '/readyz':
      return ready()
        ? known('200 OK', 'flanneld is ready')
        : known('503 Service Unavailable', describeUnready(broken()));
    default: {
      const body = '404 page not found\n';
      const nosniff = 'X-Content-Type-Options: nosniff';
      const headers = [TYPE, nosniff, dateOf(options), `Content-Length: ${body.length}`];
      return { status: '404 Not Found', headers, body };
    }
  }
}

function pathOf(url: string): string {
  return url.replace(/\?.*$/s, '');
}

function describeUnready(broken: string): string {
  return broken === '' ? 'flanneld is not ready yet' : `weft is not ready: ${plain(broken)}`;
}

/** One request a connection; HTTP/1.0 expects that without being told. */
function format({ status, headers, body }: Answer, method: string, version: string): string {
  const close = version === '1.0' ? [] : ['Connection: close'];
  const head = [`HTTP/${version} ${status}`, ...headers, ...close, '', ''].join('\r\n');
  return method === 'HEAD' ? head : head + body;
}
