/** Something that goes wrong around a weft, and what ends it. */
import { PREFIX } from '../../network/overlay.js';
import type { Chance } from '../random.js';
import type { Site, Station } from '../site.js';

export interface Trouble {
  readonly name: string;
  /** Whether the host itself loses packets by it; by all others none may be lost. */
  readonly loses: boolean;
  /** Where it can happen; everywhere unless told. */
  fits?(station: Station): boolean;
  /** Makes it; resolves with what ends it. */
  make(site: Site, station: Station, chance: Chance): Promise<() => Promise<void>>;
}

export const nothing = async (): Promise<void> => {};

/** Makes weft say something: so many peers join, and leave. */
export async function speak({ etcd }: Site, peers: number): Promise<void> {
  const all = Array.from({ length: peers }, (_, i) => ({
    subnet: `10.10.${100 + (i % 50)}.0/24`,
    publicIp: `192.168.56.${200 + (i % 50)}`,
    mac: `02:00:00:00:00:${(i % 50).toString(16).padStart(2, '0')}`,
  }));
  for (const peer of all) {
    await etcd.register(PREFIX, peer);
    await etcd.delete(`${PREFIX}/subnets/${peer.subnet.replace('/', '-')}`);
  }
}
