/** `weft replay`: runs a capture through the data plane and tells what became of each packet. */
import fs from 'node:fs';
import { ConfigError, parseConfig } from '../control/overlay/config.js';
import { parseLeaseValue } from '../control/overlay/lease-value.js';
import { Peers } from '../control/overlay/peers.js';
import { formatSubnet, parseKey, type Subnet } from '../control/overlay/subnet.js';
import type { Clock, Log } from '../control/runtime.js';
import { FileStore } from '../control/store/file.js';
import { StoreError } from '../control/store/store.js';
import type { LocalRoute, Route } from '../dataplane/routes/peer.js';
import { formatAddress, parseAddress } from '../dataplane/wire/ipv4.js';
import { type Capture, CaptureError } from '../operate/capture/capture.js';
import { refuseLinkType } from '../operate/capture/link-layer.js';
import { openCapture } from '../operate/capture/open.js';
import { PcapWriter } from '../operate/capture/pcap-writer.js';
import { Replay, type ReplayHost } from '../operate/capture/replay.js';
import { Summary, verdictJson, verdictText } from '../operate/capture/report.js';
import { describeFlags, type Flag, parseFlags, UsageError } from './flags.js';
import { complain, print, printJson, printText } from './print.js';

/** What the outer headers take from the underlay's MTU. */
const OVERHEAD = 50;

const FLAGS: readonly Flag[] = [
  {
    name: 'routes',
    kind: 'string',
    value: 'file',
    help: 'the network: a JSON file as -store-file takes it, "config" and "subnets"',
  },
  {
    name: 'as',
    kind: 'string',
    value: 'address',
    help: 'the host to be: its PublicIP, which one of the subnets must have',
  },
  {
    name: 'o',
    kind: 'string',
    value: 'file',
    help: 'where to write what comes out: a pcap capture, link type raw IP',
  },
  { name: 'verdicts', kind: 'bool', help: 'one line for each record' },
  { name: 'json', kind: 'bool', help: 'the verdicts and the summary as JSON, one line each' },
  {
    name: 'mtu',
    kind: 'int',
    value: 'bytes',
    help: 'MTU of the underlay, when the config does not say',
    default: '1500',
  },
  { name: 'help', kind: 'bool', help: 'this text' },
];

const USAGE = `weft replay: runs a capture through the data plane, as one host sees it

  weft replay in.pcap -routes network.json -as 192.168.56.11 -o out.pcap -verdicts

Inner IPv4 packets go in at the TUN and come out wrapped; VXLAN datagrams for that host go in at
the underlay and come out unwrapped; the rest is told why not. Every run gives the same bytes.
Exit code: 0; 1 when a file cannot be read or written to its end; 2 for a wrong command line.

${describeFlags(FLAGS)}`;

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(FLAGS, args);
  if (flags.bool('help')) {
    printText(USAGE);
    return 0;
  }
  const [file, ...more] = flags.rest;
  if (file === undefined) throw new UsageError('no capture given');
  if (more.length > 0) throw new UsageError(`one capture at a time; what is ${more[0]}`);
  for (const name of ['routes', 'as']) {
    if (!flags.given(name)) throw new UsageError(`flag -${name} is missing`);
  }
  const address = parseAddress(flags.text('as'));
  if (address === undefined) throw new UsageError(`-as ${flags.text('as')} is no IPv4 address`);
  const mtu = flags.int('mtu');
  if (mtu < 68 + OVERHEAD || mtu > 65535) throw new UsageError(`-mtu ${mtu} is no MTU`);

  const output = flags.text('o');
  if (output !== '' && isSameFile(output, file)) throw new UsageError('-o is the capture itself');

  let capture: Capture | undefined;
  let out: PcapWriter | undefined;
  try {
    const host = await readHost(flags.text('routes'), address, mtu);
    capture = openCapture(file);
    const refusal = refuseLinkType(capture.linkType);
    if (refusal !== undefined) throw new CaptureError(`${file}: ${refusal}`);
    if (output !== '') out = new PcapWriter(output);
    return run(capture, new Replay(host), out, flags.bool('verdicts'), flags.bool('json'));
  } catch (error) {
    if (!isForOperator(error)) throw error;
    tell(error.message);
    return 1;
  } finally {
    capture?.close();
    out?.close();
  }
}

