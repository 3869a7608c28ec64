/**
 * `weft up`: wires the control plane to the lanes and runs until told to stop.
 *
 *   1. preflight   rights, limits, ip, /dev/net/tun                 exits when one is missing
 *   2. status      the socket, which from now on tells what is waited for
 *   3. config      waits for it, as flannel does                    exits when weft has no such backend
 *   4. underlay    which interface, which address
 *   5. journal     whose device this is                             exits when a weft runs for it
 *   6. sockets     the UDP port, one listener a lane                exits when it is taken
 *   7. TUN         opened, one queue a lane                         exits when it is in use
 *   8. lease       acquired
 *   9. firewall    masquerade and forward rules, the guard         exits when asked for and refused
 *  10. lanes       the TUN up with its address, packets can flow
 *  11. subnet.env  so that Docker and CNI may start
 *  12. reconcile   from here on what others change is put right
 *  13. follow      peers into the lanes' table, then into the kernel's
 *
 * From 5 on the backends part (start-vxlan.ts, start-host-gw.ts; what they share is in start.ts).
 * Where a flanneld left its device, 6 and 7 are rehearsed in their place and done after 9. With
 * host-gw there are no sockets, no TUN and no lanes: 6, 7 and 10 are left out, and nothing but the
 * kernel's table gets the peers.
 *
 * It alone carries membership from the overlay to the host and to the routes.
 */

import type { AnyStatus } from '../../operate/findings/check.js';
import { hostChecks, STATUS_CHECKS } from '../../operate/findings/checks.js';
import { withoutConsequences } from '../../operate/findings/consequences.js';
import { type Finding, judge, keyOf, sortFindings } from '../../operate/findings/finding.js';
import { judgeRefused } from '../../operate/findings/unsound.js';
import { counted } from '../../operate/status/format.js';
import type { SetUp } from '../../operate/status/set-up.js';
import type { Answer, Starting } from '../../operate/status/status.js';
import { readHostId } from '../host/host-id.js';
import { Ip } from '../host/ip.js';
import { childrenMs, processorMs } from '../host/processor-time.js';
import { removeIfUnused } from '../host/run-folder.js';
import { readSysctl } from '../host/sysctls.js';
import { Overlay } from '../overlay/network.js';
import { formatSubnet } from '../overlay/subnet.js';
import { readPreviousSubnet } from '../overlay/subnet-env.js';
import type { Store } from '../store/store.js';
import { chooseUnderlay } from './choose-underlay.js';
import { timeOfDay } from './clock.js';
import { EarlyLook } from './early-look.js';
import { Examiner } from './examiner.js';
import { asFindings, LEASE, LOG, LOST, NOT_SAVED, STANDS, TOLD_ELSEWHERE } from './faults.js';
import type { DaemonOptions, Ground, Running } from './ground.js';
import { HostQueues } from './host-queues.js';
import { threadsOf } from './lanes.js';
import { measuring } from './mtu.js';
import { checkHost, StartError } from './open.js';
import { Reconciler } from './reconcile.js';
import {
  describeLogTrouble,
  describeLost,
  describeStanding,
  describeUnused,
  isVxlan,
  report,
  reportHostGw,
  reportUnsound,
} from './report.js';
import { Start } from './start.js';
import { startHostGw } from './start-host-gw.js';
import { startVxlan } from './start-vxlan.js';
import { NamedStatus } from './status.js';
import { subjectOf } from './subject.js';
import type { Look } from './systemd.js';
import { Teller } from './teller.js';
import { describeUnderlay } from './underlay.js';

/** A start that waits for the store reads the rest of its code then; others at their end. */
const READ_MS = 500;

type State =
  /** `doing`: what is done just now, for `weft status`. */
  | { readonly is: 'starting'; readonly doing: string }
  | { readonly is: 'running'; readonly made: Running };

