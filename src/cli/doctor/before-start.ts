/** What `weft doctor` looks at where no weft runs yet: all that a start needs, in the order of a start. */
import os from 'node:os';
import { lookWith } from '../../control/daemon/examiner.js';
import { defaultLanes } from '../../control/daemon/lanes.js';
import { measuring, tunnelMtu } from '../../control/daemon/mtu.js';
import { deviceName } from '../../control/daemon/open.js';
import { askingOnce } from '../../control/host/ask-ip.js';
import { HostError } from '../../control/host/errors.js';
import { chooseInterface, type Interface, type Selection } from '../../control/host/interfaces.js';
import { Ip } from '../../control/host/ip.js';
import { findLeftover } from '../../control/host/leftover.js';
import { describePortUser } from '../../control/host/ports.js';
import { checkLanes, preflight } from '../../control/host/preflight.js';
import { systemRunner } from '../../control/host/runner.js';
import { type Config, ConfigError, parseConfig } from '../../control/overlay/config.js';
import { parseLeaseValue } from '../../control/overlay/lease-value.js';
import { formatSubnet } from '../../control/overlay/subnet.js';
import { readPreviousSubnet } from '../../control/overlay/subnet-env.js';
import type { Clock } from '../../control/runtime.js';
import { messageOf, type Store, StoreError, StoreUnreachable } from '../../control/store/store.js';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { type Look, saw, wrong } from '../../operate/diagnose/look.js';
import type { HostCheck, Subject } from '../../operate/findings/check.js';
import type { Finding } from '../../operate/findings/finding.js';
import { lookAtHosts } from './peers.js';

const PROC = '/proc';
const PLACES = { proc: PROC, cgroups: '/sys/fs/cgroup', tun: '/dev/net/tun' };
/** A store that says nothing for so long is away. */
const STORE_MS = 6_000;

export interface BeforeStart {
  readonly clock: Clock;
  readonly openStore: () => Promise<Store>;
  readonly underlay: Selection;
  readonly subnetFile: string;
  /** `-iptables-forward-rules`. */
  readonly forwardRules: boolean;
  readonly checks: readonly HostCheck[];
  /** The process that is starting just now, which may have port and device already; null: none. */
  readonly weft: number | null;
}

/** Changes nothing. */
export async function lookBeforeStart(options: BeforeStart): Promise<Look[]> {
  const looks = [...(await lookAtHost())];
  const underlay = await lookAtUnderlay(options);
  looks.push(underlay.look);
  const store = await lookAtStore(options);
  looks.push(...store.looks);
  if (underlay.found === undefined || store.config === undefined) return looks;
  const mtu = mtuOf(store.config, underlay.found);
  if (typeof mtu !== 'number') return [...looks, mtu];
  if (options.weft === null) looks.push(...(await lookAtPlace(store.config, underlay.found)));
  const subject = subjectOf(options, store.config, underlay.found, mtu);
  const others = store.hosts?.filter((host) => host !== underlay.found?.publicIp) ?? [];
  looks.push(...(await lookAtHosts(others)));
  for (const check of options.checks) {
    const found = await lookWith(check, subject);
    const findings =
      options.forwardRules && !store.config.nftables ? found.map(openedByStart) : found;
    looks.push({ at: 'host', saw: check.name, findings });
  }
  return looks;
}

/** What a start puts rules of its own before is no fault yet. */
function openedByStart(finding: Finding): Finding {
  const { code, about, text } = finding;
  const isForward = /^iptables' table filter, /.test(about) && !text.includes('UDP port');
  if (code !== 'firewall-drop' || !isForward) return finding;
  const words = `${text}; weft up sets its own rules before that`;
  return { ...finding, severity: 'note', text: words, cure: '' };
}

async function lookAtHost(): Promise<Look[]> {
  const { lanes } = defaultLanes(os.availableParallelism());
  const { tun, others } = await preflight(systemRunner, PLACES, lanes);
  const looks = others.map((lack) => wrong('rights', 'preflight', lack));
  if (others.length === 0) looks.push(saw('rights', 'CAP_NET_ADMIN, ip, descriptors and threads'));
  looks.push(
    tun === null ? saw('tun', `${PLACES.tun} can be opened`) : wrong('tun', 'no-tun', tun),
  );
  const lack = checkLanes({ threads: lanes, reserve: () => {} }, PLACES);
  if (lack !== null) looks.push(wrong('lanes', 'lanes', lack));
  return looks;
}

