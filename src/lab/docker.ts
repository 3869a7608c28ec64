/**
 * A Docker engine of its own on a host of the lab, and its containers.
 *
 * A host has a /run of its own, where the engine's sockets and state are; its images and
 * containers are there as well (in memory), so that they go with the lab. What else an engine
 * would change on the machine is kept from it by `shield`.
 */
import fs from 'node:fs';
import process from 'node:process';
import { cgroupOf } from './cgroups.js';
import type { Result, Running, RunOptions } from './command.js';
import { findProgram, LAB_MARK } from './enter.js';
import type { Host } from './host.js';

/** What this machine lacks for engines in a lab, as one line that says what to do. */
export function dockerLacks(): string | undefined {
  if (process.getuid?.() !== 0) return 'a lab with Docker engines needs root';
  for (const [program, packages] of [
    ['dockerd', 'docker.io'],
    ['docker', 'docker.io, from Debian 13 on docker-cli'],
    ['iptables', 'iptables'],
    ['busybox', 'busybox-static'],
    ['ldd', 'libc-bin'],
    ['tar', 'tar'],
  ] as const) {
    if (!findProgram(program)) {
      return `a lab with Docker engines needs ${program}, which is not installed (Debian: ${packages})`;
    }
  }
  return undefined;
}

const SOCKET = 'unix:///run/docker.sock';

/** For the client: this engine, whatever the user's own environment and files say. */
const CLIENT = {
  DOCKER_HOST: SOCKET,
  DOCKER_CONFIG: '/run/docker-client',
  DOCKER_CONTEXT: '',
  DOCKER_TLS_VERIFY: '',
  DOCKER_API_VERSION: '',
};

/** For the engine: programs of the lab's first, see `shield`. */
const PROGRAMS = '/run/docker-programs';

/** Engines from 28.2 on have it, and let nothing in from other hosts without it. */
const DIRECT = '--allow-direct-routing';
/** For an address of a container whose port is not published they need this rule as well. */
const LET_IN = [
  'iptables',
  '-I',
  'DOCKER-USER',
  '-i',
  'flannel.1',
  '-o',
  'docker0',
  '-j',
  'ACCEPT',
];

export class Docker {
  readonly host: Host;
  /** dockerd; containerd and its kind are below it. */
  readonly daemon: Running;
  /** What was done so that other hosts reach containers, where the engine's version needs it. */
  readonly opened: string | undefined;

  private constructor(host: Host, daemon: Running, opened: string | undefined) {
    this.host = host;
    this.daemon = daemon;
    this.opened = opened;
  }

