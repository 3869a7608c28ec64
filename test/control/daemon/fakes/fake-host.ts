/** A whole host for a daemon: a kernel, folders, a store and a clock, all of which obey the test. */
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { Daemon } from '../../../../src/control/daemon/daemon.js';
import type { DaemonOptions } from '../../../../src/control/daemon/ground.js';
import type { Host } from '../../../../src/control/daemon/host.js';
import { Lifecycle } from '../../../../src/control/daemon/lifecycle.js';
import type { Prober } from '../../../../src/control/daemon/paths.js';
import type { Following, Listener } from '../../../../src/control/store/store.js';
import { readStatus, socketPath } from '../../../../src/operate/status/socket.js';
import type { Answer } from '../../../../src/operate/status/status.js';
import { FakeClock, Lines, seeded, settle } from '../../fakes.js';
import { plant, scratch } from '../../host/fakes.js';
import { MemoryStore } from '../../overlay/memory-store.js';
import { FakeKernel } from './kernel.js';
import { FakeIo } from './packet-io.js';

const PID = 4711;
const HERE = '192.168.56.11';
export const VXLAN = '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}}';
export const HOST_GW = '{"Network":"10.10.0.0/16","Backend":{"Type":"host-gw"}}';
/** What an earlier run left, so that this one has the same subnet. */
export const EARLIER = 'FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=10.10.64.1/24\n';
/** CAP_NET_ADMIN, and root. */
const ROOT = 'Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n';

export class FakeHost implements Host {
  readonly rulesNumber = () => null;
  readonly pid = PID;
  readonly runDirectory: string;
  readonly folder: string;
  readonly proc: string;
  readonly cgroups = '/nowhere';
  readonly tunFile = '/dev/null';
  readonly subnetFile: string;
  readonly runner: FakeKernel;
  readonly io: FakeIo;
  readonly clock = new FakeClock();
  readonly log = new Lines();
  readonly store: MemoryStore;
  readonly lifecycle: Lifecycle;
  /** All that was done to the host, in its order. */
  readonly did: string[] = [];
  /** The process's exit codes. */
  readonly exits: number[] = [];

  /** With `ens33`, 192.168.56.11, the default route there, and a vxlan network in the store. */
  constructor(t: Pick<TestContext, 'after'>) {
    const root = scratch(t);
    this.runDirectory = path.join(root, 'run');
    this.folder = this.runDirectory;
    this.proc = path.join(root, 'proc');
    this.subnetFile = path.join(root, 'flannel/subnet.env');
    plant(this.proc, {
      'self/status': ROOT,
      'self/net/dev': '',
      [`${PID}/stat`]: stat(PID, 1000),
      'sys/net/ipv4/ip_forward': '1\n',
      'sys/net/ipv4/conf/default/forwarding': '1\n',
      'net/udp': '',
    });
    plant(root, { 'flannel/subnet.env': EARLIER });
    this.runner = new FakeKernel(this.did);
    this.store = new NotedStore(this.did);
    this.io = new FakeIo(this.runner);
    this.runner.add('ens33', { addresses: [`${HERE}/24`] });
    this.runner.routes.push({ dst: 'default', dev: 'ens33', gateway: '192.168.56.1', flags: [] });
    this.store.config = VXLAN;
    this.lifecycle = new Lifecycle(this.log, (code) => this.exits.push(code));
    t.after(() => this.lifecycle.leave(0, 'the test is over'));
  }

  /** Why no path can be measured; undefined: they can, and all answer at once. */
  echoLack: string | undefined = 'no raw sockets here';
  /** How often one was measured. */
  measured = 0;

  /** Whether its code was read. */
  echoIsRead = false;

  async readEcho(): Promise<void> {
    this.echoIsRead = true;
  }

  async openEcho(): Promise<Prober> {
    if (this.echoLack !== undefined) throw new Error(this.echoLack);
    const send = async (_to: number, size: number) => {
      // What asks how it stands with a peer is shorter.
      if (size === 1500) this.measured += 1;
      return { kind: 'answered' } as const;
    };
    return { send, closed: '', close: () => this.did.push('close the prober') };
  }

