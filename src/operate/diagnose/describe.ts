/** What `weft probe` prints: a line a peer, and below the table what is not well. */
import { columns } from '../status/format.js';
import { formatMs } from './judge.js';
import type { Answers } from './observed.js';
import type { Probed } from './probe.js';

const TITLES = ['subnet', 'public IP', 'underlay', 'tunnel', 'full size', 'path MTU', ''];

export function describeProbed(probed: readonly Probed[]): string {
  const rows = probed.map(({ subnet, publicIp, observed, pathMtu, verdict }) => [
    subnet ?? '',
    publicIp,
    describeAnswers(observed.underlay),
    observed.direct ? 'direct' : describeAnswers(observed.tunnel),
    describeAnswers(observed.full),
    pathMtu === null ? '-' : String(pathMtu),
    verdict.code,
  ]);
  const told = probed.filter(({ verdict }) => verdict.code !== 'well');
  const sentences = told.flatMap(({ verdict: { words, todo } }) => [
    `${words}.`,
    ...(todo === '' ? [] : [`  ${todo}`]),
  ]);
  const gap = sentences.length === 0 ? [] : [''];
  return `${[...columns([TITLES, ...rows]), ...gap, ...sentences].join('\n')}\n`;
}

/** `5/5 0.3 ms`: answered of sent, and the shortest round trip. */
function describeAnswers(answers: Answers | null): string {
  if (answers === null || (answers.sent === 0 && answers.cannot === '')) return '-';
  if (answers.sent === 0) return 'not sent';
  if (answers.toldTooBig && answers.answered === 0) return 'told too big';
  const took = answers.roundTripMs === null ? '' : ` ${formatMs(answers.roundTripMs)}`;
  return `${answers.answered}/${answers.sent}${took}`;
}

/** For `-json`: plain values, the names of which are stable. */
export function reportProbed(probed: readonly Probed[]) {
  return probed.map(({ observed, verdict, ...rest }) => {
    const { noWay, leavesBy, underlay, tunnel, full, lanes } = observed;
    return {
      ...rest,
      ...verdict,
      well: verdict.state === 'well',
      noWay,
      leavesBy,
      underlay,
      tunnel,
      full,
      lanes,
    };
  });
}
