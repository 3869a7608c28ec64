/** What a side-by-side run consists of, and about how long it takes. */
import { CASES, datagramSize } from './cases.js';
import { parseSystem, type System, type Wire } from './rig.js';

/** Cases that are run on the same systems and wires. */
export interface Part {
  readonly name: string;
  readonly systems: readonly string[];
  readonly cases: readonly string[];
  readonly wires: readonly Wire[];
}

const BOTH = ['plain', 'on'] as const;
const THREE = ['kernel', 'weft', 'limit'] as const;
const TIERS = ['kernel', 'weft', 'weft:segment-tso', 'weft:sendmmsg', 'weft:none'] as const;

/** All that the bars ask for. */
export const FULL: readonly Part[] = [
  {
    name: 'throughput',
    systems: [...THREE, 'one-packet', 'weft>kernel', 'kernel>weft'],
    cases: ['tcp1', 'tcp4'],
    wires: BOTH,
  },
  {
    name: 'latency',
    systems: THREE,
    cases: ['bidir', 'rr1', 'rr32', 'crr', 'rr-busy', 'ping', 'ping-busy'],
    wires: BOTH,
  },
  { name: 'tiers', systems: TIERS, cases: ['tcp1'], wires: BOTH },
  { name: 'datagrams', systems: THREE, cases: ['udp64', 'udp512', 'udp1400'], wires: ['plain'] },
];

/** The headline in under three minutes. */
export const QUICK: readonly Part[] = [
  { name: 'throughput', systems: [...THREE, 'one-packet'], cases: ['tcp1'], wires: BOTH },
  { name: 'latency', systems: THREE, cases: ['rr1'], wires: BOTH },
];

/** Between the containers of Docker engines, on the wire as a real network has it. */
export const DOCKER: readonly Part[] = [
  { name: 'docker', systems: ['kernel', 'weft'], cases: ['tcp1', 'tcp4'], wires: ['plain'] },
];

export interface Choice {
  readonly quick: boolean;
  readonly docker?: boolean | undefined;
  /** Names of parts, systems, cases, wires, with commas; what is not said stays as planned. */
  readonly parts?: string | undefined;
  readonly systems?: string | undefined;
  readonly cases?: string | undefined;
  readonly wires?: string | undefined;
}

function words(text: string, kind: string, known?: readonly string[]): string[] {
  const list = text.split(',').filter((word) => word !== '');
  for (const word of list) {
    if (known !== undefined && !known.includes(word)) {
      throw new RangeError(`no ${kind} ${word}; there are ${known.join(', ')}`);
    }
  }
  if (list.length === 0) throw new RangeError(`no ${kind} named`);
  return list;
}

/** The parts to run. Throws RangeError with the known names for one that there is not. */
export function choose(choice: Choice): Part[] {
  const all = choice.docker ? DOCKER : choice.quick ? QUICK : FULL;
  const known = all.map(({ name }) => name);
  const parts = choice.parts === undefined ? known : words(choice.parts, 'part', known);
  const cases = choice.cases && words(choice.cases, 'case', [...CASES.map(({ name }) => name)]);
  const systems = choice.systems && words(choice.systems, 'system');
  const wires = choice.wires && (words(choice.wires, 'wire', BOTH) as Wire[]);
  const chosen = all.filter(({ name }) => parts.includes(name));
  // Cases that were named are one part, on the systems of the part that has them.
  const split = cases
    ? cases.map((name) => {
        const home = chosen.find((part) => part.cases.includes(name)) ?? chosen[0]!;
        return { ...home, cases: [name], ...(wires ? {} : { wires: home.wires }) };
      })
    : chosen;
  return split.map((part) => ({
    ...part,
    systems: systems || part.systems,
    wires: wires || part.wires,
  }));
}

/** Each system of some parts once, in the order of their first naming. */
export function systemsOf(parts: readonly Part[]): System[] {
  return [...new Set(parts.flatMap(({ systems }) => systems))].map(parseSystem);
}

/** Seconds that a run of a case takes beside its own: programs start, the machine comes to rest. */
const RUN_OVERHEAD = 1.1;
/** Trials of a search that narrow, and what starting one costs. */
const SHORT_TRIALS = 7;
const TRIAL_OVERHEAD = 0.5;
const PAIR_OVERHEAD = 3;

/** About how many seconds some parts take. */
export function estimate(
  parts: readonly Part[],
  repeats: number,
  seconds: number,
  trialSeconds: number,
): number {
  let total = 0;
  for (const wire of BOTH) {
    const here = parts.filter(({ wires }) => wires.includes(wire));
    total += systemsOf(here).length * PAIR_OVERHEAD;
    for (const { systems, cases } of here) {
      for (const name of cases) {
        const search = SHORT_TRIALS * (0.8 + TRIAL_OVERHEAD) + 3 * (trialSeconds + TRIAL_OVERHEAD);
        const run = datagramSize(name) === undefined ? seconds + RUN_OVERHEAD : search;
        total += systems.length * repeats * run;
      }
    }
  }
  return total;
}
