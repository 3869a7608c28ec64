/**
 * The kernel's own software segmentation: a packet written to one TUN with its vnet header is
 * forwarded to a second one that has no offloads, so that it is cut on its way out there. To be
 * used in a network namespace of its own. Forwarding takes one from the TTL.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { openTun } from '../../../src/dataplane/io/tun.js';
import { Arena } from '../io/arena.js';
import { seal } from './packets.js';

/** Segments of one packet: what the second TUN's queue holds. */
const SEGMENTS_MAX = 5000;
/** The second TUN's MTU. */
const MTU = 1500;

function ip(line: string): void {
  execFileSync('ip', line.split(' '), { stdio: ['ignore', 'ignore', 'pipe'] });
}

function sysctl(name: string, value: string): void {
  const file = `/proc/sys/net/${name}`;
  if (fs.existsSync(file)) fs.writeFileSync(file, value);
}

export class KernelCutter {
  readonly #arena = new Arena();
  readonly #in: number;
  readonly #out: number;

  /** Packets to `networks` come out. */
  constructor(networks: readonly string[]) {
    sysctl('ipv6/conf/all/disable_ipv6', '1');
    sysctl('ipv6/conf/default/disable_ipv6', '1');
    sysctl('ipv4/ip_forward', '1');
    sysctl('ipv4/conf/all/rp_filter', '0');
    sysctl('ipv4/conf/default/rp_filter', '0');
    this.#in = openTun('in0').fd;
    this.#out = openTun('out0', { vnet: false, uso: false }).fd;
    ip('address add 10.200.0.1/24 dev in0');
    ip('address add 10.201.0.1/24 dev out0');
    ip('link set in0 up');
    ip(`link set out0 mtu ${MTU} txqueuelen ${SEGMENTS_MAX} up`);
    for (const network of networks) ip(`route add ${network} dev out0`);
  }

  /** What comes out for a packet that is written behind its vnet header. */
  cut(vnet: Uint8Array, packet: Uint8Array): Uint8Array[] {
    const { native } = this.#arena;
    const written = this.#arena.writePackets(this.#in, [[vnet, packet]]);
    assert.equal(written, 1, native.errnoName(native.lastError()));
    const pieces: Uint8Array[] = [];
    for (;;) {
      const got = this.#arena.readPackets(this.#out, 0);
      if (got.length === 0) return pieces;
      pieces.push(...got.map(([, piece]) => Uint8Array.from(piece)));
    }
  }

  close(): void {
    this.#arena.native.close(this.#in);
    this.#arena.native.close(this.#out);
  }
}

/** The packet as it is after one hop. */
export function forwarded(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  copy[8]! -= 1;
  return seal(copy);
}
