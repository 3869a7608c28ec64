/** Starts what looks after path MTU. */
import type { Publisher } from '../../dataplane/routes/publisher.js';
import type { Ip } from '../host/ip.js';
import type { DaemonOptions } from './ground.js';
import { addressOf } from './open.js';
import type { Spent } from './pace.js';
import { type Here, Paths } from './paths.js';

interface Around extends Pick<DaemonOptions, 'host' | 'clock' | 'random' | 'log' | 'lifecycle'> {
  readonly ip: Ip;
  readonly spent: Spent;
  readonly publisher: Publisher;
  /** weft's own device. */
  readonly tunnel: string;
  /** UDP. */
  readonly port: number;
  /** Where weft is on the underlay; undefined while it has no address there. */
  readonly here: () => Here | undefined;
}

export function startPaths(around: Around): Paths {
  const { host, clock, random, log, lifecycle, ip, spent, publisher, tunnel, port, here } = around;
  const source = (): number => addressOf(here()?.address ?? '0.0.0.0') >>> 0;
  const paths = new Paths({
    ...{ clock, random, log, ip, spent, publisher, tunnel, here },
    openEcho: (hint) => host.openEcho({ clock, random, source, port, hint, device: here()?.vrf }),
  });
  lifecycle.onLeave('path MTUs', () => paths.stop());
  return paths;
}
