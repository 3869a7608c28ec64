/** Runs iptables' programs, and tells a refusal from a lock that another program holds. */
import { HostError } from '../errors.js';
import type { Runner } from '../runner.js';

/** From this version on: `iptables-restore --wait` and `MASQUERADE --random-fully`. */
const MODERN = [1, 6, 2];
/** For so many seconds another program may hold iptables' lock; what comes to nothing is tried again. */
const WAIT_SECONDS = 2;
/** By that iptables tells that another program holds its lock (RESOURCE_PROBLEM in xtables.h). */
const LOCKED = 4;

/** `iptables`, or for what a dual-stack flannel left, `ip6tables`. */
export type Program = 'iptables' | 'ip6tables';

/**
 * What it prints. Throws a HostError: EIPTABLES for a refusal, EAGAIN while the lock is held,
 * ETIMEDOUT when the program had to be killed, ENOENT where there is none.
 */
export async function run(
  runner: Runner,
  argv: readonly string[],
  input?: string,
): Promise<string> {
  const { code, stdout, stderr } = await runner.run(argv, input === undefined ? {} : { input });
  if (code === 0) return stdout;
  const why =
    stderr.trim().replaceAll('\n', '; ') ||
    (code === null ? 'it hung, and was killed' : `exit ${code}`);
  const kind = code === null ? 'ETIMEDOUT' : code === LOCKED ? 'EAGAIN' : 'EIPTABLES';
  throw new HostError(kind, `${argv[0]}: ${why}`);
}

/** Does all of `input` or nothing of it. */
export async function restore(
  runner: Runner,
  program: Program,
  input: string,
  modern: boolean,
): Promise<void> {
  const wait = modern ? [`--wait=${WAIT_SECONDS}`] : [];
  await run(runner, [`${program}-restore`, '--noflush', ...wait], input);
}

export interface Version {
  /** For the log: `iptables 1.8.9 (nf_tables)`. */
  readonly description: string;
  readonly modern: boolean;
  /** Whether its rules are nft's, so that one chain can be listed for itself, without a lock. */
  readonly nft: boolean;
}

export async function versionOf(runner: Runner, program: Program): Promise<Version> {
  const text = await run(runner, [program, '--version']);
  // iptables v1.8.9 (nf_tables)
  const [, version = '', variant = ''] = /v([\d.]+)(?: \((\S+)\))?/.exec(text) ?? [];
  const description = `${program} ${version}${variant === '' ? '' : ` (${variant})`}`;
  return { description, modern: isModern(version), nft: variant === 'nf_tables' };
}

function isModern(version: string): boolean {
  const numbers = version.split('.').map(Number);
  for (const [i, least] of MODERN.entries()) {
    const number = numbers[i] ?? 0;
    if (number !== least) return number > least;
  }
  return true;
}
