/**
 * What the soak does its worst to: two hosts, each with a weft of its own installation, a container,
 * and a log that goes to another kind of place (a file on a small disk, a pipe with a reader).
 *
 *   xbox1 ─ docker0 ─ alpha ─ ens33 ══ switch ══ ens33 ─ beta ─ docker0 ─ xbox2
 *                                         ╚══ etcd
 */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import type { Etcd } from '../../src/lab/etcd.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import type { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import { CONFIG, PREFIX, weftFlags } from '../network/overlay.js';

/** The repository: from dist/src/cli/weft.js up. */
const ROOT = path.resolve(path.dirname(WEFT), '../../..');
/** Small, so that it is soon full. */
const DISK_KIB = 512;

export interface Station {
  readonly host: Host;
  readonly address: string;
  readonly container: Container;
  readonly weft: Running;
  /** Of weft itself, as the lab sees it. */
  readonly pid: number;
  /** Only where the log goes into a pipe. */
  reader: Running | undefined;
}

export interface Site {
  readonly lab: Lab;
  readonly etcd: Etcd;
  readonly stations: readonly [Station, Station];
}

export const INSTALLATION = '/run/install';
/** The disk that the log is on, where it goes into a file. */
export const LOG_DISK = '/run/log';
/** The disk that weft keeps its own files on. */
export const RUN_DISK = '/run/weft';

export async function openSite(lab: Lab): Promise<Site> {
  const network = await lab.network();
  const etcd = await network.etcd();
  await etcd.put(`${PREFIX}/config`, CONFIG);
  const alpha = await network.host('alpha', { address: '192.168.56.11/24' });
  const beta = await network.host('beta', { address: '192.168.56.12/24' });
  for (const host of [alpha, beta]) {
    install(host.path(INSTALLATION));
    for (const disk of [LOG_DISK, RUN_DISK]) {
      await host.run(['mkdir', '-p', disk]);
      await host.run(['mount', '-n', '-t', 'tmpfs', '-o', `size=${DISK_KIB}k`, 'disk', disk]);
    }
  }
  return {
    lab,
    etcd,
    stations: [await start(alpha, etcd, 'file'), await start(beta, etcd, 'pipe')],
  };
}

/** A copy of what `npm run setup` built; the packages are the repository's own. */
export function install(folder: string): void {
  fs.mkdirSync(folder, { recursive: true });
  fs.cpSync(`${ROOT}/dist/src`, `${folder}/dist/src`, { recursive: true });
  fs.cpSync(`${ROOT}/native/build`, `${folder}/native/build`, { recursive: true });
  fs.copyFileSync(`${ROOT}/package.json`, `${folder}/package.json`);
  fs.symlinkSync(`${ROOT}/node_modules`, `${folder}/node_modules`);
}

async function start(host: Host, etcd: Etcd, log: 'file' | 'pipe'): Promise<Station> {
  let reader: Running | undefined;
  if (log === 'pipe') {
    await host.run(['mkfifo', `${LOG_DISK}/pipe`]);
    reader = readLog(host);
  }
  const command = [process.execPath, `${INSTALLATION}/dist/src/cli/weft.js`, 'up', '-v=1'];
  const words = [...command, ...weftFlags(etcd), '-on-lease-loss=reacquire']
    .map((word) => `'${word}'`)
    .join(' ');
  const where = log === 'file' ? `>>${LOG_DISK}/weft.log` : `>${LOG_DISK}/pipe`;
  const weft = host.start(['sh', '-c', `exec ${words} 2${where}`], { name: 'weft up' });
  await until(async () => (await statusOf(host))?.lease !== undefined, 15_000, 'weft is ready');
  const { pid } = (await statusOf(host)) as Status;
  const container = await host.container(host.name === 'alpha' ? 'xbox1' : 'xbox2');
  return { host, address: host.address, container, weft, pid, reader };
}

/** Reads the pipe that a log goes into. */
export function readLog(host: Host): Running {
  return host.start(['sh', '-c', `exec cat ${LOG_DISK}/pipe >>/run/weft-${host.name}.log`], {
    name: 'log reader',
  });
}

/** All that a host's weft has said and that has reached its end. */
export async function logOf({ host, reader }: Station): Promise<string> {
  const file = reader === undefined ? `${LOG_DISK}/weft.log` : `/run/weft-${host.name}.log`;
  return (await host.run(['cat', file], { mayFail: true })).stdout;
}

/** Undefined while weft does not answer, or is not ready. */
export async function statusOf(host: Host): Promise<Status | undefined> {
  const asked = await host.run([process.execPath, WEFT, 'status', '--json'], { mayFail: true });
  try {
    return JSON.parse(asked.stdout) as Status;
  } catch {
    return undefined;
  }
}

async function until(holds: () => Promise<boolean>, ms: number, what: string): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(100);
  }
}