async function lookAtUnderlay({
  underlay,
  clock,
}: BeforeStart): Promise<{ look: Look; found?: Interface }> {
  try {
    const chosen = await chooseInterface(systemRunner, underlay);
    const ip = new Ip(systemRunner, clock);
    try {
      const found = await measuring(ip, '0.0.0.0/0')(chosen);
      const { name, address, mtu, publicIp } = found;
      const told = publicIp === address ? '' : `, public IP ${publicIp}`;
      return { look: saw('underlay', `${name}, address ${address}, MTU ${mtu}${told}`), found };
    } finally {
      await ip.close();
    }
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { look: wrong('underlay', 'underlay', error.message) };
  }
}

async function lookAtStore({
  openStore,
  clock,
}: BeforeStart): Promise<{ looks: Look[]; config?: Config; hosts?: readonly string[] }> {
  let store: Store;
  try {
    store = await openStore();
  } catch (error) {
    return { looks: [wrong('store', 'store-files', messageOf(error))] };
  }
  const begun = clock.now();
  try {
    const text = await within(store.readConfig(), STORE_MS, clock);
    const ms = Math.round(clock.now() - begun);
    const answers = saw('store', `${store.description} answers (${ms} ms with the connection)`);
    if (text === undefined) {
      const hint = await store.hintForMissingConfig();
      const why = `there is no network config at ${store.configName}`;
      return {
        looks: [
          answers,
          wrong('config', 'no-config', hint === undefined ? why : `${why}: ${hint}`),
        ],
      };
    }
    const config = parseConfig(text, store.configName);
    const { backend } = config;
    const of =
      backend.type === 'vxlan' ? `vxlan, VNI ${backend.vni}, UDP ${backend.port}` : backend.type;
    const { entries } = await within(store.list(), STORE_MS, clock);
    const hosts = [...new Set(entries.flatMap(({ value }) => hostOf(value)))];
    const looks = [answers, saw('config', `${formatSubnet(config.network)}, ${of}`)];
    return { looks, config, hosts };
  } catch (error) {
    if (error instanceof ConfigError) return { looks: [wrong('config', 'config', error.message)] };
    const expected = [StoreError, StoreUnreachable, Late];
    if (!expected.some((kind) => error instanceof kind)) throw error;
    const why =
      error instanceof Late
        ? `${store.description} does not answer within ${STORE_MS / 1000} s`
        : messageOf(error);
    return {
      looks: [
        wrong(
          'store',
          'store-away',
          why,
          'start etcd, or name where it is: -etcd-endpoints=http://ADDRESS:2379',
        ),
      ],
    };
  } finally {
    await store.close();
  }
}

/** The public IP in a lease's value; none of what is no lease. */
function hostOf(value: string): string[] {
  try {
    return [formatAddress(parseLeaseValue(value).publicIp)];
  } catch {
    return [];
  }
}

class Late extends Error {}

function within<T>(work: Promise<T>, ms: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(new Late()));
    work.then(resolve, reject).finally(cancel);
  });
}

/** Whether what weft would take is free: the port, and the device's name. */
async function lookAtPlace({ backend }: Config, { address }: Interface): Promise<Look[]> {
  if (backend.type !== 'vxlan') return [];
  const { vni, port } = backend;
  const device = deviceName(vni);
  const looks: Look[] = [];
  try {
    const leftover = await findLeftover(systemRunner, { device, vni, port }, PROC);
    looks.push(
      saw(
        'device',
        leftover === null ? `${device} is free` : `${device} is flanneld's: weft takes its place`,
      ),
    );
    // A leftover of flanneld's has the port, too, and is removed by the start.
    const user = leftover === null ? await describePortUser(systemRunner, address, port) : null;
    looks.push(
      user === null
        ? saw('port', `UDP ${address}:${port} is free`)
        : wrong('port', 'port-taken', user),
    );
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    looks.push(wrong('device', 'device', error.message));
  }
  return looks;
}

/** The containers'; what is wrong where it is too small. */
function mtuOf({ backend }: Config, underlay: Interface): number | Look {
  try {
    return backend.type === 'vxlan' ? tunnelMtu(backend.mtu, underlay) : underlay.mtu;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return wrong('config', 'mtu', error.message);
  }
}

function subjectOf(
  { subnetFile, weft }: BeforeStart,
  { network, backend }: Config,
  underlay: Interface,
  mtu: number,
): Subject {
  const previous = readPreviousSubnet(subnetFile);
  const vxlan = backend.type === 'vxlan' ? backend : undefined;
  return {
    ...{ pid: weft, runner: systemRunner, proc: PROC, backend: backend.type, peers: [] },
    ...{ ask: askingOnce(systemRunner), nftGeneration: null },
    network: formatSubnet(network),
    subnet: formatSubnet(previous ?? network),
    device: vxlan === undefined ? null : deviceName(vxlan.vni),
    mtu,
    underlay: {
      interface: underlay.name,
      address: underlay.address,
      publicIp: underlay.publicIp,
      mtu: underlay.mtu,
      port: vxlan?.port ?? null,
    },
  };
}
