/** `weft up`: flanneld's flags, and what weft adds. */
import os from 'node:os';
import { monotonic, systemClock, timeOfDay } from '../control/daemon/clock.js';
import { Daemon } from '../control/daemon/daemon.js';
import type { FirewallOptions } from '../control/daemon/firewall.js';
import { thisHost } from '../control/daemon/host.js';
import { defaultLanes, MOST_LANES } from '../control/daemon/lanes.js';
import { Lifecycle } from '../control/daemon/lifecycle.js';
import { openStream } from '../control/daemon/line-stream.js';
import {
  createLog,
  formatForJournal,
  formatJson,
  formatLine,
  isJournal,
} from '../control/daemon/log.js';
import { logWhatPackagesSay } from '../control/daemon/packages-say.js';
import { tellSystemd } from '../control/daemon/systemd.js';
import { FileStore } from '../control/store/file.js';
import { messageOf } from '../control/store/store.js';
import { ACCEPT, type Accept } from '../dataplane/forward/inbound.js';
import { loadNative } from '../dataplane/io/native.js';
import { TIER_NAMES, type TierName } from '../dataplane/io/tiers.js';
import { saveBatch } from '../operate/capture/save-batch.js';
import { Health, placeOf } from '../operate/health/health.js';
import type { Usage } from '../operate/metrics/metrics.js';
import type { LaneCount } from '../operate/status/status.js';
import { build, version, versionAndBuild } from './build.js';
import { takeEtcdFlags } from './etcd-access.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { UP } from './manual/up.js';
import { tellOfDebugger } from './no-debugger.js';
import { refuseOtherThanDefault } from './only-default.js';
import { complain, printText } from './print.js';
import { readRunDirectory } from './run-dir.js';
import { readSelection } from './selection.js';
import { beAtHomeAnywhere, withPaths } from './surroundings.js';

/** @param laneProgram what the lanes' threads run; the forwarding loop unless given */
export async function main(args: string[], laneProgram?: URL): Promise<number> {
  const flags = withPaths(parseFlags(flagsOf(UP), args, process.env));
  if (flags.bool('help')) {
    printText(helpOf(UP));
    return 0;
  }
  if (flags.bool('version')) {
    complain(version);
    return 0;
  }
  if (flags.rest.length > 0) {
    throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  }
  refuseOtherThanDefault(flags);
  const access = takeEtcdFlags(flags, ['weft', 'up', ...args], process.env);
  const file = flags.text('store-file');
  if (file !== '' && (flags.given('etcd-endpoints') || flags.given('etcd-prefix'))) {
    throw new UsageError('-store-file and -etcd-… contradict each other: give one of them');
  }
  const healthPort = readHealthPort(flags);
  const offload = readTier(flags.text('offload'));
  const accept = readAccept(flags.text('accept'));
  const lanes = readLanes(flags, os.availableParallelism());
  const firewall = readFirewall(flags);
  const renewMarginMs = readRenewMargin(flags);
  const logFormat = readLogFormat(flags.text('log-format'));
  const onLeaseLoss = readOnLeaseLoss(flags.text('on-lease-loss'));
  const underlay = readSelection(flags);
  const runDirectory = readRunDirectory(flags, process.env);
  beAtHomeAnywhere();
  // Its client takes as much memory as all the rest of weft, so it is loaded where it is used.
  const etcd = file === '' ? await import('../control/store/etcd.js') : undefined;

  const stream = openStream();
  const usual = isJournal(process.env.JOURNAL_STREAM) ? formatForJournal : formatLine;
  const format = logFormat === 'json' ? formatJson : usual;
  const log = createLog(flags.int('v'), stream, format);
  logWhatPackagesSay(log);
  const lifecycle = new Lifecycle(log, undefined, () => stream.flush());
  lifecycle.install();
  log.info(`weft ${versionAndBuild}`);
  tellOfDebugger((line) => log.warn(line));
  for (const line of access.warnings) log.warn(line);
  const clock = systemClock;
  try {
    const host = await thisHost(runDirectory, laneProgram);
    loadNative().passOverRealtimeSignals();
    // What cannot be used is refused at the start; later it is only passed over.
    if (etcd !== undefined) access.readAccess();
    const daemon = new Daemon({
      version,
      build,
      underlay,
      subnetFile: flags.text('subnet-file'),
      offload,
      lanes,
      accept,
      firewall,
      health: healthPort > 0 ? `http://${placeOf(flags.text('healthz-ip'), healthPort)}` : null,
      blackhole: flags.bool('ip-blackhole-route'),
      probePeers: flags.bool('probe-peers'),
      openStore: () =>
        etcd === undefined
          ? new FileStore({ file, clock, log })
          : new etcd.EtcdStore({ ...access, clock, random: Math.random, log }),
      renewMarginMs,
      onLeaseLoss,
      clock,
      random: Math.random,
      log,
      logStream: stream,
      retell: () => log.retell(),
      lifecycle,
      host,
      saveBatch: (batches, place) =>
        saveBatch(batches, { ...place, directory: host.folder, now: timeOfDay() }),
    });
    const systemd = tellSystemd({
      environment: process.env,
      pid: process.pid,
      send: (path, text) => void loadNative().notify(path, text),
      clock,
      look: () => daemon.look(),
      monotonic,
    });
    if (systemd !== undefined) {
      lifecycle.onBegin((reason) => systemd.stopping(reason));
    }
    const reload = () => daemon.reload();
    lifecycle.onHangUp(() => (systemd === undefined ? reload() : systemd.reloading(reload)));
    if (healthPort > 0) {
      const { Metrics } = await lifecycle.unlessLeaving(import('../operate/metrics/metrics.js'));
      const metrics = new Metrics(() => daemon.answer(), usage);
      const health = new Health({
        address: flags.text('healthz-ip'),
        port: healthPort,
        ready: () => daemon.ready && !lifecycle.leaving,
        broken: () => daemon.broken,
        standing: () => daemon.standing,
        metrics: () => metrics.scrape(),
        now: timeOfDay,
      });
      lifecycle.onLeave('the health listener', () => health.close());
      await lifecycle.unlessLeaving(health.open());
    }
    await daemon.start();
    systemd?.tell();
  } catch (error) {
    // While leaving, whatever ends the start is a consequence of that.
    if (!lifecycle.leaving) await lifecycle.leave(1, messageOf(error));
  }
  return new Promise<never>(() => {});
}

