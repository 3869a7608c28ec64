/** What this host must have before weft starts, each lack told with what to do about it. */
import fs from 'node:fs';
import { errnoOf, textOf } from './errors.js';
import { checkFamilies } from './families.js';
import {
  addressSpaceLimit,
  checkDescriptors,
  checkSpace,
  checkTasks,
  describeSpace,
  type LimitPlaces,
} from './limits.js';
import type { Runner } from './runner.js';

/** Bit of CAP_NET_ADMIN in a capability set (linux/capability.h). */
const CAP_NET_ADMIN = 12n;

export interface Places {
  tun?: string;
  proc?: string;
  cgroups?: string;
}

/** What the lanes are to have. */
export interface Wanted {
  /** Of all lanes together. */
  readonly threads: number;
  /** Takes their memories, and keeps them. Throws what V8 says. */
  readonly reserve: () => void;
}

/** One sentence for each thing that is missing. */
export interface Lacks {
  /** A TUN, which the vxlan backend alone needs; null when there is one to be had. */
  tun: string | null;
  /** What no backend goes without. */
  others: string[];
}

/** `threads`: of all lanes together, as far as they can be had. */
export async function preflight(runner: Runner, places: Places = {}, threads = 1): Promise<Lacks> {
  const { tun = '/dev/net/tun', proc = '/proc' } = places;
  const limits = limitsOf(places);
  const tasks = checkTasks(0, limits, threads);
  const others = [tasks, checkDescriptors(limits), checkRights(proc), await checkFamilies()];
  // Without threads to be had, asking `ip` would end the process.
  if (tasks === null) others.push(await checkIp(runner));
  return { tun: checkTun(tun), others: others.filter((lack) => lack !== null) };
}

/** What the lanes lack beside a TUN, which the vxlan backend alone needs; null when they can run. */
export function checkLanes({ threads, reserve }: Wanted, places: Places = {}): string | null {
  const limits = limitsOf(places);
  return checkTasks(threads, limits) ?? checkMemory(reserve, limits) ?? checkSpace(threads, limits);
}

function limitsOf({ proc = '/proc', cgroups = '/sys/fs/cgroup' }: Places): LimitPlaces {
  return { proc, cgroups };
}

function checkMemory(reserve: () => void, limits: LimitPlaces): string | null {
  try {
    reserve();
    return null;
  } catch (error) {
    if (error instanceof RangeError) return describeSpace(addressSpaceLimit(limits));
    return (
      `this Node has no WebAssembly, which the lanes need (${textOf(error)}): take --jitless out ` +
      'of NODE_OPTIONS; where it is there for MemoryDenyWriteExecute=, take that out of the unit, too'
    );
  }
}

function checkTun(file: string): string | null {
  const inContainer = `in a container, start it with --device ${file}`;
  const node = `mkdir -p /dev/net && mknod ${file} c 10 200`;
  try {
    // Opened and closed again: that alone makes no device, and finds out what `stat` cannot,
    // a node without a driver or one that a container's device rules forbid.
    fs.closeSync(fs.openSync(file, 'r+'));
    if (fs.statSync(file).isCharacterDevice()) return null;
    return `${file} is not a character device; delete it, then: ${node}`;
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
        return (
          `there is no ${file}, so the kernel cannot give weft a TUN device; run modprobe tun; ` +
          `${inContainer}; if only the node is missing: ${node}`
        );
      case 'EACCES':
      case 'EPERM':
        return `${file} may not be opened; run weft as root; ${inContainer}`;
      default:
        return `${file} cannot be opened (${textOf(error)}); run modprobe tun on the host`;
    }
  }
}

function checkRights(proc: string): string | null {
  const lack =
    'weft has no CAP_NET_ADMIN, which it needs for its TUN device, addresses and routes; run it ' +
    'as root, in a unit with AmbientCapabilities=CAP_NET_ADMIN, or in a container with ' +
    '--cap-add NET_ADMIN';
  const notInherited =
    'weft has CAP_NET_ADMIN, but ip, which it starts, would not: file capabilities are not ' +
    'inherited; run weft as root, or in a unit with AmbientCapabilities=CAP_NET_ADMIN';
  try {
    const status = fs.readFileSync(`${proc}/self/status`, 'utf8');
    if (!hasNetAdmin(status, 'CapEff')) return lack;
    // Only root's children, and those of ambient capabilities, keep what their parent may do.
    const user = /^Uid:\s*\d+\s+(\d+)/m.exec(status)?.[1];
    if (user === undefined || user === '0' || hasNetAdmin(status, 'CapAmb')) return null;
    return notInherited;
  } catch {
    return `${proc} is not mounted, and weft needs it; mount -t proc proc ${proc}`;
  }
}

/** True where the kernel does not tell. */
function hasNetAdmin(status: string, set: string): boolean {
  const mask = new RegExp(`^${set}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1];
  return mask === undefined || ((BigInt(`0x${mask}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

async function checkIp(runner: Runner): Promise<string | null> {
  try {
    const { code, stdout, stderr } = await runner.run(['ip', '-V']);
    if (code === 0 && stdout.includes('iproute2')) return null;
    const who = /BusyBox/.test(stdout + stderr) ? "BusyBox's" : 'not that of iproute2';
    return `the ip program is ${who}, which lacks -batch and -j; install iproute2`;
  } catch (error) {
    return textOf(error);
  }
}
