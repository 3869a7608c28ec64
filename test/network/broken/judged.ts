/**
 * A table of broken set-ups, each made on the same hosts: within 10 s status, log, readyz, metrics and
 * doctor say what is wrong and nothing else; and 10 s after it is mended they are silent.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { WEFT } from '../../../src/lab/host.js';
import { type Finding, judge, keyOf, type State } from '../../../src/operate/findings/finding.js';
import { FOUND_WITHIN } from '../findings.js';
import { HEALTHZ, pause, Site } from './site.js';

export interface SetUp {
  readonly is: string;
  /** Why it cannot be made here. */
  readonly lacks?: string | undefined;
  /** Codes of the errors and warnings that there must be, and no others, in the order of status. */
  readonly finds: readonly string[];
  /** One of more than one that are right. */
  readonly or?: readonly string[];
  /** What is said of it in the end, where there are other words for a moment. */
  readonly says?: RegExp;
  spoil(site: Site): Promise<unknown>;
  mend(site: Site): Promise<unknown>;
  /** Where the log itself is what is broken. */
  readonly unlogged?: boolean;
  /** Milliseconds, where 10 s are not to be had. */
  readonly within?: number;
}

/** What repeats itself within this time the log says once. */
const SAID_MS = 120_000;

interface Row {
  readonly is: string;
  readonly codes: string;
  readonly state: State;
  readonly toldMs: number;
  readonly silentMs: number;
}

export function describeBroken(what: string, lacks: string | undefined, all: readonly SetUp[]) {
  describe(what, { skip: lacks ?? false, timeout: 600_000 }, () => {
    let site: Site;
    const rows: Row[] = [];
    const said = new Map<string, number>();

    before(async () => {
      site = await Site.open();
      await found(site, [[]], 20_000);
    });
    after(() => site?.lab.close());

    for (const one of all) {
      test(one.is, { skip: one.lacks ?? false }, async () => {
        const from = Buffer.byteLength(await site.log());
        await one.spoil(site);
        let toldMs: number;
        let findings: readonly Finding[];
        try {
          const wanted = [one.finds, ...(one.or === undefined ? [] : [one.or])];
          ({ ms: toldMs, findings } = await found(site, wanted, one.within, one.says));
          const state = await checkSurfaces(site, findings);
          if (!one.unlogged) await checkLog(site, findings, said, from);
          rows.push({ ...{ is: one.is, codes: codesOf(findings), state, toldMs }, silentMs: -1 });
        } finally {
          await one.mend(site);
        }
        const { ms } = await found(site, [[]], one.within);
        rows.push({ ...rows.pop()!, silentMs: ms });
      });
    }

    test('all is silent, and the table', async (t) => {
      await checkSurfaces(site, []);
      const seconds = (ms: number) => (ms < 0 ? 'never' : (ms / 1000).toFixed(1));
      for (const { is, codes, state, toldMs, silentMs } of rows) {
        t.diagnostic(`| ${is} | ${codes} | ${state} | ${seconds(toldMs)} | ${seconds(silentMs)} |`);
      }
    });
  });
}

