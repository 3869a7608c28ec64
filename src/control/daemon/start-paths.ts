/** Starts what looks after path MTU. */
import type { Publisher } from '../../dataplane/routes/publisher.js';
import { Ip } from '../host/ip.js';
import type { DaemonOptions } from './ground.js';
import { addressOf } from './open.js';
import { type Here, Paths } from './paths.js';

interface Around extends Pick<DaemonOptions, 'host' | 'clock' | 'random' | 'log' | 'lifecycle'> {
  readonly publisher: Publisher;
  /** weft's own device. */
  readonly tunnel: string;
  /** UDP. */
  readonly port: number;
  /** Where weft is on the underlay; undefined while it has no address there. */
  readonly here: () => Here | undefined;
}

export function startPaths(around: Around): Paths {
  const { host, clock, random, log, lifecycle, publisher, tunnel, port, here } = around;
  // One of its own: thousands of questions must not stand in the way of the peers' routes.
  const ip = new Ip(host.runner, clock);
  lifecycle.onLeave('ip for paths', () => ip.close());
  const source = (): number => addressOf(here()?.address ?? '0.0.0.0') >>> 0;
  const paths = new Paths({
    ...{ clock, random, log, ip, publisher, tunnel, here },
    openEcho: (hint) => host.openEcho({ clock, random, source, port, hint, device: here()?.vrf }),
  });
  lifecycle.onLeave('path MTUs', () => paths.stop());
  return paths;
}
