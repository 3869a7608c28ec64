/** `weft capture` in the network tests: started on a host, and its file read by tshark. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { type Host, WEFT } from '../../src/lab/host.js';

/** Starts it, and returns once the lanes show their packets. */
export async function startCapture(host: Host, ...flags: string[]): Promise<Running> {
  const capture = host.start([process.execPath, WEFT, 'capture', ...flags]);
  await capture.waitFor(/capturing on flannel\.1/, 60_000);
  return capture;
}

/** Ends it as Ctrl-C does. Returns its exit code. */
export async function stopCapture(capture: Running): Promise<number> {
  // What was just received is on its way through the lane.
  await sleep(300);
  capture.kill('SIGINT');
  return capture.exited;
}

export interface Seen {
  readonly interface: string;
  readonly length: number;
  readonly captured: number;
  readonly protocols: string;
  readonly comment: string;
  /** Outer first where there are two. */
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  /** IPv4, UDP, TCP: `Bad` where tshark finds one wrong. */
  readonly sums: string;
}

const FIELDS = [
  ...['frame.interface_name', 'frame.len', 'frame.cap_len', 'frame.protocols', 'frame.comment'],
  ...['ip.src', 'ip.dst', 'ip.checksum.status', 'udp.checksum.status'],
];

/** The packets of a file that pass a display filter, as tshark sees them. */
export async function tshark(host: Host, file: string, filter = ''): Promise<Seen[]> {
  const { stdout } = await host.run(
    [
      ...['tshark', '-n', '-r', file, '-T', 'fields', '-E', 'separator=/t'],
      ...['-d', 'udp.port==8472,vxlan', '-o', 'ip.check_checksum:TRUE'],
      ...['-o', 'udp.check_checksum:TRUE', '-Y', filter],
      ...FIELDS.flatMap((field) => ['-e', field]),
    ],
    { timeout: 60_000 },
  );
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [name, length, captured, protocols, comment, from, to, ipSums, udpSums] =
        line.split('\t');
      return {
        interface: name!,
        length: Number(length),
        captured: Number(captured),
        protocols: protocols!,
        comment: comment!,
        sources: from!.split(','),
        destinations: to!.split(','),
        sums: `${ipSums} ${udpSums}`,
      };
    });
}
