/**
 * Another process on weft's UDP port: with several lanes the port is shared (SO_REUSEPORT), and any
 * process of the same user may join. What the kernel gives to it does not come to weft. To one that
 * listens on all addresses it gives nothing that is for weft's: a socket of that very address goes first.
 */
import { parseAddress } from '../../control/host/ipv4.js';
import {
  findHolders,
  type Holder,
  holds,
  parseSockets,
  readText,
} from '../../control/host/ports.js';
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
    const inodes = parseSockets(readText(`${proc}/net/udp`))
      .filter((socket) => socket.port === port && socket.address === own)
      .map(({ inode }) => inode)
      .sort();
    const wanted = new Set(inodes);
    // To find who has them, all files that are open on this host are looked at. Who was found may
    // have handed a socket on and ended, and another process have its number by now.
    const isSame = inodes.join() === this.#inodes;
    const isKept = isSame && this.#holders.every(({ pid: one }) => holds(one, wanted, proc));
    if (!isKept) this.#holders = findHolders(wanted, proc);
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
