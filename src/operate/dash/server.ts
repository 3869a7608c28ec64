/**
 * Serves the page of `weft dash` on loopback, to whoever knows the token: what weft tells is for root,
 * and every user of the host can reach loopback. It neither reads files nor asks anybody: all it shows
 * it is told.
 */
import { timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Answer } from '../status/status.js';
import type { ServedFile } from './messages.js';
import type { Sample, View } from './shown.js';
import { viewOf } from './view.js';

/** Seconds that are kept for a page that is opened. */
const KEPT = 300;
const MOST_PAGES = 32;
/** What a page that does not read its events may owe, in bytes, before it is cut off. */
const MOST_OWED = 1 << 20;

const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

export interface DashServerOptions {
  readonly token: string;
  readonly files: Readonly<Record<string, ServedFile>>;
}

export class DashServer {
  readonly #server: http.Server;
  readonly #options: DashServerOptions;
  readonly #pages = new Set<http.ServerResponse>();
  #samples: Sample[] = [];
  #before: Answer | undefined;
  #view: View | undefined;

  constructor(options: DashServerOptions) {
    this.#options = options;
    this.#server = http.createServer((request, response) => this.#serve(request, response));
    this.#server.maxConnections = 4 * MOST_PAGES;
  }

  /** Resolves with the port. Rejects with the error of the socket. */
  listen(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host: '127.0.0.1', port }, () => {
        this.#server.removeAllListeners('error').on('error', () => {});
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** What the pages show from now on; a text is why there is no answer. */
  tell(answer: Answer | string, time: number): void {
    const view = viewOf(answer, this.#before, time);
    this.#before = typeof answer === 'string' ? undefined : answer;
    this.#view = view;
    if (view.sample !== null) {
      const oldest = time - KEPT;
      this.#samples = [...this.#samples, view.sample].filter((sample) => sample.time > oldest);
    }
    const text = eventOf('view', view);
    for (const page of this.#pages) {
      if (page.writableLength > MOST_OWED) page.destroy();
      else page.write(text);
    }
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #serve(request: http.IncomingMessage, response: http.ServerResponse): void {
    request.resume();
    const url = urlOf(request);
    const refused = this.#refusalOf(request);
    if (refused !== undefined) {
      refuse(response, ...refused);
      return;
    }
    if (url === null) {
      refuse(response, 400, 'this is no address');
      return;
    }
    const given = url.searchParams.get('token');
    if (given !== null && this.#isToken(given)) {
      // Out of the address line, and so out of the browser's history.
      const cookie = `${cookieOf(request)}=${given}; HttpOnly; SameSite=Strict; Path=/`;
      response.writeHead(303, { ...HEADERS, Location: '/', 'Set-Cookie': cookie });
      response.end();
    } else if (!this.#isToken(tokenIn(request))) {
      refuse(response, 403, 'open the address that weft dash printed, with its token');
    } else if (url.pathname === '/events' && request.method === 'GET') {
      this.#follow(response);
    } else {
      this.#answer(url.pathname, request, response);
    }
  }

  #refusalOf({ method, headers }: http.IncomingMessage): [number, string] | undefined {
    if (method !== 'GET' && method !== 'HEAD') return [405, 'only GET'];
    // A page of another site whose name leads here would send that name.
    const isOurs = /^(?:127\.0\.0\.1|localhost)(?::\d+)?$/.test(headers.host ?? '');
    return isOurs ? undefined : [421, 'ask 127.0.0.1'];
  }

  #answer(path: string, { method }: http.IncomingMessage, response: http.ServerResponse): void {
    const file = Object.hasOwn(this.#options.files, path) ? this.#options.files[path] : undefined;
    if (file === undefined) {
      refuse(response, 404, 'there is no such page');
      return;
    }
    response.writeHead(200, { ...HEADERS, 'Content-Type': file.type });
    response.end(method === 'HEAD' ? undefined : file.text);
  }

  #follow(response: http.ServerResponse): void {
    if (this.#pages.size >= MOST_PAGES) {
      refuse(response, 503, `${MOST_PAGES} pages are open already`);
      return;
    }
    response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream' });
    // The charts begin with what is kept; the view adds the last point itself.
    const kept = this.#view?.sample === null ? this.#samples : this.#samples.slice(0, -1);
    response.write(eventOf('history', kept));
    if (this.#view !== undefined) response.write(eventOf('view', this.#view));
    this.#pages.add(response);
    response.once('close', () => this.#pages.delete(response));
    response.on('error', () => response.destroy());
  }

  #isToken(text: string): boolean {
    const [a, b] = [Buffer.from(text), Buffer.from(this.#options.token)];
    return a.length === b.length && timingSafeEqual(a, b);
  }
}

/** Null where it is none: anybody who reaches the port may ask for `//`, without a token. */
function urlOf({ url = '/' }: http.IncomingMessage): URL | null {
  try {
    return new URL(url, 'http://127.0.0.1');
  } catch {
    return null;
  }
}

function refuse(response: http.ServerResponse, code: number, why: string): void {
  response.writeHead(code, { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(`${why}\n`);
}

/**
 * A browser keeps cookies by host, not by port, and the pages of several hosts are all at 127.0.0.1, each
 * at the port that ssh forwards: with one name, the page opened last would shut the others out.
 */
function cookieOf({ headers }: http.IncomingMessage): string {
  return `weft-dash-${/:(\d+)$/.exec(headers.host ?? '')?.[1] ?? '80'}`;
}

function tokenIn(request: http.IncomingMessage): string {
  const name = `${cookieOf(request)}=`;
  const cookies = (request.headers.cookie ?? '').split(/; */);
  return cookies.find((one) => one.startsWith(name))?.slice(name.length) ?? '';
}

function eventOf(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
