/** What `weft doctor` learns of the store before a start: all that a start asks of it. */
import { timeOfDay } from '../../control/daemon/clock.js';
import { reportCertificates } from '../../control/daemon/report.js';
import { type Config, ConfigError, parseConfig } from '../../control/overlay/config.js';
import { formatSubnet, keyOf } from '../../control/overlay/subnet.js';
import type { Clock, Random } from '../../control/runtime.js';
import { messageOf, type Store, StoreError, StoreUnreachable } from '../../control/store/store.js';
import { type Look, saw, wrong } from '../../operate/diagnose/look.js';
import { etcdOf, type StoreAt } from '../../operate/findings/etcdctl.js';
import type { Severity } from '../../operate/findings/finding.js';
import { judgeAlarms, judgeCertificates } from '../../operate/findings/store.js';
import { hostOf, lookAtWritten } from './leases.js';

/** A store that says nothing for so long is away. */
const STORE_MS = 6_000;

export interface StoreLooks {
  readonly looks: Look[];
  /** Undefined where none could be read. */
  readonly config?: Config;
  /** Public IPs of all leases. */
  readonly hosts?: readonly string[];
}

export interface StoreOptions {
  readonly openStore: () => Promise<Store>;
  readonly clock: Clock;
  readonly random: Random;
  /** This host's, dotted; undefined where that is not known. */
  readonly publicIp: string | undefined;
}

/** Changes nothing in it. */
export async function lookAtStore(options: StoreOptions): Promise<StoreLooks> {
  const { openStore, clock, random, publicIp } = options;
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
      const words = hint === undefined ? why : `${why}: ${hint}`;
      return { looks: [answers, wrong('config', 'no-config', words)] };
    }
    const config = parseConfig(text, store.configName);
    const { backend } = config;
    const of =
      backend.type === 'vxlan' ? `vxlan, VNI ${backend.vni}, UDP ${backend.port}` : backend.type;
    const { entries } = await within(store.list(), STORE_MS, clock);
    const hosts = [...new Set(entries.flatMap((entry) => hostOf(entry) ?? []))];
    const looks = [answers, saw('config', `${formatSubnet(config.network)}, ${of}`)];
    looks.push(...lookAtCertificates(store));
    looks.push(...(await lookAtWritten({ store, config, text, entries, publicIp, clock, random })));
    // A lease that is there is kept alive in a store that takes no writes.
    const weighs = publicIp !== undefined && hosts.includes(publicIp) ? 'warning' : 'error';
    looks.push(...(await lookAtWriting(store, config, clock, weighs)));
    return { looks, config, hosts };
  } catch (error) {
    if (error instanceof ConfigError) return { looks: [wrong('config', 'config', error.message)] };
    return { looks: [away(store, error), ...lookAtCertificates(store)] };
  } finally {
    await store.close();
  }
}

function lookAtCertificates(store: Store): Look[] {
  const certificates = reportCertificates(store, timeOfDay());
  const findings = judgeCertificates({ storeState: { certificates } });
  return findings.length === 0 ? [] : [{ at: 'certificates', saw: '', findings }];
}

/** Whether it takes a lease; nothing to see where all is well. */
async function lookAtWriting(
  store: Store,
  config: Config,
  clock: Clock,
  severity: Severity,
): Promise<Look[]> {
  if (store.tryWriting === undefined) return [];
  const { subnetMin: address, subnetLength: length } = config;
  try {
    await within(store.tryWriting(keyOf({ address, length })), STORE_MS, clock);
  } catch (error) {
    const alarms = judgeAlarms(store.alarm ?? null, placeOf(store));
    if (!(error instanceof StoreError) || alarms.length === 0) return [away(store, error)];
    return [{ at: 'alarms', saw: '', findings: alarms.map((one) => ({ ...one, severity })) }];
  }
  return [];
}

function placeOf({ description, etcdctlFlags = '' }: Store): StoreAt {
  return { store: description, etcdctlFlags };
}

/** Throws what is a mistake. */
function away(store: Store, error: unknown): Look {
  const expected = [StoreError, StoreUnreachable, Late];
  if (!expected.some((kind) => error instanceof kind)) throw error;
  const why =
    error instanceof Late
      ? `${store.description} does not answer within ${STORE_MS / 1000} s`
      : messageOf(error);
  const code = error instanceof StoreError ? 'store-refuses' : 'store-away';
  return wrong('store', code, why, cureOf(why, placeOf(store)));
}

/** `why` has etcd's words, the dialling's or the system's. */
function cureOf(why: string, at: StoreAt): string {
  const { command = 'etcdctl', prefix = 'PREFIX' } = etcdOf(at) ?? {};
  const grant = `${command} role grant-permission ROLE`;
  const cures: readonly (readonly [RegExp, string])[] = [
    [/user name is empty/, 'name a user of etcd: -etcd-username=USER -etcd-password-file=FILE'],
    [
      /authentication failed/,
      `${command} user passwd USER   (or the right one in -etcd-password-file)`,
    ],
    [
      /permission denied/,
      `${grant} read ${prefix}/config; ${grant} readwrite ${prefix}/subnets/ --prefix`,
    ],
    [/is it http:/, `-etcd-endpoints=${endpointsOf(command).replaceAll('https:', 'http:')}`],
    [
      /http:\S+: etcd closed the connection/,
      `-etcd-endpoints=${endpointsOf(command).replaceAll('http:', 'https:')}   (where etcd wants TLS)`,
    ],
    [/certificate/, 'name the authority of its certificate: -etcd-cafile=FILE'],
    [/learner/, 'name members that have a vote: -etcd-endpoints=URL,URL'],
    [
      /does not answer within|no answer (to a ping )?within/,
      `${command} endpoint status -w table   (a majority must run)`,
    ],
  ];
  const known = cures.find(([words]) => words.test(why));
  return known?.[1] ?? 'start etcd, or name where it is: -etcd-endpoints=http://ADDRESS:2379';
}

function endpointsOf(command: string): string {
  return command.replace(/.*--endpoints=/, '');
}

class Late extends Error {}

function within<T>(work: Promise<T>, ms: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(new Late()));
    work.then(resolve, reject).finally(cancel);
  });
}
