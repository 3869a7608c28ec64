/**
 * `weft up`: wires the control plane to the lanes and runs until told to stop.
 *
 *   1. preflight   /dev/net/tun, rights, ip                         exits when one is missing
 *   2. config      waits for it, as flannel does
 *   3. underlay    which interface, which address
 *   4. sockets     the UDP port                                     exits when it is taken
 *   5. TUN         opened, the journal written first                exits when it is in use
 *   6. lease       acquired; the address goes on the TUN
 *   7. lanes       packets can flow
 *   8. subnet.env  so that Docker and CNI may start
 *   9. follow      peers into the lanes' table, then into the kernel's
 *
 * It alone carries membership from the overlay to the host and to the routes.
 */
import { createCounters, readTotals } from '../../dataplane/forward/counters.js';
import { LaneThread } from '../../dataplane/forward/lane-thread.js';
import { loadNative, type NativeError } from '../../dataplane/io/native.js';
import { TIERS, type TierName, tierName } from '../../dataplane/io/tiers.js';
import { type OpenTun, openTun } from '../../dataplane/io/tun.js';
import { type OpenUdp, openUdp } from '../../dataplane/io/udp.js';
import { Publisher } from '../../dataplane/routes/publisher.js';
import { formatMac } from '../../dataplane/wire/ethernet.js';
import { formatAddress, parseAddress } from '../../dataplane/wire/ipv4.js';
import { serveStatus, socketPath } from '../../operate/status/socket.js';
import type { Status } from '../../operate/status/status.js';
import { configure } from '../host/device.js';
import { HostError } from '../host/errors.js';
import { chooseInterface, type Interface } from '../host/interfaces.js';
import { Ip } from '../host/ip.js';
import { Journal } from '../host/journal.js';
import { describePortUser } from '../host/ports.js';
import { preflight } from '../host/preflight.js';
import { RouteSync } from '../host/routes.js';
import { systemRunner } from '../host/runner.js';
import { ensureForwarding } from '../host/sysctls.js';
import type { OwnLease } from '../overlay/acquire.js';
import type { Config } from '../overlay/config.js';
import { Overlay } from '../overlay/network.js';
import type { Membership, Peer } from '../overlay/peers.js';
import { formatSubnet } from '../overlay/subnet.js';
import { formatSubnetEnv, readPreviousSubnet, writeSubnetEnv } from '../overlay/subnet-env.js';
import type { Clock, Log, Random } from '../runtime.js';
import { messageOf, type Store } from '../store/store.js';
import type { Lifecycle } from './lifecycle.js';
import { readKernelUdp } from './snmp.js';

/** Outer IPv4 and UDP, VXLAN, inner Ethernet. */
const OVERHEAD = 50;
/** The least MTU that IPv4 may have (RFC 791). */
const LEAST_MTU = 68;
const DEVICE_NAME_MAX = 15;

export interface DaemonOptions {
  readonly version: string;
  readonly iface: readonly string[];
  readonly publicIp: string;
  readonly subnetFile: string;
  /** The highest tier to use; what the kernel lacks of it is left out. */
  readonly offload: TierName;
  readonly openStore: () => Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly lifecycle: Lifecycle;
}

