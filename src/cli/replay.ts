/** `weft replay`: runs a capture through the data plane and tells what became of each packet. */
import fs from 'node:fs';
import process from 'node:process';
import { systemClock } from '../control/daemon/clock.js';
import { ConfigError } from '../control/overlay/config.js';
import type { Log } from '../control/runtime.js';
import { EtcdStore } from '../control/store/etcd.js';
import { FileStore } from '../control/store/file.js';
import { JsonError, parseJson } from '../control/store/json.js';
import { StoreError, StoreUnreachable } from '../control/store/store.js';
import { parseAddress } from '../dataplane/wire/ipv4.js';
import { type Capture, CaptureError } from '../operate/capture/capture.js';
import { refuseLinkType } from '../operate/capture/link-layer.js';
import { openCapture, STDIN } from '../operate/capture/open.js';
import { PcapWriter } from '../operate/capture/pcap-writer.js';
import { Replay } from '../operate/capture/replay.js';
import type { ReplayHost } from '../operate/capture/verdict.js';
import { takeEtcdFlags } from './etcd-access.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { helpOf } from './manual/help.js';
import { REPLAY } from './manual/replay.js';
import { complain, printText } from './print.js';
import { hostFromStore, NO_CLOCK, OVERHEAD } from './replay/network.js';
import { play } from './replay/play.js';
import { hostFromStatus, isStatus } from './replay/status.js';

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(REPLAY), args, etcdVariables());
  if (flags.bool('help')) {
    printText(helpOf(REPLAY));
    return 0;
  }
  const [file, ...more] = flags.rest;
  if (file === undefined) throw new UsageError('no capture given');
  if (more.length > 0) throw new UsageError(`one capture at a time; what is ${more[0]}`);
  if (!flags.given('routes') && !flags.given('etcd-endpoints')) {
    throw new UsageError('flag -routes is missing (or -etcd-endpoints, for a network in etcd)');
  }
  if (file === STDIN && flags.text('routes') === STDIN) {
    throw new UsageError('capture and -routes cannot both be standard input');
  }
  const as = flags.given('as') ? parseAddress(flags.text('as')) : undefined;
  if (flags.given('as') && as === undefined) {
    throw new UsageError(`-as ${flags.text('as')} is no IPv4 address`);
  }
  const mtu = flags.int('mtu');
  if (mtu < 68 + OVERHEAD || mtu > 65535) throw new UsageError(`-mtu ${mtu} is no MTU`);
  const loop = flags.int('loop');
  if (loop < 0) throw new UsageError(`-loop ${loop} is below 0`);

  const output = flags.text('o');
  if (output !== '' && isSameFile(output, file)) throw new UsageError('-o is the capture itself');

  let capture: Capture | undefined;
  let out: PcapWriter | undefined;
  try {
    const host = await readHost(flags, args, as, mtu);
    capture = openCapture(file);
    const { linkType } = capture;
    const refusal = linkType === undefined ? undefined : refuseLinkType(linkType);
    if (refusal !== undefined) throw new CaptureError(`${file}: ${refusal}`);
    if (output !== '') out = new PcapWriter(output);
    play({
      ...{ file, capture, out, loop, replay: new Replay(host), clock: systemClock },
      ...{ verdicts: flags.bool('verdicts'), json: flags.bool('json') },
    });
    return 0;
  } catch (error) {
    if (!isForOperator(error)) throw error;
    tell(error.message);
    return 1;
  } finally {
    capture?.close();
    out?.close();
  }
}

/** A password is not for the command line. */
function etcdVariables(): NodeJS.ProcessEnv {
  const isEtcd = ([name]: [string, unknown]) => name.startsWith('FLANNELD_ETCD_');
  return Object.fromEntries(Object.entries(process.env).filter(isEtcd));
}

function isSameFile(one: string, other: string): boolean {
  const [a, b] = [one, other].map((name) =>
    name === STDIN ? fs.fstatSync(0) : fs.statSync(name, { throwIfNoEntry: false }),
  );
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

/** Whether a failure is the files' (or the system's, which has a code), and not weft's own. */
function isForOperator(error: unknown): error is Error {
  const kinds = [CaptureError, StoreError, StoreUnreachable, ConfigError];
  return kinds.some((kind) => error instanceof kind) || (error instanceof Error && 'code' in error);
}

async function readHost(
  flags: Flags,
  args: readonly string[],
  as: number | undefined,
  mtu: number,
): Promise<ReplayHost> {
  if (!flags.given('routes')) return hostFromEtcd(flags, args, as, mtu);
  const file = flags.text('routes');
  const known = readStatus(file);
  if (known !== undefined) return hostFromStatus(known, file, as);
  const store = new FileStore({ file, clock: NO_CLOCK, log: LOG });
  return hostFromStore(store, file, needed(as), mtu, LOG);
}

/** A status of weft; undefined for a file that is none. */
function readStatus(file: string): unknown {
  let value: unknown;
  try {
    value = parseJson(fs.readFileSync(file === STDIN ? 0 : file, 'utf8'));
    if (isStatus(value)) return value;
  } catch (error) {
    // Of a file, the file store says what is wrong with it.
    if (file !== STDIN) return undefined;
    if (!(error instanceof JsonError)) throw error;
  }
  if (file !== STDIN) return undefined;
  throw new StoreError('standard input: is no status of weft; pipe weft status --json into it');
}

async function hostFromEtcd(
  flags: Flags,
  args: readonly string[],
  as: number | undefined,
  mtu: number,
): Promise<ReplayHost> {
  const address = needed(as);
  const access = takeEtcdFlags(flags, ['weft', 'replay', ...args], process.env);
  for (const line of access.warnings) tell(line);
  try {
    access.readAccess();
  } catch (error) {
    throw new StoreError((error as Error).message);
  }
  const store = new EtcdStore({ ...access, clock: systemClock, log: LOG });
  try {
    return await hostFromStore(store, `etcd ${access.prefix}`, address, mtu, LOG);
  } finally {
    await store.close();
  }
}

function needed(as: number | undefined): number {
  if (as === undefined) throw new UsageError('flag -as is missing');
  return as;
}

function tell(line: string): void {
  complain(`weft replay: ${line}`);
}
const LOG: Log = { error: tell, warn: tell, info: tell, debug: () => {} };
