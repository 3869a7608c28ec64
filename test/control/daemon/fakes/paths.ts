/** The paths to peers, with the host and the network around them as a test has them. */
import { type Here, Paths } from '../../../../src/control/daemon/paths.js';
import type { EchoResult } from '../../../../src/control/host/echo.js';
import { HostError } from '../../../../src/control/host/errors.js';
import type { Peer } from '../../../../src/control/overlay/peers.js';
import { FakeClock, Lines, seeded } from '../../fakes.js';

export const SECOND = 1_000;
export const MINUTE = 60_000;
const ROUND_TRIP = 1;

export function peer(number: number): Peer {
  const publicIp = (0xc0a8_0000 + number) | 0;
  const subnet = { address: 0x0a0a_0000 + number * 256, length: 24 };
  return { key: String(number), subnet, publicIp, vtepMac: Uint8Array.of(2, 0, 0, 0, 0, 1) };
}

/** Peers on paths as told, an `ip` and an echo that answer so, and what the lanes are told. */
export function begin(options: { lack?: string } = {}) {
  const clock = new FakeClock();
  const log = new Lines();
  const world = {
    /** Of the device. */
    mtu: 1500,
    here: { address: '192.168.0.1' } as Here | undefined,
    /** What `ip route get` refuses, by address. */
    refused: new Map<string, string>(),
    /** What the path answers a size; at once for what it cannot. */
    path: (_size: number, _to: number): EchoResult => ({ kind: 'answered' }),
    closed: '',
    /** How long `ip` takes, and why it cannot be asked. */
    askMs: 0,
    cannot: '',
  };
  const asked: string[][] = [];
  const sent: { to: number; size: number; at: number }[] = [];
  let waiting = 0;
  let most = 0;
  let opened = 0;
  let hint = (_address: number): void => {};
  const ip = {
    restart: () => {},
    queryAll: async (lines: readonly string[]) => {
      asked.push([...lines]);
      if (world.cannot !== '') throw new HostError('EIP', world.cannot);
      if (world.askMs > 0) await new Promise<void>((done) => void clock.after(world.askMs, done));
      return new Map(
        lines.map((line): [string, unknown[] | string] => {
          const [what, , address = ''] = line.split(' ');
          if (what === 'addr') return [line, [{ ifname: 'eth0', mtu: world.mtu }]];
          return [line, world.refused.get(address) ?? [{ dst: address, dev: 'eth0' }]];
        }),
      );
    },
  };
  const echo = {
    get closed() {
      return world.closed;
    },
    close: () => {},
    send: (to: number, size: number, ms: number) =>
      new Promise<EchoResult>((resolve) => {
        sent.push({ to, size, at: clock.now() });
        waiting += 1;
        most = Math.max(most, waiting);
        const result = world.path(size, to);
        clock.after(result.kind === 'silent' ? ms : ROUND_TRIP, () => {
          waiting -= 1;
          resolve(result);
        });
      }),
  };
  const lanes = new Map<number, string>();
  const paths = new Paths({
    ...{ clock, random: seeded(3), log, ip, tunnel: 'flannel.1', here: () => world.here },
    publisher: {
      places: (address) => [address & 0xffff],
      rows: {
        setPathMtu: (place, mtu, cut) =>
          void lanes.set(place, cut === true ? `${mtu} cut` : `${mtu}`),
      },
    },
    openEcho: async (heard) => {
      opened += 1;
      hint = heard;
      if (options.lack !== undefined) throw new Error(options.lack);
      return echo;
    },
  });
  const second = (): void => {
    clock.after(SECOND, second);
    paths.tick();
  };
  second();
  const follow = (peers: readonly Peer[], changes: { changed?: readonly Peer[] } = {}) =>
    paths.follow({ peers, added: peers, removed: [], changed: [], ...changes });
  return {
    ...{ clock, lines: log.lines, world, asked, sent, lanes, paths, follow },
    most: () => most,
    opened: () => opened,
    hint: (number: number) => hint(peer(number).publicIp >>> 0),
    report: (number: number) => paths.report(peer(number).publicIp),
  };
}

/** What a path of this MTU answers. */
export const upTo =
  (mtu: number) =>
  (size: number): EchoResult =>
    size > mtu ? { kind: 'too big', mtu, from: '192.168.0.254' } : { kind: 'answered' };