  /**
   * Starts an engine with these options of dockerd, such as `--bip=10.10.1.1/24`. Rejects when it
   * does not answer within 30 s.
   */
  static async start(host: Host, options: readonly string[]): Promise<Docker> {
    await shield(host);
    host.write('/run/docker-config.json', '{}\n');
    const direct = (await host.run(['dockerd', '--help'])).stdout.includes(DIRECT);
    const lab = process.env[LAB_MARK]!;
    const daemon = host.start(
      [
        ...['dockerd', '--host', SOCKET, '--data-root', '/run/docker-data'],
        ...['--exec-root', '/run/docker', '--pidfile', '/run/docker.pid'],
        ...['--config-file', '/run/docker-config.json', '--log-level', 'warn'],
        ...['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `/${cgroupOf(lab)}`],
        ...(direct ? [DIRECT] : []),
        ...options,
      ],
      { name: 'dockerd', env: { PATH: `${PROGRAMS}:${process.env.PATH}` } },
    );
    const opened = direct ? `${DIRECT}; ${LET_IN.join(' ')}` : undefined;
    const docker = new Docker(host, daemon, opened);
    host.onClose(() => docker.#killContainers());
    await docker.#ready(30_000);
    if (direct) await host.run(LET_IN);
    return docker;
  }

  /** Runs `docker` with these words against this engine, to its end. */
  run(words: readonly string[], options: RunOptions = {}): Promise<Result> {
    const env = { ...CLIENT, ...options.env };
    return this.host.run(['docker', ...words], { ...options, env });
  }

  /** Starts `docker` with these words beside the lab. */
  start(words: readonly string[], options: { name?: string } = {}): Running {
    return this.host.start(['docker', ...words], {
      name: words.join(' '),
      ...options,
      env: CLIENT,
    });
  }

  /** Makes an image of a tar file of its root folder, `command` being what runs in it. */
  async import(tar: string, image: string, command: readonly string[]): Promise<void> {
    await this.run(['import', '--change', `CMD ${JSON.stringify(command)}`, tar, image]);
  }

  /** `docker run -itd --name NAME IMAGE`. */
  async container(name: string, image: string): Promise<DockerContainer> {
    await this.run(['run', '-itd', '--name', name, image]);
    const [told] = JSON.parse((await this.run(['inspect', name])).stdout) as [Inspected];
    return new DockerContainer(this, name, told);
  }

  /** A shell as a container's first process ignores SIGTERM: dockerd would wait 15 s for it. */
  async #killContainers(): Promise<void> {
    const { stdout } = await this.run(['ps', '-q'], { mayFail: true });
    const ids = stdout.split('\n').filter((id) => id !== '');
    if (ids.length > 0) await this.run(['kill', ...ids], { mayFail: true });
  }

  async #ready(ms: number): Promise<void> {
    const deadline = Date.now() + ms;
    for (;;) {
      const { code, stderr } = await this.run(['version'], { mayFail: true });
      if (code === 0) return;
      const ended = this.daemon.code !== undefined;
      if (ended || Date.now() > deadline) {
        const what = ended ? `ended with code ${this.daemon.code}` : `was not ready after ${ms} ms`;
        throw new Error(
          `dockerd on ${this.host.name} ${what}: ${stderr.trim()}\n${this.daemon.tail(10)}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The part of `docker inspect` that is read here. */
interface Inspected {
  readonly State: { readonly Pid: number };
  readonly NetworkSettings: {
    readonly Networks: {
      readonly bridge: { readonly IPAddress: string; readonly Gateway: string };
    };
  };
}

/** A container of an engine; programs in it are those of its image. */
export class DockerContainer {
  readonly name: string;
  readonly docker: Docker;
  /** The container's address, without the prefix length. */
  readonly address: string;
  /** The bridge's address, the container's gateway. */
  readonly gateway: string;
  /** The container's first process, as the lab sees it. */
  readonly holder: number;

  constructor(docker: Docker, name: string, told: Inspected) {
    this.docker = docker;
    this.name = name;
    this.address = told.NetworkSettings.Networks.bridge.IPAddress;
    this.gateway = told.NetworkSettings.Networks.bridge.Gateway;
    this.holder = told.State.Pid;
  }

  /** `docker exec`, to the program's end. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    return this.docker.run(['exec', this.name, ...argv], options);
  }

  /** `docker exec` beside the lab. To stop it ends the client; the program ends with the container. */
  start(argv: readonly string[], options: { name?: string } = {}): Running {
    return this.docker.start(['exec', this.name, ...argv], options);
  }

  /** The container's network for programs of this machine, which its image has not. */
  get network(): Pick<DockerContainer, 'address' | 'holder' | 'run' | 'start'> {
    const { address, holder } = this;
    const { host } = this.docker;
    const enter = ['nsenter', '--target', String(holder), '--net'];
    return {
      ...{ address, holder },
      run: (argv, options) => host.run([...enter, ...argv], options),
      start: (argv, options) => host.start([...enter, ...argv], options),
    };
  }
}

/**
 * Hides from an engine what it would change on this machine and leave changed: its key in
 * /etc/docker, folders in /opt, the kernel's limit of keys, a profile loaded into AppArmor, kernel
 * modules (those it needs are loaded by the kernel itself). Seen by this host alone, as its mounts
 * are.
 */
async function shield(host: Host): Promise<void> {
  const folder = (name: string): string => {
    fs.mkdirSync(host.path(name), { recursive: true });
    return name;
  };
  for (const hidden of ['/etc', '/opt'].filter((name) => fs.existsSync(name))) {
    const layer = `/run/docker-layers${hidden}`;
    const layers = `lowerdir=${hidden},upperdir=${folder(`${layer}/upper`)},workdir=${folder(`${layer}/work`)}`;
    await host.run(['mount', '-n', '-t', 'overlay', '-o', layers, 'lab', hidden]);
  }
  const keys = '/proc/sys/kernel/keys';
  if (fs.existsSync(keys)) {
    const copy = folder('/run/docker-keys');
    for (const name of fs.readdirSync(keys)) {
      host.write(`${copy}/${name}`, fs.readFileSync(`${keys}/${name}`, 'utf8'));
    }
    await host.run(['mount', '-n', '--bind', copy, keys]);
  }
  if (fs.existsSync('/sys/kernel/security')) {
    await host.run(['mount', '-n', '-t', 'tmpfs', 'none', '/sys/kernel/security']);
  }
  fs.symlinkSync('/bin/true', `${host.path(folder(PROGRAMS))}/modprobe`);
}
