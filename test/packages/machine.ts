/**
 * A host of the lab that is a fresh Debian: everything but its network is that of a root which
 * `makeRoot` made, in a layer of its own in memory. What documents tell an operator to type is typed
 * here as it stands.
 */
import fs from 'node:fs';
import path from 'node:path';
import { cgroupOf } from '../../src/lab/cgroups.js';
import type { Result } from '../../src/lab/command.js';
import { LAB_MARK } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import type { Network } from '../../src/lab/network.js';

const SYSTEMCTL = path.resolve('test/packages/systemctl.sh');

/** Debian packages of a machine beside the least that a Debian has: the lab has no mirror of it. */
export const MACHINE = [
  ...['iproute2', 'iptables', 'nftables', 'procps', 'iputils-ping', 'ca-certificates', 'hostname'],
  ...['etcd-server', 'etcd-client', 'docker.io', 'docker-cli', 'busybox-static'],
  'containernetworking-plugins',
];

/**
 * Turns the host's root. /run stays what the lab gave the host; /proc, /sys and /dev are the lab's;
 * what an engine of Docker's would change of the machine below is hidden from it.
 */
const TURN = `
set -e
lower=$1 systemctl=$2 group=$3 layers=/mnt
mount -t tmpfs machine "$layers"; mkdir "$layers/up" "$layers/work" "$layers/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$layers/up,workdir=$layers/work" machine "$layers/root"
cp "$systemctl" "$layers/root/usr/bin/systemctl"
ln -s /usr/sbin/dockerd "$layers/root/usr/bin/dockerd"
: >"$layers/root/etc/lab-machine"
cd "$layers/root"
for name in proc sys dev run; do mount --rbind "/$name" "$name"; done
[ ! -d sys/kernel/security ] || mount -t tmpfs none sys/kernel/security
if [ -d proc/sys/kernel/keys ]; then
  mkdir tmp/keys && cp proc/sys/kernel/keys/* tmp/keys/ && mount --bind tmp/keys proc/sys/kernel/keys
fi
mkdir -p etc/docker var/lib/docker run/systemd/system old
mount -t tmpfs docker var/lib/docker
echo '{"exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": "/'"$group"'"}' >etc/docker/daemon.json
: >etc/resolv.conf
: >etc/apt/sources.list
pivot_root . old
umount -l /old
rmdir /old
ip link set ens33 down; ip link set ens33 name eth0; ip link set eth0 up
ip route replace default via 192.168.56.1`;

const ENVIRONMENT = [
  ...['env', '-i', '-C', '/root', 'HOME=/root', 'TERM=dumb', 'LANG=C.UTF-8'],
  ...['DEBIAN_FRONTEND=noninteractive', 'DOCKER_BUILDKIT=0'],
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
];

export class Machine {
  readonly host: Host;

  private constructor(host: Host) {
    this.host = host;
  }

  /** `root` is one of `makeRoot`, `name` new in the lab. Neither Docker nor a router before. */
  static async create(
    network: Network,
    root: string,
    name: string,
    address: string,
  ): Promise<Machine> {
    const host = await network.host(name, { address: `${address}/24`, forwarding: false });
    const group = cgroupOf(process.env[LAB_MARK]!);
    await host.run(['sh', '-c', TURN, 'sh', fs.realpathSync(root), SYSTEMCTL, group]);
    return new Machine(host);
  }

  /** What root types in a fresh shell in /root; both streams in one, as a terminal shows them. */
  async type(text: string, seconds = 90): Promise<Result> {
    // What is typed as root on a machine of the lab must never run anywhere else.
    const shell = [
      'timeout',
      String(seconds),
      'sh',
      '-e',
      '-c',
      `[ -e /etc/lab-machine ] || exit 99\nexec 2>&1\n${text}`,
    ];
    return this.host.run([...ENVIRONMENT, ...shell], {
      timeout: seconds * 1_000 + 5_000,
      mayFail: true,
    });
  }

  /** Writes a file of the machine, `mode` being its permissions. */
  async write(file: string, text: string | Buffer, mode = 0o644): Promise<void> {
    const name = `file-${path.basename(file)}`;
    this.host.write(`/run/${name}`, '');
    fs.writeFileSync(this.host.path(`/run/${name}`), text);
    const line = `mkdir -p "$(dirname "$2")" && mv "/run/$1" "$2" && chmod ${mode.toString(8)} "$2"`;
    await this.host.run(['sh', '-c', line, 'sh', name, file]);
  }

  /** Ends what was started there, containers first. */
  async close(): Promise<void> {
    await this.type(
      'docker ps -q 2>/dev/null | xargs -r docker kill >/dev/null 2>&1 || true\n' +
        'for pid in /run/units/*.pid; do [ ! -e "$pid" ] || systemctl stop "$(basename "$pid" .pid)" || true; done',
    );
    await this.host.close();
  }
}
