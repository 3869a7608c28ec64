/**
 * Something wrong with this host, a peer or the store, with its cure: the one list that status, log,
 * readyz, metrics, doctor and the page show. And the verdict on all of it.
 */
import { counted } from '../status/format.js';

/**
 * `error`: packets are lost that should not be, or will be. `warning`: not as it should be, packets
 * pass all the same. `note`: something could not be looked at, or is good to know.
 */
export const SEVERITIES = ['error', 'warning', 'note'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Whose fault it is: this host's (all its packets suffer), one peer's, or the store's. */
export type Scope = 'host' | 'peer' | 'store';

export interface Finding {
  /** Stable, for programs: `peer-silent`. */
  readonly code: string;
  readonly severity: Severity;
  readonly scope: Scope;
  /** The thing: `peer 192.168.56.12`, `docker0`, `table inet filter, chain input`. */
  readonly about: string;
  /** What is wrong and what comes of it, in one sentence without its full stop. */
  readonly text: string;
  /** What to type, or else to do; empty where the text says all there is. */
  readonly cure: string;
}

/** `broken`: nothing passes between containers here and other hosts. `impaired`: something does not. */
export type State = 'well' | 'impaired' | 'broken';

export interface Verdict {
  readonly state: State;
  /** One line: the first cause, and how many more there are. */
  readonly text: string;
}

/** Of one thing there is one finding of a code. */
export function keyOf({ code, about }: Finding): string {
  return `${code} ${about}`;
}

/**
 * What it is and in which words; without counts and times, which change with each look:
 * `1 line`, `1,234 lines`.
 */
export function wordsOf(finding: Finding): string {
  const text = finding.text.replaceAll(/\d[\d,]*/g, '#').replaceAll(/(# [a-z]+?)s?\b/g, '$1');
  return `${keyOf(finding)}: ${text}`;
}

/** Whether it is about this address (dotted): `peer 10.0.0.12` is not about 10.0.0.1. */
export function isAbout({ about }: Pick<Finding, 'about'>, address: string): boolean {
  return addressesIn(about).includes(address);
}

/** What looks like an address, dotted, of what a finding is about. */
export function addressesIn(about: string): string[] {
  return about.split(/[^0-9.]+/).filter((word) => word !== '');
}

/** Errors first, this host's before a peer's; else as they were. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  const scopes: readonly Scope[] = ['host', 'store', 'peer'];
  const rank = ({ severity, scope }: Finding) =>
    SEVERITIES.indexOf(severity) * scopes.length + scopes.indexOf(scope);
  return [...findings].sort((a, b) => rank(a) - rank(b));
}

/** Of one code so many are shown to people. */
const SHOWN = 20;

/** The same for people, what weighs most first: of thousands of a kind some, and how many more there are. */
export function abridged(findings: readonly Finding[]): Finding[] {
  const kinds = new Map<string, Finding[]>();
  for (const finding of sortFindings(findings)) {
    const kind = `${finding.severity} ${finding.scope} ${finding.code}`;
    const known = kinds.get(kind) ?? [];
    if (known.push(finding) === 1) kinds.set(kind, known);
  }
  return [...kinds.values()].flatMap((all) => {
    const more = all.length - SHOWN;
    const [first] = all;
    if (more <= 1 || first === undefined) return all;
    const text = `${first.code}: ${more.toLocaleString('en-US')} more`;
    const rest = { ...first, about: `more of ${first.code}`, text, cure: 'weft status -json' };
    return [...all.slice(0, SHOWN), rest];
  });
}

/** What it comes to, for a weft with so many peers. */
export function judge(findings: readonly Finding[], peers: number): Verdict {
  const errors = sortFindings(findings).filter(({ severity }) => severity === 'error');
  const [first] = errors;
  if (first === undefined) {
    const warnings = findings.filter(({ severity }) => severity === 'warning').length;
    const beside = warnings === 0 ? '' : `, ${counted(warnings, 'warning')}`;
    return { state: 'well', text: `${peers === 0 ? 'no peers' : counted(peers, 'peer')}${beside}` };
  }
  const more = errors.length === 1 ? '' : ` (and ${counted(errors.length - 1, 'more error')})`;
  const state = first.scope === 'host' ? 'broken' : 'impaired';
  return { state, text: `${first.text}${more}` };
}
