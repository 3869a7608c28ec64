/** One thing that `weft doctor` looked at: what it saw, and what is wrong with it. */

import { describeFindings } from '../findings/describe.js';
import { type Finding, judge, type Verdict } from '../findings/finding.js';
import { counted } from '../status/format.js';
import type { Line } from '../status/lines.js';

export interface Look {
  /** `store`: a word. */
  readonly at: string;
  /** What was seen where nothing is wrong. */
  readonly saw: string;
  readonly findings: readonly Finding[];
}

/** A look that found what it should. */
export function saw(at: string, what: string): Look {
  return { at, saw: what, findings: [] };
}

/** A look that found something wrong with this host; its cure is in the text unless given. */
export function wrong(at: string, code: string, text: string, cure = ''): Look {
  const finding: Finding = { code, severity: 'error', scope: 'host', about: at, text, cure };
  return { at, saw: '', findings: [finding] };
}

export function verdictOf(looks: readonly Look[]): Verdict {
  const findings = looks.flatMap((look) => look.findings);
  const { state, text } = judge(findings, 0);
  return state === 'well' ? { state, text: describeWell(looks, findings) } : { state, text };
}

function describeWell(looks: readonly Look[], findings: readonly Finding[]): string {
  const warnings = findings.filter(({ severity }) => severity === 'warning').length;
  const beside = warnings === 0 ? '' : `, ${counted(warnings, 'warning')}`;
  return `${looks.length} things looked at, no error${beside}`;
}

/** A line a look, and what is wrong below it. */
export function describeLooks(looks: readonly Look[]): Line[] {
  return looks.flatMap(({ at, saw: what, findings }): Line[] => {
    if (findings.length === 0) return [[at, what, 'good']];
    const lines = describeFindings(findings);
    return what === '' ? lines : [[at, what], ...lines];
  });
}
