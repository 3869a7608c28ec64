/** Every combination of what can be seen of a peer, and what is said of it. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { reportProbed } from '../../../src/operate/diagnose/describe.js';
import { isFault, judge } from '../../../src/operate/diagnose/judge.js';
import {
  type Answers,
  NO_ANSWERS,
  type Observed,
  SAW_NOTHING,
} from '../../../src/operate/diagnose/observed.js';
import type { Code } from '../../../src/operate/status/peer-health.js';

const HERE = '192.168.56.11';
const PEER = '192.168.56.12';
const ROUTER = '192.168.56.1';

const ALL: Answers = { ...NO_ANSWERS, sent: 5, answered: 5, roundTripMs: 0.44 };
const SOME: Answers = { ...ALL, answered: 3 };
const NONE: Answers = { ...NO_ANSWERS, sent: 5 };
const CANNOT: Answers = { ...NO_ANSWERS, cannot: 'Operation not permitted' };
const by = (from: string, code: number): Answers => ({ ...NONE, unreachable: { from, code } });

const UNDERLAYS = {
  'not asked': null,
  all: ALL,
  some: SOME,
  none: NONE,
  cannot: CANNOT,
  'no ARP': by(HERE, 1),
  router: by(ROUTER, 1),
  forbidden: by(ROUTER, 13),
} as const;
const TUNNELS = { 'not asked': null, all: ALL, some: SOME, none: NONE, cannot: CANNOT } as const;
const FULLS = {
  'not asked': null,
  all: { ...ALL, bytes: 1450 },
  some: { ...SOME, bytes: 1450 },
  none: { ...NONE, bytes: 1450 },
  told: { ...NONE, toldTooBig: true, bytes: 1450 },
} as const;
const LANES = {
  'not asked': null,
  nothing: SAW_NOTHING,
  heard: { ...SAW_NOTHING, heard: 7 },
  refused: { ...SAW_NOTHING, refused: 2 },
  'refused and heard': { ...SAW_NOTHING, refused: 1, heard: 7 },
  denied: { ...SAW_NOTHING, denied: 5 },
  'denied and heard': { ...SAW_NOTHING, denied: 5, heard: 7 },
  errors: { ...SAW_NOTHING, errors: 2 },
  unreachable: { ...SAW_NOTHING, unreachable: 5 },
} as const;

interface Case {
  noWay: boolean;
  elsewhere: boolean;
  direct: boolean;
  underlay: keyof typeof UNDERLAYS;
  tunnel: keyof typeof TUNNELS;
  full: keyof typeof FULLS;
  lanes: keyof typeof LANES;
}

function observed(one: Case): Observed {
  return {
    ...{ publicIp: PEER, port: 8472, here: HERE, direct: one.direct },
    noWay: one.noWay ? 'no route leads there' : '',
    leavesBy: one.elsewhere ? 'eth1' : '',
    underlay: UNDERLAYS[one.underlay],
    tunnel: TUNNELS[one.tunnel],
    full: FULLS[one.full],
    lanes: LANES[one.lanes],
  };
}

const keys = <T extends object>(of: T): (keyof T)[] => Object.keys(of) as (keyof T)[];

function* cases(): Generator<Case> {
  for (const noWay of [false, true])
    for (const elsewhere of [false, true])
      for (const direct of [false, true])
        for (const underlay of keys(UNDERLAYS))
          for (const tunnel of keys(TUNNELS))
            for (const full of keys(FULLS))
              for (const lanes of keys(LANES))
                yield { noWay, elsewhere, direct, underlay, tunnel, full, lanes };
}

/** The same as a table, from the top: the first line that fits is what is to be said. */
const TABLE: readonly (readonly [Code, (one: Case) => boolean])[] = [
  ['no-route', ({ noWay }) => noWay],

  // reached by its own address, past the tunnel: the underlay alone counts
  ['well', ({ direct, underlay }) => direct && underlay === 'all'],
  ['lossy', ({ direct, underlay }) => direct && underlay === 'some'],
  ['untold', ({ direct, underlay }) => direct && ['not asked', 'cannot'].includes(underlay)],

  // an answer through the tunnel proves the way there and back
  ['lossy', ({ direct, tunnel }) => !direct && tunnel === 'some'],
  ['lossy', ({ direct, tunnel, full }) => !direct && tunnel === 'all' && full === 'some'],
  ['small-mtu', ({ direct, tunnel, full }) => !direct && tunnel === 'all' && full === 'none'],
  ['well', ({ direct, tunnel }) => !direct && tunnel === 'all'],

  // no weft runs: the underlay alone was asked
  ['underlay-only', (c) => bare(c) && ['all', 'some'].includes(c.underlay)],
  ['untold', (c) => bare(c) && ['not asked', 'cannot'].includes(c.underlay)],

  // no answer through the tunnel, and the kernel said why
  ['denied', (c) => inTunnel(c) && ['denied', 'denied and heard'].includes(c.lanes)],
  ['refused', (c) => inTunnel(c) && c.lanes === 'refused'],
  // packets came from it
  ['answers-no-echo', (c) => inTunnel(c) && ['heard', 'refused and heard'].includes(c.lanes)],
  ['untold', (c) => inTunnel(c) && c.tunnel === 'cannot'],

  // nothing came
  ['other-device', ({ elsewhere }) => elsewhere],
  ['host-gone', ({ underlay }) => ['no ARP', 'router'].includes(underlay)],
  [
    'host-gone',
    ({ underlay, lanes }) => lanes === 'unreachable' && !['all', 'some'].includes(underlay),
  ],
  ['rejected', (c) => inTunnel(c) && ['all', 'some'].includes(c.underlay) && c.lanes === 'errors'],
  ['filtered', (c) => inTunnel(c) && ['all', 'some'].includes(c.underlay)],
  ['silent', () => true],
];

