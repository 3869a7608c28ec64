/**
 * A machine of the lab that boots: a fresh Debian of its own, with systemd as process 1, in all kinds
 * of namespaces. It can be rebooted: the disk stays, everything else is new, the network included.
 *
 * The disk is an overlay in the lab's memory over a root that `makeRoot` made. Docker's and
 * containerd's folders are no overlay, on which there can be no other.
 */
import fs from 'node:fs';
import { cgroupOf } from '../../src/lab/cgroups.js';
import { type Result, type Running, type RunOptions, run } from '../../src/lab/command.js';
import { LAB_MARK } from '../../src/lab/enter.js';
import type { Lab } from '../../src/lab/lab.js';
import { hold, Namespace, NETWORK_ONLY } from '../../src/lab/namespace.js';
import type { Network } from '../../src/lab/network.js';
import { plug } from '../../src/lab/switch.js';

/** Programs of this host that a machine needs. */
export const NEEDS = ['debootstrap', 'unshare', 'nsenter', 'pivot_root', 'mount', 'mknod'] as const;

/**
 * From inside the new mount, process and network namespaces to process 1: $1 the root below, $2 the
 * folder of the disk, $3 the control group that becomes the root of the machine's own, $4 its name.
 * What is not apart for each namespace can be read alone: /sys, and the sysctls of the whole kernel.
 */
const BOOT = `
set -e
echo 0 >"$3/cgroup.procs"
hostname "$4"
cd "$2"
mount -t overlay -o "lowerdir=$1,upperdir=up,workdir=work" disk root
cd root
for d in docker containerd; do mkdir -p var/lib/$d; mount --bind ../$d var/lib/$d; done
mount -t proc proc proc
for d in kernel vm fs; do mount --bind proc/sys/$d proc/sys/$d; mount -o remount,bind,ro proc/sys/$d; done
mount -t sysfs -o ro sys sys
mount -t tmpfs -o mode=755,nosuid,nodev run run
mount -t tmpfs tmp tmp
mount -t tmpfs -o mode=755,nosuid dev dev
for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
mkdir dev/net dev/pts dev/shm
mknod -m 666 dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p old
pivot_root . old
exec unshare --cgroup sh -c '
  mount -t cgroup2 cgroup /sys/fs/cgroup
  umount -l /old
  exec env -i container=weft PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb \\
    /lib/systemd/systemd --unit=multi-user.target'`;

/** One life of a machine, from its start to its end. */
class Life extends Namespace {
  /** What ends with the machine's process 1. */
  running!: Running;
  /** systemd, as the lab sees it. */
  pid!: number;

  /** The network, before anything runs in it. */
  static async hold(name: string): Promise<Life> {
    return new Life(name, await hold(name, NETWORK_ONLY), NETWORK_ONLY);
  }

  /** `argv` is unshare, whose only child is the machine's process 1. */
  async begin(argv: readonly string[]): Promise<void> {
    this.running = this.start(argv, { name: this.name });
    const children = `/proc/${this.running.pid}/task/${this.running.pid}/children`;
    for (let look = 0; look < 500 && this.running.code === undefined; look += 1) {
      const first = fs.existsSync(children) ? fs.readFileSync(children, 'utf8').split(' ')[0] : '';
      if (first) {
        this.pid = Number(first);
        return;
      }
      await pause(10);
    }
    throw new Error(`${this.name} has no process 1: ${this.running.tail(10)}`);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export interface MachineOptions {
  readonly name: string;
  /** A root as `makeRoot` makes it. */
  readonly root: string;
  /** With the prefix length. */
  readonly address: string;
}

export class Machine {
  readonly #network: Network;
  readonly #options: MachineOptions;
  readonly #disk: string;
  #lives = 0;
  #life: Life | undefined;

  constructor(lab: Lab, network: Network, options: MachineOptions) {
    this.#network = network;
    this.#options = options;
    this.#disk = lab.directory('machines', options.name);
    for (const name of ['up', 'work', 'root', 'docker', 'containerd']) {
      lab.directory('machines', options.name, name);
    }
  }

  /** Starts it, and resolves when systemd answers; the boot goes on. */
  async boot(): Promise<void> {
    this.#lives += 1;
    const name = `${this.#options.name}-${this.#lives}`;
    const group = makeGroup(name);
    const kinds = ['--mount', '--pid', '--ipc', '--fork', '--kill-child'];
    const argv = [
      ...['unshare', ...kinds, '--propagation', 'private', 'sh', '-c', BOOT, 'sh'],
      ...[this.#options.root, this.#disk, group, this.#options.name],
    ];
    const life = await Life.hold(name);
    this.#life = life;
    await plug(life, 'ens33', this.#network.switch, { address: this.#options.address });
    await life.ip(`route add default via ${this.#network.switch.gateway}`);
    await life.begin(argv);
    const deadline = Date.now() + 20_000;
    for (;;) {
      const { code } = await this.run(['systemctl', 'list-jobs'], { mayFail: true });
      if (code === 0) return;
      if (life.running.code !== undefined || Date.now() > deadline) {
        throw new Error(`${name} did not boot: ${life.running.tail(20)}`);
      }
      await pause(50);
    }
  }

  /** Runs a program in it. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run(['nsenter', '--target', String(this.#now.pid), '--all', ...argv], options);
  }

  /** Runs a line of shell in it, and resolves with what it printed, without the end of line. */
  async sh(line: string, options: RunOptions = {}): Promise<string> {
    const { stdout } = await this.run(['sh', '-c', line], { timeout: 60_000, ...options });
    return stdout.trimEnd();
  }

  /** Writes a file in it. */
  async write(file: string, text: string): Promise<void> {
    await this.run(['sh', '-c', 'mkdir -p "$(dirname "$1")"; cat >"$1"', 'sh', file], {
      input: text,
    });
  }

  /** Puts a file of this host's into its /root. */
  async bring(file: string, name: string): Promise<void> {
    fs.copyFileSync(file, `/proc/${this.#now.pid}/root/root/${name}`);
  }

  /** `systemctl reboot`, and what comes of it. Resolves as `boot` does. */
  async reboot(): Promise<void> {
    await this.shutDown();
    await this.boot();
  }

  /** `systemctl poweroff`; after a minute its process 1 is killed, and that is an error. */
  async shutDown(): Promise<void> {
    const life = this.#now;
    await this.run(['systemctl', 'poweroff'], { mayFail: true });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      process.kill(life.pid, 'SIGKILL');
    }, 60_000);
    await life.running.exited;
    clearTimeout(timer);
    await life.close();
    this.#life = undefined;
    if (late) throw new Error(`${life.name} did not shut down within a minute`);
  }

  /** Ends it as a power failure does. */
  async close(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    try {
      process.kill(life.pid, 'SIGKILL');
    } catch {
      // Ended by itself.
    }
    await life.running.exited;
    await life.close();
  }

  get #now(): Life {
    if (this.#life === undefined) throw new Error(`${this.#options.name} does not run`);
    return this.#life;
  }
}

/** A control group of the lab's, in version 2, which goes with the lab. */
function makeGroup(name: string): string {
  const [, point] = /^(?:\S+ ){4}(\S+) .* - cgroup2 /m.exec(mounts()) ?? [];
  if (point === undefined) throw new Error('no control groups of version 2 are mounted here');
  const folder = `${point}/${cgroupOf(process.env[LAB_MARK]!)}/${name}`;
  fs.mkdirSync(folder, { recursive: true });
  return folder;
}

function mounts(): string {
  return fs.readFileSync('/proc/self/mountinfo', 'utf8');
}