function isSameFile(one: string, other: string): boolean {
  const [a, b] = [one, other].map((name) => fs.statSync(name, { throwIfNoEntry: false }));
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

/** Whether a failure is the files' (or the system's, which has a code), and not weft's own. */
function isForOperator(error: unknown): error is Error {
  return (
    error instanceof CaptureError ||
    error instanceof StoreError ||
    error instanceof ConfigError ||
    (error instanceof Error && 'code' in error)
  );
}

/** Replays to the end; the summary is told even when the file breaks off. */
function run(
  capture: Capture,
  replay: Replay,
  out: PcapWriter | undefined,
  verdicts: boolean,
  json: boolean,
): number {
  const summary = new Summary();
  let failure: unknown;
  try {
    for (const record of capture.records()) {
      const verdict = replay.take(capture.linkType, record);
      summary.add(verdict);
      for (const packet of verdict.packets) out?.write(record.seconds, record.microseconds, packet);
      if (json) printJson(verdictJson(record, verdict));
      else if (verdicts) print(verdictText(record, verdict));
    }
  } catch (error) {
    failure = error;
  }
  if (json) printJson(summary.json(capture.odd));
  else printText(`${summary.text(capture.odd)}\n`);
  if (failure !== undefined) throw failure;
  return 0;
}

/** The network in a file of the file store, seen from the host with this PublicIP. */
async function readHost(file: string, address: number, mtu: number): Promise<ReplayHost> {
  const store = new FileStore({ file, clock: NO_CLOCK, log: LOG });
  const text = await store.readConfig();
  if (text === undefined) {
    throw new StoreError(`${file}: has no "config"; ${await store.hintForMissingConfig()}`);
  }
  const config = parseConfig(text, store.configName);
  const listing = await store.list();
  const own = ownLease(file, address, listing.entries);

  let routes: readonly Route[] = [];
  const { backend } = config;
  if (backend.type !== 'vxlan') {
    throw new StoreError(`${file}: its Backend.Type is ${backend.type}, so there is no VXLAN`);
  }
  const { port, vni } = backend;
  new Peers({
    ownKey: own.key,
    ownSubnet: own.subnet,
    publicIp: address,
    clock: NO_CLOCK,
    log: LOG,
    update: ({ peers }) => {
      routes = peers.map(({ subnet, publicIp, vtepMac }) => ({
        ...routeOf(subnet),
        peer: { address: publicIp, port, mac: vtepMac! },
      }));
    },
  }).snapshot(listing);
  return {
    address,
    mac: own.mac,
    vni,
    port,
    mtu: (backend.mtu ?? mtu) - OVERHEAD,
    network: routeOf(config.network),
    local: [routeOf(own.subnet)],
    routes,
  };
}

interface OwnLease {
  readonly key: string;
  readonly subnet: Subnet;
  readonly mac: Uint8Array;
}

function ownLease(
  file: string,
  address: number,
  entries: readonly { readonly key: string; readonly value: string }[],
): OwnLease {
  const known: string[] = [];
  for (const { key, value } of entries) {
    const subnet = parseKey(key)?.subnet;
    const lease = leaseOf(value);
    if (subnet === undefined || lease === undefined) continue;
    if (lease.publicIp === address) {
      if ('mac' in lease.vtep) return { key, subnet, mac: lease.vtep.mac };
      throw new StoreError(
        `${file}: subnet ${formatSubnet(subnet)} is ours, but ${lease.vtep.problem}`,
      );
    }
    known.push(formatAddress(lease.publicIp));
  }
  throw new StoreError(
    `${file}: no subnet has the PublicIP ${formatAddress(address)} that -as names; ` +
      `there are: ${known.join(', ') || 'none'}`,
  );
}

/** Undefined for what is no lease: `Peers` says so, once. */
function leaseOf(value: string): ReturnType<typeof parseLeaseValue> | undefined {
  try {
    return parseLeaseValue(value);
  } catch {
    return undefined;
  }
}

function routeOf({ address, length }: Subnet): LocalRoute {
  return { network: address, length };
}

/** The file is read once and not followed, so nobody asks for the time. */
const NO_CLOCK: Clock = { now: () => 0, after: () => () => {} };

function tell(line: string): void {
  complain(`weft replay: ${line}`);
}
const LOG: Log = { error: tell, warn: tell, info: tell, debug: () => {} };
