/** `weft up`: flanneld's flags, and what weft adds. */
import os from 'node:os';
import { systemClock } from '../control/daemon/clock.js';
import { Daemon } from '../control/daemon/daemon.js';
import { defaultLanes, MOST_LANES } from '../control/daemon/lanes.js';
import { Lifecycle } from '../control/daemon/lifecycle.js';
import { createLog } from '../control/daemon/log.js';
import { checkEndpoints } from '../control/store/endpoints.js';
import { FileStore } from '../control/store/file.js';
import { messageOf } from '../control/store/store.js';
import { TIER_NAMES, type TierName } from '../dataplane/io/tiers.js';
import type { LaneCount } from '../operate/status/status.js';
import {
  describeFlags,
  type Flag,
  type Flags,
  parseFlags,
  UsageError,
  variableOf,
} from './flags.js';
import { version } from './version.js';

const FLANNELD: readonly Flag[] = [
  {
    name: 'etcd-endpoints',
    kind: 'string',
    help: 'etcd, as a comma-separated list of URLs',
    default: 'http://127.0.0.1:4001,http://127.0.0.1:2379',
  },
  {
    name: 'etcd-prefix',
    kind: 'string',
    help: 'the key below which the network lives in etcd',
    default: '/coreos.com/network',
  },
  {
    name: 'iface',
    kind: 'list',
    value: 'name|address',
    help: 'the underlay interface; may be repeated, the first that exists is taken (default: that of the default route)',
  },
  {
    name: 'public-ip',
    kind: 'string',
    value: 'address',
    help: 'the address that the other hosts reach this one by (default: that of the interface)',
  },
  {
    name: 'subnet-file',
    kind: 'string',
    help: 'where the subnet is written for Docker and CNI',
    default: '/run/flannel/subnet.env',
  },
  {
    name: 'subnet-lease-renew-margin',
    kind: 'int',
    value: 'minutes',
    help: 'how long before its end the lease is renewed, 1 to 1439; up to a tenth of the time is taken off, so that hosts part',
    default: '60',
  },
  { name: 'v', kind: 'int', help: 'log verbosity; 1 and more: debug', default: '0' },
];

const WEFT: readonly Flag[] = [
  {
    name: 'on-lease-loss',
    kind: 'string',
    value: 'exit|reacquire',
    help: 'when our key is removed or cannot be read: end with code 0, as flanneld does, or write it again; when another host has it: end with code 0, or with code 1 for a new start',
    default: 'exit',
  },
  {
    name: 'store-file',
    kind: 'string',
    value: 'path',
    help: 'take config and leases from this JSON file in place of etcd: {"config": {…}, "subnets": {"10.10.58.0-24": {…}}}',
  },
  {
    name: 'offload',
    kind: 'string',
    value: 'auto|tier',
    help: 'the fastest tier to use: segment, segment-tso, sendmmsg or none; auto: what this kernel has',
    default: 'auto',
  },
  {
    name: 'lanes',
    kind: 'int',
    value: '1..16',
    help: 'how many lanes forward packets side by side, a flow always in one of them (default: one for every 4 processors, 1 to 4)',
  },
  {
    name: 'lane-threads',
    kind: 'int',
    value: '1|2',
    help: 'threads of each lane: 2 gives each direction one of its own',
    default: '1',
  },
];

/** flanneld's flags that change what it does, and that weft does not honour yet. */
const NOT_YET = [
  ...['etcd-keyfile', 'etcd-certfile', 'etcd-cafile', 'etcd-username', 'etcd-password'],
  ...['iface-regex', 'iface-can-reach', 'public-ipv6'],
  ...['ip-masq', 'ip-masq-fully-random-disable', 'iptables-forward-rules', 'iptables-resync'],
  ...['ip-blackhole-route', 'healthz-ip', 'healthz-port', 'kube-subnet-mgr'],
];

const HELP: Flag = { name: 'help', kind: 'bool', help: 'this text' };

const USAGE = `weft up: join a flannel network and forward its packets

flanneld's flags, each also from the environment (FLANNELD_ETCD_PREFIX for -etcd-prefix):
${describeFlags(FLANNELD)}
weft's own:
${describeFlags(WEFT)}`;

