/**
 * Keeps the batches of lanes that stood still as a capture that `weft replay` takes: raw IP, inner
 * packets as the host gave them, each super-packet with its offload behind it (offload.ts), and what
 * peers sent with its outer headers written anew.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Batch } from '../../dataplane/forward/batch.js';
import { withOffload } from './offload.js';
import { wrapUdp } from './outer.js';
import { PcapWriter } from './pcap-writer.js';

/** What a device keeps of them, this one included. */
const MOST_FILES = 3;
const ENDING = '.pcap';
/** The longest payload that fits an IPv4 packet with UDP. */
const PAYLOAD_MAX = 65_507;

export interface BatchPlace {
  readonly directory: string;
  readonly device: string;
  /** Where weft listens: int32, UDP. */
  readonly address: number;
  readonly port: number;
  readonly now: Date;
}

/** The file's name; undefined when there is nothing to keep. Throws what the file system says. */
export function saveBatch(batches: readonly Batch[], place: BatchPlace): string | undefined {
  const { directory, device, address, port, now } = place;
  const packets = batches.flatMap((batch) => [
    ...batch.packets.map(({ packet, vnet }) => withOffload(packet, vnet)),
    ...batch.datagrams.map(({ payload, ...from }, id) =>
      wrapUdp(payload.subarray(0, PAYLOAD_MAX), {
        source: from.address,
        sourcePort: from.port,
        destination: address,
        port,
        tos: from.tos,
        id,
      }),
    ),
  ]);
  if (packets.length === 0) return undefined;
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const file = path.join(directory, `${device}-${time}${ENDING}`);
  makeRoom(directory, device);
  const seconds = Math.floor(now.getTime() / 1000);
  // What containers send is not for every user of the host.
  const writer = new PcapWriter(file, 0o600);
  try {
    for (const packet of packets) writer.write({ seconds, nanoseconds: 0 }, packet);
  } finally {
    writer.close();
  }
  return file;
}

/** Their names sort by time. */
function makeRoom(directory: string, device: string): void {
  const old = fs
    .readdirSync(directory)
    .filter((name) => name.startsWith(`${device}-`) && name.endsWith(ENDING))
    .sort()
    .slice(0, 1 - MOST_FILES);
  for (const name of old) fs.rmSync(path.join(directory, name), { force: true });
}