export class Daemon {
  readonly #options: DaemonOptions;
  readonly #loop: Reconciler;
  readonly #teller: Teller;
  readonly #queues: HostQueues;
  readonly #begun: number;
  #state: State = { is: 'starting', doing: 'looking at this host' };
  #store: Store | undefined;
  #overlay: Overlay | undefined;
  #early: EarlyLook | undefined;
  #examiner: Examiner | undefined;
  /** What the parts find wrong that are made, beside the loop. */
  readonly #parts: (() => readonly Finding[])[] = [];
  /** Of all hosts' containers; empty while the config is not known. */
  #overlayNetwork = '';
  #nftables = false;
  #ip: Ip | undefined;
  /** Why the lease is not ours any more. */
  #lost: string | null = null;

  constructor(options: DaemonOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.#loop = new Reconciler(clock, log, () => this.#spent());
    const findings = () => this.#all();
    const isSure = (finding: Finding) => this.#examiner?.isSure(finding) ?? true;
    this.#teller = new Teller({ clock, log, findings, isSure, elsewhere: TOLD_ELSEWHERE });
    this.#queues = new HostQueues(options.host.proc);
    this.#begun = options.clock.now();
  }

  /**
   * Returns when packets flow and the peers are followed. Rejects with what stopped it; with
   * Leaving or OverlayStopped when the way out began meanwhile.
   */
  async start(): Promise<void> {
    const { lifecycle } = this.#options;
    lifecycle.onLeave('the faults', () => this.#teller.stop());
    this.#teller.start();
    try {
      await this.#start();
    } catch (error) {
      // It may come of what has not lasted yet.
      if (!lifecycle.leaving) this.#teller.tellHost();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { host, log, lifecycle, clock } = this.#options;
    const awaited = <T>(work: Promise<T>) => lifecycle.unlessLeaving(work);

    // 1. preflight
    const laneLack = await awaited(checkHost(host, log, this.#options.lanes));

    // 2. status
    const socket = new NamedStatus(() => this.answer(), host);
    lifecycle.onLeave('the run folder', () => removeIfUnused(host.folder, host.runDirectory));
    lifecycle.onLeave('the status socket', () => socket.close());
    await awaited(this.#loop.begin(socket));
    this.#loop.add({ name: 'the log', reconcile: async () => this.#retell() });

    // 3. config
    const store = this.#options.openStore();
    this.#store = store;
    lifecycle.onLeave('the store', () => store.close());
    const overlay = this.#openOverlay(store);
    this.#doing(`reading the network config from ${store.description}`);
    const { underlay: selection, subnetFile } = this.#options;
    const early = new EarlyLook(host.runner, selection, clock, log);
    this.#early = early;
    lifecycle.onLeave('the early look', () => early.end());
    const asked = overlay.waitForConfig();
    // Beside the store's answer, and before the files of this build can be replaced.
    if (laneLack === null) host.io.prepareThreads(threadsOf(this.#options.lanes));
    const cancel = clock.after(READ_MS, () => void host.readEcho());
    lifecycle.onLeave('reading the rest', cancel);
    const config = await awaited(asked).finally(() => early.end());
    const { backend } = config;
    this.#overlayNetwork = formatSubnet(config.network);
    this.#nftables = config.nftables;
    if (backend.type === 'vxlan' && laneLack !== null) throw new StartError(laneLack);

    // 4. underlay
    this.#doing('choosing the underlay interface');
    const ip = new Ip(host.runner, clock);
    this.#ip = ip;
    lifecycle.onLeave('ip', () => ip.close());
    const measure = measuring(ip, formatSubnet(config.network));
    const previousSubnet = readPreviousSubnet(subnetFile);
    const { runner } = host;
    const chosen = await awaited(
      chooseUnderlay({ runner, selection, overlay, previousSubnet, log }),
    );
    const underlay = await awaited(measure(chosen));
    log.info(`underlay ${describeUnderlay(underlay)}`);

    // 5 to 13
    const queues = this.#queues;
    const spent = () => this.#spent();
    const known = { config, underlay, measure, store, overlay };
    const ground: Ground = { ...known, socket, ip, queues, spent };
    const start = new Start(this.#options, ground, this.#loop, {
      doing: (what) => this.#doing(what),
      lost: (reason) => this.#giveUp(reason),
      watch: (faults) => void this.#parts.push(faults),
      ready: (line) => {
        // What the start could not do stands before that it is done.
        this.#teller.tellHost();
        log.info(line);
      },
    });
    const made = await (backend.type === 'vxlan'
      ? startVxlan(start, backend)
      : startHostGw(start, backend));
    this.#state = { is: 'running', made };
    this.#examine(made);
  }

  /** By the control plane, and by the `ip` that works for it. */
  #spent(): number | undefined {
    const { proc } = this.#options.host;
    const own = processorMs('self', proc);
    const ofIp = this.#ip === undefined ? 0 : this.#ip.spentMs(proc);
    return own === undefined || ofIp === undefined ? undefined : own + ofIp;
  }

  /** The same with the programs that checks start. */
  #spentByChecks(): number | undefined {
    const [own, children] = [this.#spent(), childrenMs(this.#options.host.proc)];
    return own === undefined || children === undefined ? undefined : own + children;
  }

  /** Looks at the host at once, and at the store anew, over new connections. */
  async reload(): Promise<void> {
    this.#options.log.info('reloading: looking at the host, the store and the paths anew');
    this.#overlay?.reconnect();
    this.#made?.remeasure?.();
    await this.#loop.now();
  }

  /** For /readyz: packets flow, and Docker and CNI can read the subnet. */
  get ready(): boolean {
    return this.#made?.ready() === true && this.standing.length === 0 && this.broken === '';
  }

  /** For /readyz, too: what keeps all of this host's packets from passing; empty where none does. */
  get broken(): string {
    const made = this.#made;
    if (made === undefined) return '';
    const { state, text } = judge(this.#findings(), made.parts().carrier.peers.length);
    return state === 'broken' ? text : '';
  }

  /** For /healthz: a line for each lane's thread that stands still. */
  get standing(): readonly string[] {
    return this.#made?.standing() ?? [];
  }

  /** For systemd. */
  look(): Look {
    if (this.#state.is === 'starting') {
      return { ready: false, status: this.#waitingFor(this.#state.doing), alive: true };
    }
    const { name, lease, carrier } = this.#state.made.parts();
    const status = `${name} ${formatSubnet(lease.subnet)}, ${counted(carrier.peers.length, 'peer')}`;
    return { ready: true, status, alive: this.standing.length === 0 };
  }

  /** What the start has made, once it is done. */
  get #made(): Running | undefined {
    return this.#state.is === 'running' ? this.#state.made : undefined;
  }

  /** A disk that has room again is no reason to wait for the next line. */
  #retell(): readonly string[] {
    this.#options.retell();
    return [];
  }

  #doing(doing: string): void {
    this.#state = { is: 'starting', doing };
  }

  /** What is waited for, in the overlay's words where it is the overlay that waits. */
  #waitingFor(doing: string): string {
    const problem = this.#early?.problem ?? '';
    return `${this.#overlay?.waitingFor ?? doing}${problem === '' ? '' : `; and ${problem}`}`;
  }

  #openOverlay(store: Store): Overlay {
    const { host, clock, random, log, lifecycle, renewMarginMs, onLeaseLoss } = this.#options;
    const hostId = readHostId(host.proc);
    const overlay = new Overlay({
      ...{ store, clock, random, log, renewMarginMs, saveTo: host.folder },
      ...(hostId === undefined ? {} : { hostId }),
      reacquire: onLeaseLoss === 'reacquire',
    });
    this.#overlay = overlay;
    lifecycle.onLeave('the overlay', () => overlay.stop());
    return overlay;
  }

  /** The lease is gone, or another host's. */
  #giveUp(reason: string): void {
    const { lifecycle, onLeaseLoss } = this.#options;
    this.#lost = reason;
    if (onLeaseLoss === 'reacquire') {
      void lifecycle.leave(1, `${reason}; a new start takes another subnet`);
    } else {
      void lifecycle.leave(0, `${reason}; weft gives the network up, as flanneld does`);
    }
  }

  /** What weft itself cannot put right just now. */
  #faults(): readonly Finding[] {
    const { held, saveProblem, unsound = [] } = this.#overlay ?? {};
    const { logStream, host } = this.#options;
    const { lost: lines, trouble } = logStream;
    const { pid } = host;
    const { description: store = '', etcdctlFlags = '' } = this.#store ?? {};
    const unsoundLeases = reportUnsound(unsound);
    const lease = this.#lost === null ? held?.problem : undefined;
    return [
      ...asFindings(STANDS, this.standing.map(describeStanding)),
      ...asFindings(LOST, [this.#lost === null ? undefined : describeLost(this.#lost)]),
      ...this.#loop.findings,
      ...this.#parts.flatMap((faults) => faults()),
      ...asFindings(NOT_SAVED, [saveProblem]),
      ...asFindings(LEASE, [lease]),
      ...judgeRefused({ unsoundLeases, store, etcdctlFlags }),
      ...asFindings(LOG, [trouble === '' ? undefined : describeLogTrouble(lines, trouble, pid)]),
    ];
  }

  /** With what follows from others of them. Of one thing, a check that looked knows more. */
  #all(): readonly Finding[] {
    const found = this.#examiner?.findings ?? [];
    const known = new Set(found.map(keyOf));
    return [...this.#faults().filter((fault) => !known.has(keyOf(fault))), ...found];
  }

  #findings(): readonly Finding[] {
    return sortFindings(withoutConsequences(this.#all()));
  }

  /** What `weft status` is told. */
  answer(): Answer {
    if (this.#state.is === 'running') return this.#status(this.#state.made);
    return { ...this.#process(), waitingFor: this.#waitingFor(this.#state.doing) };
  }

  #process(): Pick<Starting, 'version' | 'build' | 'pid' | 'uptimeSeconds'> {
    const { version, build, clock, host } = this.#options;
    const uptimeSeconds = (clock.now() - this.#begun) / 1000;
    return { version, build, pid: host.pid, uptimeSeconds };
  }

  #status(made: Running): AnyStatus {
    const { held, storeState, drift, unsound = [], config } = this.#overlay ?? {};
    const parts = made.parts();
    const told = this.#faults().map(({ text }) => text);
    // Some of them are findings of a check, for what is wrong with them besides.
    const faults = [...new Set([...told, ...describeUnused(unsound)])];
    const findings = this.#findings();
    const now = {
      ...this.#process(),
      ...{ held, storeState, lost: this.#lost, drift, unsound, config },
      ...{ findings, faults },
      logLinesLost: this.#options.logStream.lost,
      verdict: judge(findings, parts.carrier.peers.length),
      overlayNetwork: this.#overlayNetwork,
      setUp: this.#setUp(),
      timeOfDay: timeOfDay(),
    };
    return isVxlan(parts) ? report(parts, now) : reportHostGw(parts, now);
  }

  #setUp(): SetUp {
    const { firewall, subnetFile, health, host } = this.#options;
    const { masquerade, forward } = firewall;
    const guard = firewall.guard && this.#made !== undefined && isVxlan(this.#made.parts());
    const by = this.#nftables ? 'nftables' : 'iptables';
    const forwards = readSysctl('net/ipv4/ip_forward', host.proc);
    return {
      subnetFile,
      rules: { by, masquerade, forward, guard },
      forwarding: forwards === undefined ? null : forwards !== '0',
      health,
    };
  }

  /** Looks for what is wrong from now on. */
  #examine(made: Running): void {
    const { clock, log, host, lifecycle } = this.#options;
    const network = this.#overlayNetwork;
    const examiner = new Examiner({
      ...{ clock, log, hostChecks: hostChecks(), statusChecks: STATUS_CHECKS },
      spent: () => this.#spentByChecks(),
      subject: () => subjectOf(made.parts(), { host, network }),
      status: () => this.#status(made),
    });
    this.#examiner = examiner;
    lifecycle.onLeave('the checks', () => {
      // What goes away from now on is no fault.
      this.#teller.stop();
      return examiner.stop();
    });
    examiner.start();
  }
}