/** Without its numbers, which change from one look to the next: `1 line`, `2 lines`. */
function plain(text: string): string {
  return text.replaceAll(/\d+/g, '#').replaceAll(/# line of/g, '# lines of');
}

function codesOf(findings: readonly Finding[]): string {
  return findings.map(({ code }) => code).join();
}

/** Waits until just these are found, by one of the lists of codes; notes do not count. */
async function found(
  site: Site,
  wanted: readonly (readonly string[])[],
  within = FOUND_WITHIN,
  says = /./,
): Promise<{ ms: number; findings: readonly Finding[] }> {
  const begun = performance.now();
  for (;;) {
    const status = await site.status();
    const ms = performance.now() - begun;
    const findings = status?.findings.filter(({ severity }) => severity !== 'note');
    const isSaid = findings?.every(({ text }) => says.test(text));
    const isSo = (codes: readonly string[]) =>
      findings && isSaid && codesOf(findings) === codes.join();
    if (findings !== undefined && wanted.some(isSo)) return { ms, findings };
    if (ms > within) {
      const log = (await site.log()).split('\n').slice(-25).join('\n');
      const lines = findings?.map(
        (one) => `${one.severity} ${one.scope} ${keyOf(one)}: ${one.text}`,
      );
      const healths = JSON.stringify(
        status?.peers.map(({ publicIp, health }) => ({ publicIp, health })),
      );
      const told = [...(lines ?? []), healths, log].join('\n');
      assert.fail(`wanted ${wanted.join(' or ')}, found\n${told}`);
    }
    await pause(100);
  }
}

/** What `weft status`, `weft doctor`, /readyz and /metrics say of these. */
async function checkSurfaces({ alpha }: Site, findings: readonly Finding[]): Promise<State> {
  const weft = (...words: string[]) =>
    alpha.run([process.execPath, WEFT, ...words], { mayFail: true });
  const program = `const get = async (path) => {
    const r = await fetch('http://127.0.0.1:${HEALTHZ}' + path);
    return [r.status, await r.text()];
  };
  console.log(JSON.stringify([await get('/readyz'), await get('/metrics')]))`;
  const [status, doctor, http] = await Promise.all([
    weft('status'),
    weft('doctor', '-json'),
    alpha.run([process.execPath, '--input-type=module', '-e', program]),
  ]);
  const { state, text } = judge(findings, 2);
  const verdict = state === 'well' ? state : state.toUpperCase();
  const [first = ''] = status.stdout.split('\n');
  assert.equal(first.split(/ +/)[0], verdict, status.stdout);
  if (state !== 'well') assert.equal(plain(first), plain(`${verdict.padEnd(9)} ${text}`));
  const isWrong = findings.some(({ severity }) => severity === 'error');
  assert.equal(status.code, isWrong ? 1 : 0, first);
  for (const { text: words, cure } of findings) {
    assert.ok(plain(status.stdout).includes(plain(words)), `${words}\n${status.stdout}`);
    assert.ok(status.stdout.includes(cure), `${cure}\n${status.stdout}`);
  }

  const { looks } = JSON.parse(doctor.stdout) as { looks: { findings: Finding[] }[] };
  const told = looks.flatMap((look) => look.findings).filter((one) => one.severity !== 'note');
  assert.equal(codesOf(told), codesOf(findings), doctor.stdout);
  assert.equal(doctor.code, isWrong ? 1 : 0);

  const [[readyz, why], [, metrics]] = JSON.parse(http.stdout) as [number, string][] as [
    [number, string],
    [number, string],
  ];
  assert.equal(readyz, state === 'broken' ? 503 : 200, why);
  const counted = [...metrics.matchAll(/^weft_findings\{(.*)\} 1$/gm)].map(([, labels]) => labels!);
  const codes = counted
    .filter((labels) => !labels.includes('severity="note"'))
    .map((labels) => /code="(.*?)"/.exec(labels)![1]!);
  assert.deepEqual(codes.sort(), findings.map(({ code }) => code).sort());
  return state;
}

/** The log has the text of each, unless it was said a short time ago. */
async function checkLog(
  site: Site,
  findings: readonly Finding[],
  said: Map<string, number>,
  from: number,
): Promise<void> {
  const now = performance.now();
  const news = findings.filter((one) => now - (said.get(keyOf(one)) ?? -Infinity) >= SAID_MS);
  const log = async () => await site.log(from);
  // It waits for what lasts, and on a busy machine a round of looks takes seconds.
  const deadline = now + 15_000;
  for (const one of news) {
    while (!plain(await log()).includes(plain(one.text))) {
      assert.ok(performance.now() < deadline, `the log lacks ${one.text}:\n${await log()}`);
      await pause(200);
    }
    said.set(keyOf(one), now);
  }
}
