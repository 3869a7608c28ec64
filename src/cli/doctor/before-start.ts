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
import type { Config } from '../../control/overlay/config.js';
import { formatSubnet } from '../../control/overlay/subnet.js';
import { readPreviousSubnet } from '../../control/overlay/subnet-env.js';
import type { Clock, Random } from '../../control/runtime.js';
import type { Store } from '../../control/store/store.js';
import { type Look, saw, wrong } from '../../operate/diagnose/look.js';
import type { HostCheck, Subject } from '../../operate/findings/check.js';
import type { Finding } from '../../operate/findings/finding.js';
import { lookAtHosts } from './peers.js';
import { lookAtStore } from './store.js';

const PROC = '/proc';
const PLACES = { proc: PROC, cgroups: '/sys/fs/cgroup', tun: '/dev/net/tun' };

export interface BeforeStart {
  readonly clock: Clock;
  readonly random: Random;
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
  const store = await lookAtStore({ ...options, publicIp: underlay.found?.publicIp });
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
