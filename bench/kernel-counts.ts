/** The kernel's own counters of a network namespace: /proc/net/snmp, netstat and dev. */
import fs from 'node:fs';

/** A counter such as `Tcp` `InCsumErrors`, as the namespace of process `pid` has it. */
export function kernelCount(pid: number, group: string, name: string): number {
  for (const file of ['snmp', 'netstat']) {
    const found = findCount(fs.readFileSync(`/proc/${pid}/net/${file}`, 'utf8'), group, name);
    if (found !== undefined) return found;
  }
  throw new Error(`the kernel has no counter ${group}: ${name}`);
}

/** The counter in a text of pairs of lines, `Group: NAME …` above `Group: VALUE …`. */
export function findCount(text: string, group: string, name: string): number | undefined {
  const lines = text.split('\n').filter((line) => line.startsWith(`${group}: `));
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const column = lines[i]!.split(' ').indexOf(name);
    if (column > 0) return Number(lines[i + 1]!.split(' ')[column]);
  }
  return undefined;
}

/** Bytes that a link of the namespace of process `pid` has received. */
export function receivedBytes(pid: number, link: string): number {
  const found = findReceivedBytes(fs.readFileSync(`/proc/${pid}/net/dev`, 'utf8'), link);
  if (found === undefined) throw new Error(`no link ${link}`);
  return found;
}

/** The same in the text of /proc/net/dev. */
export function findReceivedBytes(text: string, link: string): number | undefined {
  const line = text.split('\n').find((one) => one.trim().startsWith(`${link}:`));
  return line === undefined ? undefined : Number(line.split(':')[1]!.trim().split(/\s+/)[0]);
}
