/** UDP's counters in this network namespace: what is lost before weft sees it. */
import fs from 'node:fs';

/** Zeros when the file cannot be read. */
export function readKernelUdp(file = '/proc/net/snmp'): {
  badChecksums: number;
  bufferFull: number;
} {
  let text = '';
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch {
    // Not readable in some sandboxes: then nothing is known.
  }
  const [names = [], values = []] = text
    .split('\n')
    .filter((line) => line.startsWith('Udp:'))
    .map((line) => line.split(' '));
  const read = (name: string): number => Number(values[names.indexOf(name)] ?? 0);
  return { badChecksums: read('InCsumErrors'), bufferFull: read('RcvbufErrors') };
}
