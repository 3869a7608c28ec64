/**
 * The bars that weft has to pass, and where a run stands against them. Each is a figure of one
 * system, mostly as its ratio to another's in the same run.
 */
import type { Wire } from './rig.js';

export interface Bar {
  readonly wire: Wire;
  readonly case: string;
  readonly system: string;
  readonly figure: string;
  /** The system it is divided by; undefined: the figure itself. */
  readonly to?: string;
  /** What must be reached and what is aimed at; for `atMost` figures they are upper bounds. */
  readonly floor?: number;
  readonly goal?: number;
  readonly atMost?: boolean;
}

export type Standing = 'above goal' | 'above floor' | 'BELOW' | 'not measured';

/** "BELOW" means worse than the floor, or than the goal where there is no floor. */
export function standing(bar: Bar, measured: number | undefined): Standing {
  if (measured === undefined || Number.isNaN(measured)) return 'not measured';
  const passes = (bound: number): boolean =>
    bar.atMost === true ? measured <= bound : measured >= bound;
  if (bar.goal !== undefined && passes(bar.goal)) return 'above goal';
  if (bar.floor !== undefined && passes(bar.floor)) return 'above floor';
  return 'BELOW';
}

export function barTitle({ wire, case: name, system, figure, to }: Bar): string {
  const of = to === undefined ? '' : ` / ${to}`;
  return `${name}, ${wire === 'plain' ? 'plain wire' : 'offloads on'}: ${system}${of}, ${figure}`;
}

const WIRES = ['plain', 'on'] as const;

/** Throughput and rates against kernel VXLAN: [wire, system, case, floor, goal]. */
const TO_KERNEL: readonly (readonly [Wire, string, string, number | undefined, number])[] = [
  ['plain', 'weft', 'tcp1', 1.05, 1.35],
  ['plain', 'weft', 'tcp4', 0.7, 1.0],
  ['plain', 'weft>kernel', 'tcp1', 0.68, 0.85],
  ['plain', 'weft>kernel', 'tcp4', 0.52, 0.75],
  ['plain', 'kernel>weft', 'tcp1', 0.95, 1.1],
  ['plain', 'kernel>weft', 'tcp4', 0.62, 0.8],
  ['on', 'weft', 'tcp1', 0.78, 0.95],
  ['on', 'weft>kernel', 'tcp1', 0.38, 0.55],
  ['on', 'kernel>weft', 'tcp1', 0.8, 1.0],
];

export const BARS: readonly Bar[] = [
  ...TO_KERNEL.map(([wire, system, name, floor, goal]) => {
    const bar = { wire, case: name, system, figure: 'Gb/s', to: 'kernel', goal };
    return floor === undefined ? bar : { ...bar, floor };
  }),
  ...WIRES.map((wire) => ({
    ...{ wire, case: 'tcp1', system: 'weft', figure: 'CPU s/GB', to: 'kernel', atMost: true },
    floor: wire === 'plain' ? 1.25 : 1.5,
    goal: wire === 'plain' ? 1.05 : 1.25,
  })),
  ...WIRES.flatMap((wire) => [
    ...['tcp1', 'tcp4'].map((name) => ({
      ...{ wire, case: name, system: 'weft', figure: 'Gb/s', to: 'limit', floor: 0.92 },
    })),
    { wire, case: 'bidir', system: 'weft', figure: 'slower/sum', floor: 0.4 },
    { wire, case: 'rr1', system: 'weft', figure: '/s', to: 'kernel', floor: 0.62, goal: 0.72 },
    { wire, case: 'rr32', system: 'weft', figure: '/s', to: 'kernel', floor: 0.7, goal: 0.9 },
    {
      ...{ wire, case: 'rr1', system: 'weft', figure: 'p50 µs', to: 'limit' },
      ...{ floor: 1.15, atMost: true },
    },
    {
      ...{ wire, case: 'rr1', system: 'weft', figure: 'p50 µs', to: 'kernel' },
      ...{ floor: 1.5, atMost: true },
    },
    ...['p50 µs', 'p99 µs'].map((figure) => ({
      ...{ wire, case: 'rr-busy', system: 'weft', figure, to: 'limit', floor: 1.3, atMost: true },
    })),
  ]),
  {
    ...{ wire: 'on', case: 'tcp1', system: 'weft', figure: 'Gb/s', to: 'one-packet' },
    ...{ floor: 8, goal: 11 },
  },
  ...['udp64', 'udp1400'].map((name) => ({
    ...({ wire: 'plain', case: name, system: 'weft', figure: 'k/s', to: 'kernel' } as const),
    ...{ floor: 1.5, goal: 2.2 },
  })),
];

/** Megabytes resident of a weft with 100 peers under load (memory.ts). */
export const MEMORY_MOST = 100;
/** Of a stream's quiet goodput, beside a million hostile datagrams. */
export const GOODPUT_LEAST = 0.95;

/** A comparator that is not at its best voids every comparison with it (one stream of TCP). */
export const COMPARATORS: readonly Bar[] = [
  ...WIRES.map((wire) => ({
    ...{ wire, case: 'tcp1', system: 'limit', figure: 'Gb/s', to: 'kernel' },
    floor: wire === 'plain' ? 1.15 : 0.85,
  })),
  ...WIRES.map((wire) => ({
    ...{ wire, case: 'tcp1', system: 'one-packet', figure: 'Gb/s', floor: 0.8 },
  })),
];