/** The longest period is what a timer can wait: 24 days. */
const LONGEST_RESYNC_SECONDS = 2_147_483;

function readFirewall(flags: Flags): FirewallOptions {
  const resync = flags.int('iptables-resync');
  if (resync < 1 || resync > LONGEST_RESYNC_SECONDS) {
    const given = flags.text('iptables-resync');
    throw new UsageError(`-iptables-resync=${given}: give 1 to ${LONGEST_RESYNC_SECONDS} seconds`);
  }
  const forward = flags.bool('iptables-forward-rules');
  return {
    masquerade: flags.bool('ip-masq'),
    fullyRandom: !flags.bool('ip-masq-fully-random-disable'),
    forward,
    guard: flags.bool('guard'),
    resyncMs: resync * 1_000,
  };
}

/** In milliseconds. */
function readRenewMargin(flags: Flags): number {
  const minutes = flags.int('subnet-lease-renew-margin');
  if (minutes >= 1 && minutes <= 1439) return minutes * 60_000;
  const given = flags.text('subnet-lease-renew-margin');
  throw new UsageError(`-subnet-lease-renew-margin=${given}: give 1 to 1439 minutes`);
}

function readLogFormat(text: string): 'text' | 'json' {
  if (text === 'text' || text === 'json') return text;
  throw new UsageError(`-log-format=${text}: give text or json`);
}

function readOnLeaseLoss(text: string): 'exit' | 'reacquire' {
  if (text === 'exit' || text === 'reacquire') return text;
  throw new UsageError(`-on-lease-loss=${text}: give exit or reacquire`);
}

/** Of this process. */
function usage(): Usage {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
}

/** 0 and below: no listener, as with flanneld. */
function readHealthPort(flags: Flags): number {
  const port = flags.int('healthz-port');
  if (port > 65535) throw new UsageError(`-healthz-port=${port}: a port is at most 65535`);
  return port;
}

function readTier(text: string): TierName {
  if (text === 'auto') return 'segment';
  const tier = TIER_NAMES.find((name) => name === text);
  if (tier !== undefined) return tier;
  throw new UsageError(`-offload=${text}: give auto, ${TIER_NAMES.join(', ')}`);
}

function readAccept(text: string): Accept {
  const accept = ACCEPT.find((name) => name === text);
  if (accept !== undefined) return accept;
  throw new UsageError(`-accept=${text}: give ${ACCEPT.join(', ')}`);
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