const bare = ({ direct, tunnel }: Case): boolean => !direct && tunnel === 'not asked';
const inTunnel = ({ direct, tunnel }: Case): boolean => !direct && tunnel !== 'not asked';

test('of every combination of what was seen the table tells what is said', () => {
  const said = new Map<Code, number>();
  for (const one of cases()) {
    const [code] = TABLE.find(([, fits]) => fits(one))!;
    const verdict = judge(observed(one));
    assert.equal(verdict.code, code, JSON.stringify(one));
    said.set(code, (said.get(code) ?? 0) + 1);
  }
  // None of the table's lines is idle.
  assert.deepEqual([...said.keys()].sort(), [...new Set(TABLE.map(([code]) => code))].sort());
});

test('what is a fault has something to do about it, what is none has not; each is one sentence', () => {
  for (const one of cases()) {
    const verdict = judge(observed(one));
    assert.equal(verdict.todo !== '', isFault(verdict), JSON.stringify([one, verdict]));
    assert.ok(verdict.words.includes(PEER), verdict.words);
    assert.doesNotMatch(verdict.words, /\.$|undefined|null|NaN|\n/);
  }
});

const usual: Case = {
  ...{ noWay: false, elsewhere: false, direct: false },
  ...{ underlay: 'all', tunnel: 'none', full: 'not asked', lanes: 'nothing' },
};
const words = (change: Partial<Case>): string => judge(observed({ ...usual, ...change })).words;

test('the sentences', () => {
  assert.deepEqual(
    [
      words({ tunnel: 'all' }),
      words({ tunnel: 'all', underlay: 'none' }),
      words({ direct: true }),
      words({ tunnel: 'some' }),
      words({ tunnel: 'all', full: 'none' }),
      words({ noWay: true }),
      words({ lanes: 'denied' }),
      words({ lanes: 'refused' }),
      words({ lanes: 'heard' }),
      words({ lanes: 'errors' }),
      words({}),
      words({ underlay: 'none' }),
      words({ underlay: 'none', direct: true }),
      words({ underlay: 'cannot' }),
      words({ underlay: 'no ARP' }),
      words({ underlay: 'router' }),
      words({ elsewhere: true }),
      words({ tunnel: 'not asked' }),
      words({ tunnel: 'cannot' }),
    ],
    [
      `${PEER} answers through the tunnel, in 0.4 ms`,
      `${PEER} answers through the tunnel, in 0.4 ms; pings on the underlay it does not answer, which is no fault`,
      `${PEER} answers pings, in 0.4 ms`,
      `40 % of the echoes through the tunnel to ${PEER} or of their answers are lost`,
      `small packets pass the tunnel to ${PEER}, those of 1450 bytes do not, and nobody says so`,
      `no packet of ours gets on its way to ${PEER}: no route leads there`,
      `this host's own firewall forbids sending UDP 8472 to ${PEER}`,
      `nothing listens on UDP 8472 at ${PEER}: its VTEP does not run, or a firewall rejects it`,
      `packets come from ${PEER} through the tunnel; echoes to it are not answered: its firewall drops them, or ours do not arrive there`,
      `a firewall rejects UDP 8472 between here and ${PEER}: underlay pings pass, ICMP errors answer the tunnel's packets`,
      `UDP 8472 is filtered between here and ${PEER}: underlay pings pass, tunnel echoes do not`,
      `${PEER} answers neither pings nor echoes through the tunnel: it is down, or ICMP and UDP 8472 are filtered on the way`,
      `${PEER} answers no echo: it is down, or ICMP is filtered on the way`,
      `${PEER} answers no echo through the tunnel: it is down, or ICMP and UDP 8472 are filtered on the way`,
      `no host has the address ${PEER}: nobody answers ARP for it`,
      `${ROUTER}, a router on the way, says that ${PEER} cannot be reached`,
      `packets for ${PEER} leave by eth1, not by the underlay interface, and nothing comes back`,
      `${PEER} answers pings on the underlay; the tunnel was not tried`,
      `no echo could be sent to ${PEER}: Operation not permitted`,
    ],
  );
});

test('what is lost of very many echoes is neither 0 % nor 100 %', () => {
  const lossOf = (answered: number) => {
    const tunnel: Answers = { ...ALL, sent: 1000, answered };
    return judge({ ...observed(usual), tunnel, full: null }).words.replace(/ of the echoes.*/, '');
  };
  assert.deepEqual([999, 990, 5, 1].map(lossOf), [
    ...['less than 1 %', '1 %', 'more than 99 %', 'more than 99 %'],
  ]);
});

test('for programs a peer that could not be asked is not well, as the exit code has it', () => {
  const seen = observed({ ...usual, tunnel: 'cannot', underlay: 'cannot', full: 'not asked' });
  const verdict = judge(seen);
  const target = { publicIp: PEER, subnet: '10.10.12.0/24', direct: false, pathMtu: null };
  const [told] = reportProbed([{ ...target, observed: seen, verdict }]);
  assert.deepEqual([told!.code, told!.state, told!.well], ['untold', 'unknown', false]);
});
