import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { Runner } from '../../../../src/control/host/runner.js';
import { Fingerprint } from '../../../../src/operate/findings/firewall/fingerprint.js';

test('after a listing of very many rules none is taken for a while', async () => {
  let stdout = 'table ip a {}';
  const runner = {
    run: async () => ({ code: 0, signal: null, stdout, stderr: '' }),
  } as unknown as Runner;
  const fingerprint = new Fingerprint();
  fingerprint.isLarge = false;
  assert.equal(await fingerprint.take(runner, '/nothing', null), stdout);
  stdout = 'x'.repeat(200_001);
  assert.equal(await fingerprint.take(runner, '/nothing', null), stdout);
  for (let i = 0; i < 100; i += 1)
    assert.equal(await fingerprint.take(runner, '/nothing', null), null);
  assert.equal(await fingerprint.take(runner, '/nothing', null), stdout);
});

/** What a fingerprint runs, and what it says. */
function counting(legacy = false) {
  const asked: string[] = [];
  const runner = {
    run: async (argv: readonly string[]) => {
      asked.push(argv.join(' '));
      return { code: 0, signal: null, stdout: 'rules', stderr: '' };
    },
  } as unknown as Runner;
  const proc = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-fingerprint-'));
  after(() => fs.rmSync(proc, { recursive: true }));
  fs.mkdirSync(`${proc}/net`);
  if (legacy) fs.writeFileSync(`${proc}/net/ip_tables_names`, 'filter\n');
  const fingerprint = new Fingerprint();
  fingerprint.isLarge = false;
  const take = (generation: number | null) => fingerprint.take(runner, proc, generation);
  return { asked, fingerprint, take };
}

test('where the generation is told, nothing is run, however large the rules are', async () => {
  const { asked, fingerprint, take } = counting();
  fingerprint.isLarge = true;
  assert.notEqual(await take(7), null);
  assert.equal(await take(7), await take(7));
  assert.notEqual(await take(7), await take(8));
  assert.deepEqual(asked, []);
});

test('rules of iptables-legacy are listed beside it', async () => {
  const { asked, take } = counting(true);
  assert.notEqual(await take(7), await take(8));
  assert.deepEqual([...new Set(asked)], ['iptables-legacy-save -t filter']);
});

test('sets that change by themselves are listed all the same', async () => {
  const { asked, fingerprint, take } = counting();
  fingerprint.isAlive = true;
  assert.equal(await take(7), 'rules');
  assert.deepEqual(asked, ['nft -a -s list ruleset']);
});
