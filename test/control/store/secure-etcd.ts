/** A real etcd with TLS, on loopback, in a directory of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Certificates, makeCertificates } from './certificates.js';
import { ETCD, freePort } from './etcd-server.js';

export class SecureEtcd {
  readonly directory: string;
  readonly certificates: Certificates;
  readonly endpoint: string;
  readonly #ports: readonly number[];
  #process: ChildProcess | undefined;

  private constructor(directory: string, ports: readonly number[]) {
    this.directory = directory;
    this.certificates = makeCertificates(directory);
    this.#ports = ports;
    this.endpoint = `https://127.0.0.1:${ports[0]}`;
  }

  static async start(...args: string[]): Promise<SecureEtcd> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-etcd-'));
    const ports = [await freePort(), await freePort(), await freePort()];
    const etcd = new SecureEtcd(directory, ports);
    await etcd.run(...args);
    return etcd;
  }

  /** Starts the server on the data of the last time. */
  async run(...args: string[]): Promise<void> {
    const { server, serverKey } = this.certificates;
    const peer = `http://127.0.0.1:${this.#ports[1]}`;
    const metrics = `http://127.0.0.1:${this.#ports[2]}`;
    this.#process = spawn(
      ETCD,
      [
        ...['--name=test', `--data-dir=${path.join(this.directory, 'data')}`],
        ...[`--listen-client-urls=${this.endpoint}`, `--advertise-client-urls=${this.endpoint}`],
        ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
        ...[`--initial-cluster=test=${peer}`, '--unsafe-no-fsync', '--log-level=error'],
        ...[`--cert-file=${server}`, `--key-file=${serverKey}`, `--listen-metrics-urls=${metrics}`],
        ...args,
      ],
      { stdio: 'ignore', env: { ...process.env, ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
    for (let tries = 0; tries < 200; tries += 1) {
      try {
        const response = await fetch(`${metrics}/health`);
        if ((await response.text()).includes('"true"')) return;
      } catch {
        // Not yet.
      }
      await sleep(50);
    }
    throw new Error('etcd did not start within 10 s');
  }

  async halt(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  async end(): Promise<void> {
    await this.halt();
    fs.rmSync(this.directory, { recursive: true, force: true });
  }

  /** Runs etcdctl, with a client certificate; gives its standard output. */
  ctl(...args: string[]): string {
    const { ca, client, clientKey } = this.certificates;
    const tls = [`--cacert=${ca}`, `--cert=${client}`, `--key=${clientKey}`];
    const done = spawnSync('etcdctl', [`--endpoints=${this.endpoint}`, ...tls, ...args], {
      encoding: 'utf8',
      env: { ...process.env, ETCDCTL_API: '3' },
    });
    if (done.status !== 0) throw new Error(`etcdctl ${args.join(' ')}: ${done.stderr}`);
    return done.stdout;
  }

  /** Users root and weft, the latter with the least that a flannel node needs below `prefix`. */
  addUsers(prefix: string, passwords: { root: string; weft: string }): void {
    this.ctl('user', 'add', `root:${passwords.root}`);
    this.ctl('user', 'grant-role', 'root', 'root');
    this.ctl('role', 'add', 'node');
    this.ctl('role', 'grant-permission', 'node', 'read', `${prefix}/config`);
    this.ctl('role', 'grant-permission', 'node', 'readwrite', `${prefix}/subnets/`, '--prefix');
    this.ctl('user', 'add', `weft:${passwords.weft}`);
    this.ctl('user', 'grant-role', 'weft', 'node');
  }
}
