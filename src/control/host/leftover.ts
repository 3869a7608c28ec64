/**
 * What a flanneld that was stopped leaves in weft's way: its VXLAN device. It has the name that
 * weft's TUN is to have, holds the UDP port, and goes on forwarding. With the device go its
 * address, routes, neighbours and forwarding entries.
 */
import fs from 'node:fs';
import { HostError } from './errors.js';
import type { Runner } from './runner.js';
import { listVxlans, type Vxlan } from './vxlan.js';

/** What weft is to have: the device's name, and of the network config the VNI and the UDP port. */
export interface Claim {
  device: string;
  vni: number;
  port: number;
}

/** The inode of the first PID namespace (PROC_PID_INIT_INO in linux/proc_ns.h). */
const FIRST_PID_NAMESPACE = 'pid:[4026531836]';

/**
 * The VXLAN device of weft's name and VNI, or null if there is none. Throws a HostError when it is
 * in use by a running flanneld, or when another VXLAN device would keep the port.
 */
export async function findLeftover(
  runner: Runner,
  { device, vni, port }: Claim,
  proc = '/proc',
): Promise<Vxlan | null> {
  const vxlans = await listVxlans(runner);
  const left = vxlans.find((one) => one.name === device && one.vni === vni);
  if (left === undefined) return null;
  const pid = findFlanneld(proc);
  if (pid !== null) {
    throw new HostError(
      'EBUSY',
      `${device} is in use by flanneld, process ${pid}; stop it (systemctl stop flanneld, docker ` +
        `stop, or kill ${pid}), then start weft again, which takes the device over`,
    );
  }
  const rival = vxlans.find((one) => one !== left && one.up && one.port === port && !one.ipv6);
  if (rival === undefined) return left;
  throw new HostError(
    'EADDRINUSE',
    `${device} was left by flanneld and could be taken over, but the kernel's VXLAN device ` +
      `${rival.name} uses UDP port ${port} as well; remove it (ip link del ${rival.name}), or set ` +
      'another "Port" in the Backend of the network config (on every host)',
  );
}

/**
 * Removes the device that `findLeftover` finds; false when there is none any more. Throws as that
 * does, and when `ip` refuses.
 */
export async function removeLeftover(
  runner: Runner,
  claim: Claim,
  proc = '/proc',
): Promise<boolean> {
  // Time has passed since the first look: a flanneld may have been started.
  if ((await findLeftover(runner, claim, proc)) === null) return false;
  const { code, stderr } = await runner.run(['ip', 'link', 'del', 'dev', claim.device]);
  if (code === 0) return true;
  throw new HostError('EIP', `cannot remove flanneld's ${claim.device}: ${stderr.trim()}`);
}

/**
 * The process id of a flanneld in this network namespace, or null. Namespaces are told apart by
 * the inodes of their files in /proc, since /proc/PID/ns may not be read without CAP_SYS_PTRACE,
 * which weft's unit does not give.
 */
export function findFlanneld(proc = '/proc'): number | null {
  const own = inodeOf(`${proc}/self/net/dev`);
  for (const name of fs.readdirSync(proc)) {
    const pid = Number(name);
    if (!/^\d+$/.test(name) || pid === process.pid) continue;
    if (nameOf(`${proc}/${name}/comm`) !== 'flanneld') continue;
    // A process that ended meanwhile has no namespace any more.
    const inode = inodeOf(`${proc}/${name}/net/dev`);
    if (inode !== null && inode === own) return pid;
  }
  return null;
}

/** Whether a process of another container would be seen in `proc`. */
export function seesAllProcesses(proc = '/proc'): boolean {
  try {
    return fs.readlinkSync(`${proc}/self/ns/pid`) === FIRST_PID_NAMESPACE;
  } catch {
    return false;
  }
}

function nameOf(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}

function inodeOf(file: string): number | null {
  try {
    return fs.statSync(file).ino;
  } catch {
    return null;
  }
}
