/**
 * A real etcd for one test file, on loopback, in a directory of its own. `WEFT_ETCD` names another
 * server than the one that is installed: the tests hold for every version from 3.4 on.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

/** The server's program. */
export const ETCD = process.env.WEFT_ETCD ?? 'etcd';

const version = spawnSync(ETCD, ['--version'], { encoding: 'utf8' });
/** 3.4 as 304; 0 when there is none. */
const numeric = ((found) => Number(found?.[1]) * 100 + Number(found?.[2]) || 0)(
  /etcd Version: (\d+)\.(\d+)/.exec(version.stdout ?? ''),
);

/** Why there is no etcd here, for `skip`; false when there is one. */
export const noEtcd: string | false = missing();

function missing(): string | false {
  if (version.status !== 0) {
    return process.env.WEFT_ETCD === undefined
      ? 'etcd is not installed (Debian: etcd-server)'
      : `WEFT_ETCD=${ETCD} is no etcd`;
  }
  const env = { ...process.env, ETCDCTL_API: '3' };
  if (spawnSync('etcdctl', ['version'], { env }).status !== 0) {
    return 'etcdctl is not installed (Debian: etcd-client)';
  }
  return false;
}

/** Why this etcd has no v2 API (`--enable-v2`), for `skip`; false when it has. */
export const noV2: string | false = numeric >= 306 && 'etcd has no v2 API from 3.6 on';

/** Switches the v2 API on where there is one. */
export const V2_ON: readonly string[] = noV2 === false ? ['--enable-v2'] : [];

export class EtcdServer {
  readonly port: number;
  readonly endpoint: string;
  /** Where other members reach it. */
  readonly peer: string;
  readonly #directory: string;
  #process: ChildProcess | undefined;

  private constructor(port: number, peerPort: number, directory: string) {
    this.port = port;
    this.#directory = directory;
    this.endpoint = `http://127.0.0.1:${port}`;
    this.peer = `http://127.0.0.1:${peerPort}`;
  }

  /** Ports and a directory, but no process yet. */
  static async prepare(): Promise<EtcdServer> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-etcd-'));
    return new EtcdServer(await freePort(), await freePort(), directory);
  }

  static async start(...args: string[]): Promise<EtcdServer> {
    const server = await EtcdServer.prepare();
    await server.run(...args);
    return server;
  }

  async run(...args: string[]): Promise<void> {
    const { peer } = this;
    this.#process = spawn(
      ETCD,
      [
        '--name=test',
        `--data-dir=${path.join(this.#directory, 'data')}`,
        `--listen-client-urls=${this.endpoint}`,
        `--advertise-client-urls=${this.endpoint}`,
        `--listen-peer-urls=${peer}`,
        `--initial-advertise-peer-urls=${peer}`,
        `--initial-cluster=test=${peer}`,
        '--unsafe-no-fsync',
        '--log-level=error',
        ...args,
      ],
      { stdio: 'ignore' },
    );
    for (let tries = 0; tries < 200; tries++) {
      if (await answers(this.port)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('etcd did not start within 10 s');
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  /** Ends the process; the data stays for another `run`. */
  async halt(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (process === undefined || process.exitCode !== null) return;
    const gone = new Promise((resolve) => process.once('exit', resolve));
    process.kill('SIGKILL');
    await gone;
  }

  /** Copies the data of a process that was ended. */
  backUp(): void {
    fs.cpSync(path.join(this.#directory, 'data'), path.join(this.#directory, 'backup'), {
      recursive: true,
    });
  }

  /** Puts the copy in the place of the data of a process that was ended. */
  restore(): void {
    this.wipe();
    fs.renameSync(path.join(this.#directory, 'backup'), path.join(this.#directory, 'data'));
  }

  /** Copies the data of another, which was ended like this one; their members' names are one. */
  takeDataOf(other: EtcdServer): void {
    this.wipe();
    const data = path.join(other.#directory, 'data');
    fs.cpSync(data, path.join(this.#directory, 'data'), { recursive: true });
  }

  /** Forgets the data of a process that was ended; the next `run` begins with nothing. */
  wipe(): void {
    fs.rmSync(path.join(this.#directory, 'data'), { recursive: true, force: true });
  }

  /** Ends the process and forgets its data. */
  async end(): Promise<void> {
    await this.halt();
    fs.rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Runs etcdctl; gives its standard output. */
  ctl(...args: string[]): string {
    const done = spawnSync('etcdctl', [`--endpoints=${this.endpoint}`, ...args], {
      encoding: 'utf8',
      env: { ...process.env, ETCDCTL_API: '3' },
    });
    if (done.status !== 0) throw new Error(`etcdctl ${args.join(' ')}: ${done.stderr}`);
    return done.stdout;
  }
}

async function answers(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/health`);
    return (await response.text()).includes('"true"');
  } catch {
    return false;
  }
}

export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
