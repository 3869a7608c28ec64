/** The verdict and the findings in lines for people. */
import { type Finding, sortFindings, type Verdict } from './finding.js';

/** `BROKEN: …`; nobody reads on where all is well. */
export function describeVerdict({ state, text }: Verdict): string {
  return `${state === 'well' ? state : state.toUpperCase()}: ${text}`;
}

/** Two columns: the severity, and the text with its cure below. */
export function describeFindings(findings: readonly Finding[]): [string, string][] {
  return sortFindings(findings).flatMap(({ severity, text, cure }) => {
    const rows: [string, string][] = [[severity, text]];
    if (cure !== '') rows.push(['', `  do: ${cure}`]);
    return rows;
  });
}
