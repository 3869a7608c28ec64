/**
 * Another process on weft's UDP port: with several lanes the port is shared (SO_REUSEPORT), and any
 * process of the same user may join. What the kernel gives to it does not come to weft.
 */
import fs from 'node:fs';
import { parseAddress } from '../../control/host/ipv4.js';
import { parseSockets } from '../../control/host/ports.js';
import type { HostCheck, Subject } from './check.js';
import type { Finding } from './finding.js';

export class Port implements HostCheck {
  readonly name = 'the UDP port';
  /** Of the last look: the sockets on the port, and who has them. */
  #inodes = '';
  #holders: readonly Holder[] = [];

  async look({ proc, underlay, pid }: Subject): Promise<readonly Finding[]> {
    const { port, address } = underlay;
    if (port === null) return [];
    const own = parseAddress(address);
    const inodes = parseSockets(`${readText(`${proc}/net/udp`)}`)
      .filter((socket) => socket.port === port && [0, own].includes(socket.address))
      .map(({ inode }) => inode)
      .sort();
    // To find who has them, all files that are open on this host are looked at.
    if (inodes.join() !== this.#inodes) this.#holders = findHolders(new Set(inodes), proc);
    this.#inodes = inodes.join();
    const others = this.#holders.filter((holder) => holder.pid !== pid);
    if (others.length === 0) return [];
    const names = others.map((holder) => `process ${holder.pid} (${holder.name})`);
    return [
      {
        code: 'port-shared',
        severity: 'error',
        scope: 'host',
        about: `UDP port ${port}`,
        text:
          `${names.join(', ')} listens on UDP port ${port} of ${address}, too: packets of peers ` +
          'that the kernel gives to it are lost',
        cure: `kill ${others.map((holder) => holder.pid).join(' ')}`,
      },
    ];
  }
}

interface Holder {
  readonly pid: number;
  readonly name: string;
}

function findHolders(inodes: ReadonlySet<string>, proc: string): Holder[] {
  const wanted = new Set([...inodes].map((inode) => `socket:[${inode}]`));
  return list(proc).flatMap((name) => {
    const folder = `${proc}/${name}`;
    if (!/^\d+$/.test(name)) return [];
    if (!list(`${folder}/fd`).some((fd) => wanted.has(readLink(`${folder}/fd/${fd}`)))) return [];
    return [{ pid: Number(name), name: readText(`${folder}/comm`).trim() }];
  });
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

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
