/** Peers of which each is as told, on a fake clock, and what is said of them. */
import assert from 'node:assert/strict';
import { type Counts, NO_COUNTS } from '../../../../src/control/daemon/health.js';
import type { Here } from '../../../../src/control/daemon/paths.js';
import { PeerHealths } from '../../../../src/control/daemon/peer-health.js';
import type { EchoResult } from '../../../../src/control/host/echo.js';
import type { Peer } from '../../../../src/control/overlay/peers.js';
import { FakeClock } from '../../fakes.js';

export const SECOND = 1_000;
export const HERE = '192.168.56.11';

/** How a peer is; what is not said is as with one that is well and has no traffic. */
export interface Nature {
  /** Whether it answers through the tunnel, small echoes and large ones; or what the tunnel says. */
  echo?: boolean | (() => boolean);
  full?: EchoResult['kind'];
  /** What a ping to its own address comes to. */
  ping?: EchoResult;
  /** Packets a second to it and from it, besides echoes. */
  sends?: number;
  hears?: number;
  /** What the lanes meet when they send. */
  meets?: 'refused' | 'errors' | 'denied' | 'unreachable';
  noWay?: string;
  direct?: boolean;
}

export const NOT_HERE: EchoResult = { kind: 'unreachable', code: 1, from: HERE };
export const SILENT: EchoResult = { kind: 'silent' };

export const FILTERED: Nature = { echo: false };
export const REFUSED: Nature = { echo: false, meets: 'refused' };
export const GONE: Nature = { echo: false, ping: NOT_HERE };
/** Pings go unheard, be it through the tunnel or not. */
export const MUTE: Nature = { echo: false, ping: SILENT };

function peer(number: number): Peer {
  const publicIp = (0xc0a8_3900 + number) | 0;
  const subnet = { address: 0x0a0a_0000 + number * 256, length: 24 };
  return { key: String(number), subnet, publicIp, vtepMac: Uint8Array.of(2, 0, 0, 0, 0, 1) };
}

export function begin(count = 1, lack?: string) {
  const clock = new FakeClock();
  const peers = Array.from({ length: count }, (_, i) => peer(i + 1));
  const numberOf = (address: number): number => (address | 0) - (peer(0).publicIp | 0);
  const natures = new Map<number, Nature>();
  const nature = (number: number): Nature => natures.get(number) ?? {};
  const counts = new Map<number, Counts>();
  const add = (number: number, name: keyof Counts, by: number): void => {
    const before = counts.get(number) ?? NO_COUNTS;
    counts.set(number, { ...before, [name]: before[name] + by });
  };
  const world = { here: { address: HERE } as Here | undefined, closed: '', lack };
  const sent: { number: number; kind: 'tunnel' | 'ping'; size: number; at: number }[] = [];
  let opened = 0;
  let closed = 0;
  const later = (told: EchoResult, ms: number): Promise<EchoResult> => {
    // ARP takes three seconds to fail.
    const result = told.kind === 'unreachable' && ms < 3_000 ? SILENT : told;
    const took = result.kind === 'silent' ? ms : result.kind === 'unreachable' ? 3_000 : 1;
    return new Promise((resolve) => void clock.after(took, () => resolve(result)));
  };
  const tunnel = (to: number, size: number, ms: number): Promise<EchoResult> => {
    const number = (to - 0x0a0a_0000) / 256;
    sent.push({ number, kind: 'tunnel', size, at: clock.now() });
    const { echo = true, full = 'answered', meets } = nature(number);
    if (meets !== undefined) add(number, meets, 1);
    if (meets !== 'denied' && meets !== 'unreachable') add(number, 'sent', 1);
    if (!(typeof echo === 'function' ? echo() : echo)) return later(SILENT, ms);
    if (size > 100 && full === 'too big') return later({ kind: full, mtu: 1350, from: HERE }, ms);
    if (size > 100 && full === 'silent') return later(SILENT, ms);
    add(number, 'received', 1);
    return later({ kind: 'answered' }, ms);
  };
  const ping = (to: number, size: number, ms: number): Promise<EchoResult> => {
    const number = numberOf(to);
    sent.push({ number, kind: 'ping', size, at: clock.now() });
    return later(nature(number).ping ?? { kind: 'answered' }, ms);
  };
  const prober = (send: typeof ping) => ({
    send,
    get closed() {
      return world.closed;
    },
    close: () => {
      closed += 1;
    },
  });
  const healths = new PeerHealths({
    ...{ clock, port: 8472, mtu: () => 1450, here: () => world.here },
    counts: (address) => counts.get(numberOf(address)) ?? NO_COUNTS,
    isDirect: ({ publicIp }) => nature(numberOf(publicIp)).direct === true,
    way: (address) => ({ noWay: nature(numberOf(address)).noWay ?? '', leavesBy: '' }),
    open: async () => {
      opened += 1;
      if (world.lack !== undefined) throw new Error(world.lack);
      return { tunnel: prober(tunnel), underlay: prober(ping) };
    },
  });
  healths.follow({ peers });
  const second = (): void => {
    clock.after(SECOND, second);
    for (const [number, { sends = 0, hears = 0 }] of natures) {
      if (sends > 0) add(number, 'sent', sends);
      if (hears > 0) add(number, 'received', hears);
    }
    healths.tick();
  };
  second();
  const health = (number = 1) => healths.health(peer(number).publicIp);
  return {
    ...{ clock, healths, peers, natures, world, sent, health },
    opened: () => opened,
    closed: () => closed,
    is: (number = 1) => health(number).state,
    /** Peer 1 becomes so; how many seconds until it is said to be `state`. */
    async until(next: Nature, state: string, most = 30): Promise<number> {
      natures.set(1, next);
      for (let seconds = 0; seconds <= most; seconds += 1) {
        if (health().state === state) return seconds;
        await clock.pass(SECOND);
      }
      assert.fail(`not ${state} in ${most} s: ${JSON.stringify(health())}`);
    },
    /** What is said of peer 1 each second. */
    async during(next: Nature, seconds: number): Promise<Set<string>> {
      natures.set(1, next);
      const said = new Set<string>();
      for (let i = 0; i < seconds; i += 1) {
        await clock.pass(SECOND);
        said.add(health().state);
      }
      return said;
    },
  };
}
