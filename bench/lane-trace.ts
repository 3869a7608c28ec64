/**
 * What V8 says of a weft that runs with `--trace-gc --trace-deopt`, told apart by thread: the
 * flags hold for the whole process, and a lane sees none of its own collections.
 *
 *   [30811:0x42929c40]  70 ms: Scavenge 4.6 (4.7) -> 4.2 (5.7) MB, …
 *   [bailout (kind: deopt-eager, reason: wrong map): begin. … caller SP 0x7f34c6ff71f8, …]
 *
 * A collection names its isolate. The main thread's is the first one ever named, since it loads
 * the program before there is a lane. A deoptimisation names no isolate, but its stack pointer:
 * the kernel knows which memory is the main thread's stack.
 */

export interface TraceCounts {
  readonly collections: readonly string[];
  readonly deoptimisations: readonly string[];
}

export interface Trace {
  readonly lane: TraceCounts;
  readonly main: TraceCounts;
}

/** The main thread's stack, first byte and the one behind the last, from /proc/<pid>/maps. */
export function mainStack(maps: string): readonly [bigint, bigint] {
  const found = /^([0-9a-f]+)-([0-9a-f]+) .*\[stack\]$/m.exec(maps);
  if (found === null) throw new Error('no [stack] in the maps');
  return [BigInt(`0x${found[1]}`), BigInt(`0x${found[2]}`)];
}

/** What happened in `output` from its character `from` on; what stands before names the isolates. */
export function readTrace(
  output: string,
  from: number,
  [low, high]: readonly [bigint, bigint],
): Trace {
  const main = { collections: [] as string[], deoptimisations: [] as string[] };
  const lane = { collections: [] as string[], deoptimisations: [] as string[] };
  const mainIsolate = COLLECTION.exec(output)?.[1];
  for (const line of output.slice(from).split('\n')) {
    const collection = COLLECTION.exec(line);
    if (collection !== null) {
      (collection[1] === mainIsolate ? main : lane).collections.push(line);
    }
    const bailout = BAILOUT.exec(line);
    if (bailout !== null) {
      const stack = BigInt(bailout[1]!);
      (stack >= low && stack < high ? main : lane).deoptimisations.push(line);
    }
  }
  return { lane, main };
}

const COLLECTION = /^\[\d+:(0x[0-9a-f]+)\]\s+\d+ ms: (?:Scavenge|Mark|Minor)/m;
const BAILOUT = /^\[bailout .*caller SP (0x[0-9a-f]+)/;
