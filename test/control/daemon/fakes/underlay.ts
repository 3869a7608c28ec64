/** A host whose addresses change under an UnderlayWatch. */
import { tunnelMtu } from '../../../../src/control/daemon/mtu.js';
import { UnderlayWatch } from '../../../../src/control/daemon/underlay.js';
import type { Interface, Selection } from '../../../../src/control/host/interfaces.js';
import type { Ip } from '../../../../src/control/host/ip.js';
import type { Runner } from '../../../../src/control/host/runner.js';
import { FakeClock, Lines } from '../../fakes.js';

interface Row {
  ifname: string;
  ifindex: number;
  mtu: number;
  /** With the length of its network where that counts: `10.0.0.1/32`. */
  addresses: string[];
  flags?: string[];
  master?: string;
}

export const CHOSEN = {
  name: 'ens33',
  index: 2,
  mtu: 1500,
  address: '192.168.56.11',
  publicIp: '192.168.56.11',
};

export class UnderlayHost {
  readonly clock = new FakeClock();
  readonly log = new Lines();
  links: Row[] = [{ ifname: 'ens33', ifindex: 2, mtu: 1500, addresses: ['192.168.56.11'] }];
  defaultDevice = 'ens33';
  routeMtu = 65535;
  /** What was done, in its order. */
  did: string[] = [];
  refusal: string | undefined;

  /** What was done but for wanting to look again. */
  get moves(): string[] {
    return this.did.filter((what) => !what.startsWith('soon'));
  }

  #rows(name?: string) {
    return this.links
      .filter(({ ifname }) => name === undefined || ifname === name)
      .map(({ addresses, ...row }) => ({
        ...row,
        addr_info: addresses.map((text) => {
          const [local, length = '24'] = text.split('/');
          return { family: 'inet', local, prefixlen: Number(length) };
        }),
      }));
  }

  watch(selection: Selection = {}, chosen: Interface = CHOSEN): UnderlayWatch {
    const ip = {
      query: async (line: string) => {
        const name = line.split(' ').at(-1);
        const found = this.#rows(line.startsWith('addr show to ') ? undefined : name);
        if (found.length === 0) throw new Error(`Device "${line}" does not exist.`);
        return found;
      },
    } as unknown as Ip;
    const runner = {
      run: async (argv: readonly string[]) => {
        const answer = () => {
          if (argv.includes('-d')) return [{ linkinfo: { info_kind: 'vrf' } }];
          return argv.includes('route')
            ? [{ dst: 'default', dev: this.defaultDevice }]
            : this.#rows();
        };
        const stdout = answer();
        return { code: 0, signal: null, stdout: JSON.stringify(stdout), stderr: '' };
      },
    } as unknown as Runner;
    const path = {
      name: 'flannel.1',
      place: { address: chosen.address, mtu: chosen.mtu - 50 },
      move: async (place: { address: string; mtu: number; vrf?: string | undefined }) => {
        if (this.refusal !== undefined) throw new Error(this.refusal);
        path.place = place;
        const within = place.vrf === undefined ? '' : ` in ${place.vrf}`;
        this.did.push(`move ${place.address} ${place.mtu}${within}`);
      },
    };
    return new UnderlayWatch({
      ...{ runner, ip, selection, chosen, path },
      clock: this.clock,
      log: this.log,
      measure: async (now) => ({ ...now, mtu: Math.min(now.mtu, this.routeMtu) }),
      tunnelMtu: (now) => tunnelMtu(undefined, now),
      renamed: (name) => void this.did.push(`renamed ${name}`),
      moved: (publicIp) => void this.did.push(`moved ${publicIp}`),
      resized: async (mtu) => void this.did.push(`resized ${mtu}`),
      soon: (ms) => void this.did.push(`soon ${ms}`),
    });
  }
}
