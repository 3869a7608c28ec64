/** The verdict and the findings in lines for people. */
import type { Line, Tone } from '../status/lines.js';
import { abridged, type Finding, type Severity, type State, type Verdict } from './finding.js';

const OF_STATE: Readonly<Record<State, Tone>> = {
  well: 'good',
  impaired: 'attention',
  broken: 'bad',
};
const OF_SEVERITY: Readonly<Record<Severity, Tone>> = {
  error: 'bad',
  warning: 'attention',
  note: 'faint',
};

/** `BROKEN    …`: loud unless all is well. */
export function describeVerdict({ state, text }: Verdict): Line {
  return [state === 'well' ? state : state.toUpperCase(), text, OF_STATE[state]];
}

/** Each with its severity, and its cure below it; of a great many of a kind some. */
export function describeFindings(findings: readonly Finding[]): Line[] {
  return abridged(findings).flatMap(({ severity, text, cure }) => {
    const lines: Line[] = [[severity, text, OF_SEVERITY[severity]]];
    if (cure !== '') lines.push(['', `  do: ${cure}`]);
    return lines;
  });
}
