/**
 * Who holds a UDP port: a process, or a kernel VXLAN device.
 *
 * A VXLAN device that is up shows in /proc/net/udp like any socket, with an inode that is in no
 * process's file table; so the socket alone does not name it, and the links are asked.
 */
import fs from 'node:fs';
import { parseAddress } from './ipv4.js';
import { processName } from './process-name.js';
import type { Runner } from './runner.js';
import { listVxlans } from './vxlan.js';

/** A line of /proc/net/udp. `address` is in host order; 0 is any. */
export interface UdpSocket {
  address: number;
  port: number;
  inode: string;
}

/**
 * One sentence that names what keeps weft from UDP `port` on `address` (dotted; `0.0.0.0` is
 * any), with two ways out; null if nothing does. Needs root to see other users' processes.
 * Meant for after a bind that failed: a socket on `::` counts, though it may take IPv6 only.
 */
export async function describePortUser(
  runner: Runner,
  address: string,
  port: number,
  proc = '/proc',
): Promise<string | null> {
  const own = parseAddress(address) ?? 0;
  const rival = readSockets(proc).find(
    (s) => s.port === port && (own === 0 || s.address === 0 || s.address === own),
  );
  if (rival === undefined) return null;

  const subject = `UDP port ${port} on ${address} is in use by`;
  const otherPort = 'set another "Port" in the Backend of the network config (on every host)';
  const holder = findHolders(new Set([rival.inode]), proc)[0];
  if (holder !== undefined) {
    return `${subject} process ${holder.pid} (${holder.name}); stop it, or ${otherPort}`;
  }
  const device = await findVxlan(runner, port);
  if (device !== null) {
    return (
      `${subject} the kernel's VXLAN device ${device}; remove it (ip link del ${device}), or ` +
      otherPort
    );
  }
  return (
    `${subject} a socket of no process to be seen from here (another container, or the kernel); ` +
    `find it with ss -lnup "sport = :${port}" on the host and stop it, or ${otherPort}`
  );
}

/** The UDP sockets of this network namespace, IPv4 and the IPv6 ones that take IPv4 as well. */
function readSockets(proc: string): UdpSocket[] {
  return [
    ...parseSockets(readText(`${proc}/net/udp`)),
    ...parseSockets(readText(`${proc}/net/udp6`)),
  ];
}

/** The lines of /proc/net/udp or udp6. An IPv6 address that takes no IPv4 is left out. */
export function parseSockets(text: string): UdpSocket[] {
  const sockets: UdpSocket[] = [];
  for (const line of text.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [addressHex = '', portHex = ''] = (fields[1] ?? '').split(':');
    const inode = fields[9];
    const address = parseHexAddress(addressHex);
    if (inode === undefined || address === null) continue;
    sockets.push({ address, port: Number.parseInt(portHex, 16), inode });
  }
  return sockets;
}

/** Each 32-bit word is printed in the machine's order, which is little-endian on x64 and arm64. */
function parseHexAddress(hex: string): number | null {
  if (hex.length === 32) {
    if (/^0+$/.test(hex)) return 0;
    return hex.startsWith('0000000000000000FFFF0000') ? parseHexAddress(hex.slice(24)) : null;
  }
  if (!/^[0-9A-F]{8}$/.test(hex)) return null;
  return Buffer.from(hex, 'hex').readUInt32LE(0);
}

export interface Holder {
  readonly pid: number;
  readonly name: string;
}

/** The processes that have one of these sockets open, as far as they can be seen from here. */
export function findHolders(inodes: ReadonlySet<string>, proc: string): Holder[] {
  return list(proc).flatMap((pid) => {
    const folder = `${proc}/${pid}`;
    if (!/^\d+$/.test(pid) || !holds(Number(pid), inodes, proc)) return [];
    const name = processName(readText(`${folder}/comm`), readText(`${folder}/cmdline`));
    return [{ pid: Number(pid), name }];
  });
}

/** Whether this process has one of these sockets open, as far as that can be seen from here. */
export function holds(pid: number, inodes: ReadonlySet<string>, proc: string): boolean {
  const folder = `${proc}/${pid}/fd`;
  return list(folder).some((fd) => {
    const file = readLink(`${folder}/${fd}`);
    return file.startsWith('socket:[') && inodes.has(file.slice('socket:['.length, -1));
  });
}

async function findVxlan(runner: Runner, port: number): Promise<string | null> {
  // Who asks has a fault to tell already, with or without this name.
  const all = await listVxlans(runner).catch(() => []);
  return all.find((one) => one.up && one.port === port)?.name ?? null;
}

// A process may end between two looks at it: what cannot be read counts as not there.

function list(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

function readLink(file: string): string {
  try {
    return fs.readlinkSync(file);
  } catch {
    return '';
  }
}

export function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
