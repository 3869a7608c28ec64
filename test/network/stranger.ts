/** A host on the underlay that is no peer and sends what it likes: see tools/forge.ts. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import type { Host } from '../../src/lab/host.js';
import type { Network } from '../../src/lab/network.js';
import { ip, put16, put32, seal } from '../dataplane/forward/packets.js';

const FORGE = fileURLToPath(new URL('./tools/forge.js', import.meta.url));

export class Stranger {
  readonly host: Host;

  private constructor(host: Host) {
    this.host = host;
  }

  static async create(network: Network, address = '192.168.56.66/24'): Promise<Stranger> {
    return new Stranger(await network.host('stranger', { address }));
  }

  /** Sends the packets in turn, `rate` a second for so many seconds. */
  async send(packets: readonly Uint8Array[], rate: number, seconds: number): Promise<void> {
    const input = packets.map((packet) => Buffer.from(packet).toString('hex')).join('\n');
    const argv = [process.execPath, FORGE, String(rate), String(seconds)];
    const { stdout } = await this.host.run(argv, { input, timeout: (seconds + 10) * 1000 });
    assert.ok(Number(stdout) >= (rate * seconds) / 2, `sent ${stdout} of ${rate * seconds}`);
  }
}

/** What an ICMP error quotes: the outer headers of a datagram that the victim sent. */
export interface Quoted {
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly toPort: number;
}

/** An ICMP error from `router` to `quoted.from`, with right checksums. `rest`: its second word. */
export function icmpError(
  router: string,
  type: number,
  code: number,
  rest: number,
  quoted: Quoted,
): Uint8Array {
  const packet = new Uint8Array(20 + 8 + 28);
  header(packet, 0, 1, packet.length, router, quoted.from);
  packet[20] = type;
  packet[21] = code;
  put32(packet, 24, rest);
  header(packet.subarray(28), 0, 17, 1478, quoted.from, quoted.to);
  put16(packet, 48, quoted.fromPort);
  put16(packet, 50, quoted.toPort);
  put16(packet, 52, 1458);
  let sum = 0;
  for (let at = 20; at < packet.length; at += 2) sum += (packet[at]! << 8) | packet[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  put16(packet, 22, 0xffff - sum);
  return packet;
}

function header(
  packet: Uint8Array,
  id: number,
  protocol: number,
  total: number,
  from: string,
  to: string,
): void {
  packet[0] = 0x45;
  put16(packet, 2, total);
  put16(packet, 4, id);
  packet[8] = 64;
  packet[9] = protocol;
  put32(packet, 12, ip(from));
  put32(packet, 16, ip(to));
  seal(packet);
}