  daemon(more: Partial<DaemonOptions> = {}): Daemon {
    return new Daemon({
      version: '1.2.3',
      build: null,
      underlay: {},
      subnetFile: this.subnetFile,
      offload: 'segment',
      lanes: { lanes: 1, threads: 1, reason: '' },
      accept: 'peers',
      firewall: {
        ...{ masquerade: false, fullyRandom: true, forward: false },
        ...{ guard: false, resyncMs: 5_000 },
      },
      blackhole: false,
      probePeers: true,
      openStore: () => this.store,
      renewMarginMs: 3_600_000,
      onLeaseLoss: 'exit',
      ...{ clock: this.clock, random: seeded(1), log: this.log, lifecycle: this.lifecycle },
      logStream: { lost: 0, trouble: '' },
      retell: () => {},
      saveBatch: () => undefined,
      host: this,
      ...more,
    });
  }

  /** Starts one, and lets all that it begins come to rest. */
  async started(more: Partial<DaemonOptions> = {}): Promise<Daemon> {
    const daemon = this.daemon(more);
    await daemon.start();
    await settle();
    return daemon;
  }

  /** What ended a start that was refused, after all that it had made was undone. */
  async refused(daemon: Daemon): Promise<string> {
    let why = '';
    await daemon.start().catch((error: Error) => {
      why = error.message;
    });
    if (why === '') throw new Error('it has started');
    await this.lifecycle.leave(1, why);
    return why;
  }

  /** What `weft status` is told; `starting` before the device is known. */
  status(name: string): Promise<Answer> {
    return readStatus(socketPath(name === 'starting' ? `starting-${PID}` : name, this.folder));
  }

  /** The kinds in the journal of a device, in the order in which they were recorded. */
  journal(device: string): string[] {
    const file = path.join(this.folder, `${device}.json`);
    if (!fs.existsSync(file)) return [];
    const { entries } = JSON.parse(fs.readFileSync(file, 'utf8')) as { entries: Named[] };
    return entries.map(({ kind }) => kind);
  }

  get subnetEnv(): string {
    return fs.readFileSync(this.subnetFile, 'utf8');
  }

  /** Another process with that number, and the journal of a device that is its own. */
  plantRival(device: string, pid: number): void {
    plant(this.proc, { [`${pid}/stat`]: stat(pid, 7) });
    const owner = { pid, startTime: '7' };
    const text = JSON.stringify({ version: 1, owner, entries: [] });
    plant(this.folder, { [`${device}.json`]: text });
  }

  /** What another host's lease says. */
  peer(subnet: string, publicIp: string, backend = 'vxlan'): void {
    const data =
      backend === 'vxlan' ? ',"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}' : '';
    this.store.put(
      subnet,
      `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"${backend}"${data}}`,
    );
  }

  /** Gives `ens33` another address. */
  readdress(address: string): void {
    this.runner.link('ens33')!.addresses = [`${address}/24`];
    this.runner.announce();
  }

  /** The rest of what was done, as text. */
  take(): string[] {
    return this.did.splice(0);
  }
}

class NotedStore extends MemoryStore {
  readonly #did: string[];

  constructor(did: string[]) {
    super();
    this.#did = did;
  }

  override follow(listener: Listener): Following {
    // One that is away has nothing to tell.
    const following = super.follow({
      snapshot: (listing) => this.away || listener.snapshot(listing),
      changes: (batch) => this.away || listener.changes(batch),
    });
    const stop = (): Promise<void> => {
      this.#did.push('follow no more');
      return following.stop();
    };
    return { stop, state: following.state };
  }

  override async close(): Promise<void> {
    this.#did.push('close the store');
  }
}

interface Named {
  readonly kind: string;
}

function stat(pid: number, startTime: number): string {
  return `${pid} (node) S ${'0 '.repeat(18)}${startTime} 0\n`;
}
