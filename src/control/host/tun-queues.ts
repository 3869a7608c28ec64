/**
 * The queues of a multi-queue TUN: how many are attached, and which other processes have it open.
 */
import fs from 'node:fs/promises';
import { parseArray } from './ip.js';
import { processName } from './process-name.js';
import type { Runner } from './runner.js';

export interface Opener {
  readonly pid: number;
  readonly name: string;
}

/** How many queues the TUN has, attached ones and disabled ones; null where `ip` does not tell. */
export async function countQueues(runner: Runner, device: string): Promise<number | null> {
  const { code, stdout } = await runner.run(['ip', '-j', '-d', 'link', 'show', 'dev', device]);
  const rows = (code === 0 ? parseArray(stdout) : null) as Row[] | null;
  const data = rows?.find(({ ifname }) => ifname === device)?.linkinfo?.info_data;
  return data?.numqueues === undefined ? null : data.numqueues + (data.numdisabled ?? 0);
}

/** A row of `ip -j -d link show`, as far as it is read here. */
interface Row {
  ifname?: string;
  linkinfo?: { info_data?: { numqueues?: number; numdisabled?: number } };
}

/**
 * The other processes of this network namespace that have the TUN open. Those that may not be
 * looked at, those of another process namespace, and those that left the network namespace since
 * are not seen.
 */
export async function findOpeners(
  device: string,
  own: number,
  proc = '/proc',
): Promise<readonly Opener[]> {
  const here = await readLink(`${proc}/self/ns/net`);
  const openers: Opener[] = [];
  for (const name of await list(proc)) {
    const pid = /^\d+$/.test(name) ? Number(name) : own;
    // A name alone says nothing: other network namespaces have a flannel.1 of their own.
    if (pid === own || (await readLink(`${proc}/${pid}/ns/net`)) !== here) continue;
    if (await hasOpen(`${proc}/${pid}`, device)) {
      const cmdline = await readText(`${proc}/${pid}/cmdline`);
      openers.push({ pid, name: processName(await readText(`${proc}/${pid}/comm`), cmdline) });
    }
  }
  return openers;
}

async function hasOpen(process: string, device: string): Promise<boolean> {
  for (const fd of await list(`${process}/fd`)) {
    if (!(await readLink(`${process}/fd/${fd}`)).endsWith('/tun')) continue;
    const lines = (await readText(`${process}/fdinfo/${fd}`)).split('\n');
    if (lines.includes(`iff:\t${device}`)) return true;
  }
  return false;
}

// A process may end between two looks at it: what cannot be read counts as not there.

const list = (directory: string): Promise<string[]> => fs.readdir(directory).catch(() => []);
const readLink = (file: string): Promise<string> => fs.readlink(file).catch(() => '');
const readText = (file: string): Promise<string> => fs.readFile(file, 'utf8').catch(() => '');
