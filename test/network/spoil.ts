/** Doing something to a host on which weft runs, and seeing that weft puts it right. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { listSockets, readStatus, socketPath } from '../../src/operate/status/socket.js';
import type { Status } from '../../src/operate/status/status.js';

/** weft promises 5 s; a machine that does much else takes longer. */
const WITHIN = 15_000;

/** Asks until it holds. Rejects, with what `describe` says, when it does not in time. */
export async function eventually(
  check: () => Promise<boolean>,
  describe: () => string,
  within = WITHIN,
): Promise<void> {
  const deadline = performance.now() + within;
  while (!(await check())) {
    assert.ok(performance.now() < deadline, `not within ${within} ms: ${describe()}`);
    await sleep(30);
  }
}

/** Whether packets pass there and back. */
export async function passes(from: Container, to: Container): Promise<boolean> {
  const ping = ['ping', '-c', '1', '-W', '1', to.address];
  return (await from.run(ping, { mayFail: true })).code === 0;
}

/**
 * The status, from the socket itself where just one weft has one there: a `weft status` for each look
 * costs a process. Where that does not answer, what `weft status` prints.
 */
export async function statusOf(host: Host): Promise<Status> {
  const folder = host.path('/run/weft');
  const [name, ...more] = listSockets(folder);
  if (name !== undefined && more.length === 0) {
    try {
      return (await readStatus(socketPath(name, folder))) as Status;
    } catch {
      // The command says why.
    }
  }
  const { stdout } = await host.run([process.execPath, WEFT, 'status', '--json'], {
    mayFail: true,
  });
  return JSON.parse(stdout) as Status;
}

/** What `ip` prints with these words, e.g. `addr show dev flannel.1`; empty when it refuses. */
export async function show(host: Host, words: string): Promise<string> {
  const { code, stdout } = await host.run(['ip', ...words.split(' ')], { mayFail: true });
  return code === 0 ? stdout : '';
}

/**
 * What is true on a busy machine, and is no matter of a test: an etcd that was not reached in time, and
 * is again; firewall programs that take long.
 */
const BUSY = /cannot follow the leases|answers again, the leases|the firewall programs take long/;

/** The lines of its log from this character on, without what a busy machine adds. */
export function toldSince(weft: Running, from = 0): string[] {
  const lines = weft.output.slice(from).split('\n');
  return lines.filter((line) => line !== '' && !BUSY.test(line));
}

/**
 * What is read of each program that a process has started and that runs: not of one that is just being
 * made, which is still what started it, nor of one that ends meanwhile.
 */
export function ofChildren<T>(pid: number, read: (child: string) => T): T[] {
  const own = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return children.flatMap((child) => {
    try {
      if (fs.readFileSync(`/proc/${child}/cmdline`, 'utf8') === own) return [];
      return [read(child)];
    } catch {
      return [];
    }
  });
}

export interface Spoilt {
  readonly weft: Running;
  readonly containers: readonly [Container, Container];
  spoil(): Promise<unknown>;
  /** Whether all is as before. */
  right(): Promise<boolean>;
  /** The one line that weft says. */
  readonly said: RegExp;
  readonly within?: number;
  /** So many milliseconds until weft has looked again, and found nothing. */
  readonly quiet?: number;
}

/** Spoils, waits until it is right and packets pass both ways; weft has said just one line. */
export async function spoilAndSee(spoilt: Spoilt): Promise<string> {
  const { weft, containers, spoil, right, said, within = WITHIN, quiet = 1_300 } = spoilt;
  const before = weft.output.length;
  const lines = () => weft.output.slice(before);
  assert.ok(await right(), 'it is right before');
  await spoil();
  await eventually(right, () => `it is not put right:\n${lines()}`, within);
  const [a, b] = containers;
  await eventually(
    () => passes(a, b),
    () => `no packet passes:\n${lines()}`,
  );
  await eventually(
    () => passes(b, a),
    () => `no packet passes back:\n${lines()}`,
  );
  await sleep(quiet);
  const told = toldSince(weft, before);
  assert.equal(told.length, 1, lines());
  assert.match(told[0]!, said);
  assert.equal(weft.code, undefined);
  return told[0]!;
}