export async function main(args: string[]): Promise<number> {
  const flags = parse(args);
  if (flags.bool('help')) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (flags.rest.length > 0) {
    throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  }
  const file = flags.text('store-file');
  if (file !== '' && (flags.given('etcd-endpoints') || flags.given('etcd-prefix'))) {
    throw new UsageError('-store-file and -etcd-… contradict each other: give one of them');
  }
  const endpoints = readEndpoints(flags.text('etcd-endpoints'));
  const prefix = flags.text('etcd-prefix');
  const lanes = readLanes(flags, os.availableParallelism());
  // Its client takes as much memory as all the rest of weft, so it is loaded where it is used.
  const etcd = file === '' ? await import('../control/store/etcd.js') : undefined;

  const renewMargin = flags.int('subnet-lease-renew-margin');
  if (renewMargin < 1 || renewMargin > 1439) {
    throw new UsageError(`-subnet-lease-renew-margin=${renewMargin}: give 1 to 1439 minutes`);
  }
  const onLeaseLoss = flags.text('on-lease-loss');
  if (onLeaseLoss !== 'exit' && onLeaseLoss !== 'reacquire') {
    throw new UsageError(`-on-lease-loss=${onLeaseLoss}: give exit or reacquire`);
  }

  const log = createLog(flags.int('v'));
  const lifecycle = new Lifecycle(log);
  lifecycle.install();
  log.info(`weft ${version}`);
  for (const name of NOT_YET) {
    const variable = variableOf('FLANNELD_', name);
    if ((process.env[variable] ?? '') !== '') {
      log.warn(`${variable} is set, and weft does not honour flanneld's -${name} yet`);
    }
  }
  const clock = systemClock;
  const daemon = new Daemon({
    version,
    // A unit file with an unset variable gives an empty one, which flanneld passes over too.
    iface: flags.list('iface').filter((name) => name !== ''),
    publicIp: flags.text('public-ip'),
    subnetFile: flags.text('subnet-file'),
    offload: readTier(flags.text('offload')),
    lanes,
    openStore: () =>
      etcd === undefined
        ? new FileStore({ file, clock, log })
        : new etcd.EtcdStore({ endpoints, prefix, clock, log }),
    renewMargin,
    onLeaseLoss,
    clock,
    random: Math.random,
    log,
    lifecycle,
  });
  try {
    await daemon.start();
  } catch (error) {
    // While leaving, whatever ends the start is a consequence of that.
    if (!lifecycle.leaving) await lifecycle.leave(1, messageOf(error));
  }
  return new Promise<never>(() => {});
}

/** A flag of flanneld's that does nothing here is refused by name: better than ignored. */
function parse(args: readonly string[]): Flags {
  try {
    return parseFlags([...FLANNELD, ...WEFT, HELP], args, process.env);
  } catch (error) {
    const [, name = ''] = /^unknown flag --?(.+)$/.exec(messageOf(error)) ?? [];
    if (!NOT_YET.includes(name)) throw error;
    throw new UsageError(`-${name} is a flag of flanneld's that weft does not honour yet`);
  }
}

function readEndpoints(text: string): string[] {
  try {
    return checkEndpoints(text.split(','));
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

function readTier(text: string): TierName {
  if (text === 'auto') return 'segment';
  const tier = TIER_NAMES.find((name) => name === text);
  if (tier !== undefined) return tier;
  throw new UsageError(`-offload=${text}: give auto, ${TIER_NAMES.join(', ')}`);
}

function readLanes(flags: Flags, processors: number): LaneCount {
  const threads = flags.int('lane-threads');
  if (threads !== 1 && threads !== 2) {
    throw new UsageError(`-lane-threads=${flags.text('lane-threads')}: give 1 or 2`);
  }
  if (!flags.given('lanes')) return { ...defaultLanes(processors), threads };
  const lanes = flags.int('lanes');
  if (lanes >= 1 && lanes <= MOST_LANES) return { lanes, threads, reason: '' };
  throw new UsageError(`-lanes=${flags.text('lanes')}: give 1 to ${MOST_LANES}`);
}