/** A start that cannot go on; its message is for the operator. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #started: number;
  readonly #counters = createCounters(1);
  #peers: readonly Peer[] = [];
  #routeProblems: readonly string[] = [];
  #lost: string | null = null;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#started = options.clock.now();
  }

  /** Returns when packets flow and the peers are followed; rejects with what stopped it. */
  async start(): Promise<void> {
    const { log, lifecycle, clock, random } = this.#options;
    const missing = await preflight(systemRunner);
    if (missing.length > 0) throw new StartError(missing.join('\n'));

    const store = this.#options.openStore();
    lifecycle.onLeave('the store', () => store.close());
    const overlay = new Overlay({ store, clock, random, log });
    lifecycle.onLeave('the overlay', () => overlay.stop());
    const config = await overlay.waitForConfig();
    const { vni, port } = config.backend;

    const { iface, publicIp } = this.#options;
    const underlay = await chooseInterface(systemRunner, { iface, publicIp });
    log.info(
      `underlay ${underlay.name}, address ${underlay.address}, MTU ${underlay.mtu}` +
        (underlay.publicIp === underlay.address ? '' : `, public IP ${underlay.publicIp}`),
    );
    const mtu = this.#tunnelMtu(config, underlay);

    const native = loadNative();
    const sockets = await this.#openSockets(underlay.address, port);
    lifecycle.onLeave('the sockets', () => {
      native.close(sockets.listener);
      native.close(sockets.sender);
    });

    const name = deviceName(vni);
    const journal = Journal.open(name);
    const tun = this.#openDevice(name);
    lifecycle.onLeave('the TUN', () => {
      native.close(tun.fd);
    });

    const lease = await overlay.join(config, {
      publicIp: addressOf(underlay.publicIp),
      previousSubnet: readPreviousSubnet(this.#options.subnetFile),
    });

    const ip = new Ip(systemRunner, clock);
    lifecycle.onLeave('ip', () => ip.close());
    const { index } = await configure(ip, {
      name,
      mtu,
      address: formatAddress(lease.subnet.address),
      network: formatSubnet(config.network),
    });
    journal.record({ kind: 'device', name, index });
    this.#forward(journal);

    const publisher = new Publisher({ vni, ownMac: lease.vtepMac, lanes: 1 });
    const local = [{ network: lease.subnet.address, length: lease.subnet.length }];
    publisher.publish([], local);
    const lane = new LaneThread({
      lane: 0,
      counters: this.#counters,
      publisher,
      tun: tun.fd,
      listener: sockets.listener,
      sender: sockets.sender,
      options: {
        vni,
        mac: lease.vtepMac,
        mtu,
        uso: tun.uso,
        segments: sockets.segment,
        vnet: tun.vnet,
      },
    });
    lifecycle.onLeave('the lane', async () => {
      lane.stop();
      await lane.ended;
    });
    void lane.ended.then((error) => {
      if (lifecycle.leaving) return;
      void lifecycle.leave(1, `the lane ended: ${error?.stack ?? 'without an error'}`);
    });

    await lane.started;

    const env = { network: config.network, subnet: lease.subnet, mtu, ipMasq: false };
    this.#writeSubnetFile(journal, env);

    const server = await serveStatus(socketPath(name), () =>
      this.#status(name, mtu, port, vni, underlay, store, lease, publisher, tun, sockets, lane),
    );
    lifecycle.onLeave('the status socket', () => {
      server.close();
    });

    const routes = new RouteSync(ip, name, formatSubnet(config.network));
    await new Promise<void>((resolve) => {
      overlay.follow({
        members: (membership) => {
          this.#adopt(membership, publisher, local, port, routes, resolve);
        },
        lost: (reason) => {
          this.#lost = reason;
          void lifecycle.leave(0, `${reason}; weft gives the network up, as flanneld does`);
        },
      });
    });
    const tier = tierName(tun.vnet, tun.uso, lane.segments);
    log.info(
      `ready: ${name} ${formatSubnet(lease.subnet)}, MTU ${mtu}, VNI ${vni}, UDP port ${port}, ` +
        `tier ${tier}, ${this.#peers.length} peers`,
    );
  }

  /** Peers first into the table of the lanes, then into the kernel's: both are needed. */
  #adopt(
    membership: Membership,
    publisher: Publisher,
    local: readonly { network: number; length: number }[],
    port: number,
    routes: RouteSync,
    done: () => void,
  ): void {
    const { log } = this.#options;
    this.#peers = membership.peers;
    publisher.publish(
      membership.peers.map(({ subnet, publicIp, vtepMac }) => ({
        network: subnet.address,
        length: subnet.length,
        peer: { address: publicIp, port, mac: vtepMac },
      })),
      local,
    );
    void routes.set(membership.peers.map(({ subnet }) => formatSubnet(subnet))).then((report) => {
      for (const problem of report.problems) {
        if (!this.#routeProblems.includes(problem)) log.warn(problem);
      }
      this.#routeProblems = report.problems;
      done();
    });
    const tell = (verb: string, peers: readonly Peer[]): void => {
      for (const { subnet, publicIp, vtepMac } of peers) {
        log.info(
          `peer ${verb}: ${formatSubnet(subnet)} at ${formatAddress(publicIp)}, ${formatMac(vtepMac)}`,
        );
      }
    };
    tell('joined', membership.added);
    tell('changed', membership.changed);
    tell('left', membership.removed);
  }

  #tunnelMtu(config: Config, underlay: Interface): number {
    const wanted = config.backend.mtu ?? underlay.mtu;
    if (wanted > underlay.mtu) {
      this.#options.log.warn(
        `Backend.MTU is ${wanted}, but ${underlay.name} has an MTU of ${underlay.mtu}; ` +
          `using ${underlay.mtu}, since larger packets could not leave`,
      );
    }
    const mtu = Math.min(wanted, underlay.mtu) - OVERHEAD;
    if (mtu < LEAST_MTU) {
      throw new StartError(
        `an underlay MTU of ${wanted} leaves ${mtu} bytes for the tunnel, and IPv4 needs ` +
          `${LEAST_MTU}; raise Backend.MTU to at least ${LEAST_MTU + OVERHEAD}`,
      );
    }
    return mtu;
  }

  async #openSockets(address: string, port: number): Promise<OpenUdp> {
    try {
      return openUdp(addressOf(address), port, TIERS[this.#options.offload]);
    } catch (error) {
      const { code } = error as NativeError;
      if (code === 'EADDRINUSE') {
        const user = await describePortUser(systemRunner, address, port);
        throw new StartError(user ?? `UDP port ${port} on ${address} is taken`);
      }
      throw new StartError(`cannot listen on UDP ${address}:${port}: ${messageOf(error)}`);
    }
  }

  #openDevice(name: string): OpenTun {
    try {
      return openTun(name, TIERS[this.#options.offload]);
    } catch (error) {
      const { code } = error as NativeError;
      if (code === 'EBUSY' || code === 'EINVAL') {
        throw new StartError(
          `there is a device ${name} already, left by flanneld or in use by another process; ` +
            `see: ip -d link show ${name}; if nobody needs it: ip link delete ${name}`,
        );
      }
      throw new StartError(`cannot create the TUN ${name}: ${messageOf(error)}`);
    }
  }

  /** Without it nothing passes between containers and the TUN; in a sandbox it may be set already. */
  #forward(journal: Journal): void {
    const { log } = this.#options;
    try {
      if (ensureForwarding(journal)) log.info('switched IPv4 forwarding on');
    } catch (error) {
      log.warn(messageOf(error));
    }
  }

  #writeSubnetFile(journal: Journal, env: Parameters<typeof formatSubnetEnv>[0]): void {
    const { subnetFile, log } = this.#options;
    try {
      journal.record({ kind: 'file', path: subnetFile, wrote: formatSubnetEnv(env) });
      writeSubnetEnv(subnetFile, env);
      log.info(`wrote ${subnetFile}`);
    } catch (error) {
      log.warn(`cannot write ${subnetFile}: ${messageOf(error)}; Docker and CNI will miss it`);
    }
  }

  #status(
    name: string,
    mtu: number,
    port: number,
    vni: number,
    underlay: Interface,
    store: Store,
    lease: OwnLease,
    publisher: Publisher,
    tun: OpenTun,
    sockets: OpenUdp,
    lane: LaneThread,
  ): Status {
    const { version, clock } = this.#options;
    const { routes, epoch } = publisher.counts;
    return {
      version,
      pid: process.pid,
      uptimeSeconds: (clock.now() - this.#started) / 1000,
      device: { name, address: `${formatAddress(lease.subnet.address)}/32`, mtu },
      underlay: {
        interface: underlay.name,
        mtu: underlay.mtu,
        address: underlay.address,
        port,
        publicIp: underlay.publicIp,
      },
      store: store.description,
      lease: {
        subnet: formatSubnet(lease.subnet),
        vtepMac: formatMac(lease.vtepMac),
        vni,
        id: lease.lease === 0n ? null : lease.lease.toString(16),
        lost: this.#lost,
      },
      peers: this.#peers.map(({ subnet, publicIp, vtepMac }) => ({
        subnet: formatSubnet(subnet),
        publicIp: formatAddress(publicIp),
        vtepMac: formatMac(vtepMac),
      })),
      routes: { published: routes, epoch, problems: this.#routeProblems },
      offload: {
        tier: tierName(tun.vnet, tun.uso, lane.segments),
        tunTso: tun.tso,
        tunUso: tun.uso,
        udpGro: sockets.gro,
        receiveBuffer: sockets.receiveBuffer,
      },
      lanes: [{ running: lane.running, queued: lane.queued }],
      ...readTotals(this.#counters),
      kernelUdp: readKernelUdp(),
    };
  }
}

/** `flannel.1`; a VNI of eight digits leaves no room for the dot. */
export function deviceName(vni: number): string {
  const usual = `flannel.${vni}`;
  return usual.length <= DEVICE_NAME_MAX ? usual : `flannel${vni}`;
}

function addressOf(text: string): number {
  const address = parseAddress(text);
  if (address === undefined) throw new HostError('EINVAL', `${text} is not an IPv4 address`);
  return address;
}
