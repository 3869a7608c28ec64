/** `weft dash`: asks the running weft every two seconds, and has a process without rights serve the page. */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { systemClock, timeOfDay } from '../control/daemon/clock.js';
import { DOCUMENT, STYLE } from '../operate/dash/document.js';
import type { FromServer, ServedFile, ToServer } from '../operate/dash/messages.js';
import type { Answer } from '../operate/status/status.js';
import { findRunning } from './find-running.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { DASH } from './manual/dash.js';
import { helpOf } from './manual/help.js';
import { complain, print, printText } from './print.js';

const EVERY_MS = 2_000;
/** A rate needs two answers: the second is asked for soon. */
const SOON_MS = 500;
/** nobody's number, on every Linux. */
const NOBODY = 65_534;

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(DASH), args);
  if (flags.bool('help')) {
    printText(helpOf(DASH));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const port = flags.int('port');
  if (port < 0 || port > 65_535) throw new UsageError(`-port=${port}: give 0 to 65535`);
  const files = readFiles();
  const found = await findRunning(flags, process.env);
  if (found.several) {
    complain(`weft dash: ${found.why.join('; ')}`);
    return 2;
  }
  const token = randomBytes(16).toString('hex');
  const server = startServer();
  const isRoot = process.getuid?.() === 0;
  const become = isRoot && isThere(NOBODY) ? NOBODY : null;
  if (isRoot && become === null) {
    complain(
      'weft dash: the process that serves keeps the rights of this user: there is no other here',
    );
  }
  say(server, { kind: 'begin', port, token, become, files });
  const answer = await heard(server);
  if (answer.kind === 'failed') {
    complain(`weft dash: ${describeFailure(answer, port)}`);
    return 1;
  }
  print(`http://127.0.0.1:${answer.port}/?token=${token}`);
  complain('weft dash: open this address; Ctrl-C ends it');
  return feed(server, flags);
}

/** Whether this user namespace has a user: one that an ordinary user makes has that user alone, as root. */
function isThere(user: number): boolean {
  const map = '/proc/self/uid_map';
  if (!fs.existsSync(map)) return true;
  return fs
    .readFileSync(map, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/ +/).map(Number) as [number, number, number])
    .some(([first, , count]) => first <= user && user < first + count);
}

/** What the page is made of, by path. */
export function readFiles(): Record<string, ServedFile> {
  const { resolve } = createRequire(import.meta.url);
  const read = (file: string | URL): string => fs.readFileSync(file, 'utf8');
  const javascript = 'text/javascript; charset=utf-8';
  const css = 'text/css; charset=utf-8';
  return {
    '/': { type: 'text/html; charset=utf-8', text: DOCUMENT },
    '/style.css': { type: css, text: STYLE },
    '/uplot.css': { type: css, text: read(resolve('uplot/dist/uPlot.min.css')) },
    '/uplot.js': { type: javascript, text: read(resolve('uplot/dist/uPlot.iife.min.js')) },
    '/page.js': {
      type: javascript,
      text: read(new URL('../operate/dash/page/page.js', import.meta.url)),
    },
  };
}

function startServer(): ChildProcess {
  const program = new URL('../operate/dash/process.js', import.meta.url);
  // Nothing of the environment: it may hold the password of etcd.
  return fork(program, { env: {}, execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

function say(server: ChildProcess, message: ToServer): void {
  if (server.connected) server.send(message, () => {});
}

function heard(server: ChildProcess): Promise<FromServer> {
  return new Promise((resolve) => {
    server.once('message', (message) => resolve(message as FromServer));
    server.once('exit', (code, signal) => {
      resolve({
        kind: 'failed',
        code: '',
        message: `the process that serves ended (${code ?? signal})`,
      });
    });
    server.once('error', ({ message }) => resolve({ kind: 'failed', code: '', message }));
  });
}

function describeFailure({ code, message }: FromServer & { kind: 'failed' }, port: number): string {
  if (code === 'EADDRINUSE') {
    return `port ${port} on 127.0.0.1 is taken (see: ss -ltnp 'sport = :${port}'); give another -port`;
  }
  return `cannot serve on 127.0.0.1:${port}: ${message}`;
}

/** Until a signal, or the server's end. */
async function feed(server: ChildProcess, flags: Flags): Promise<number> {
  let wake = () => {};
  let over: number | undefined;
  const end = (code: number): void => {
    over ??= code;
    wake();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(0));
  server.once('exit', (code, signal) => {
    if (over === undefined)
      complain(`weft dash: the process that serves ended (${code ?? signal})`);
    end(1);
  });
  for (let waitMs = SOON_MS; over === undefined; waitMs = EVERY_MS) {
    const answer = await ask(flags);
    say(server, { kind: 'answer', answer, time: timeOfDay().getTime() / 1000 });
    await new Promise<void>((resolve) => {
      const cancel = systemClock.after(waitMs, resolve);
      wake = () => {
        cancel();
        resolve();
      };
      if (over !== undefined) wake();
    });
  }
  if (server.connected) server.disconnect();
  return over;
}

async function ask(flags: Flags): Promise<Answer | string> {
  const { answer, why } = await findRunning(flags, process.env);
  return answer ?? why.join('; ');
}
