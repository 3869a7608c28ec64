/** In a network namespace of its own, so that nobody else changes rules there. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { findAddon } from '../../../src/dataplane/io/native.js';
import { labLacks } from '../../../src/lab/enter.js';

const lacking = labLacks({ programs: ['nft', 'iptables', 'setpriv'], root: true });

/** What `program` prints, with `generation` at hand and `run` for other programs. */
function inNamespace(program: string, ...before: string[]): string {
  const head =
    `const { nftGeneration } = require(${JSON.stringify(findAddon())});` +
    'const run = (line) => void require("child_process").execSync(line, { stdio: "pipe" });' +
    'const said = []; const say = () => { try { said.push(nftGeneration()); } ' +
    'catch (error) { said.push(error.code); } };';
  const node = [process.execPath, '-e', `${head}${program};console.log(said.join());`];
  const done = spawnSync('unshare', ['--net', ...before, ...node], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout.trim();
}

test('each change of the rules has another number, by nft or by iptables; looking has none', {
  skip: lacking,
}, () => {
  const told = inNamespace(
    'say(); run("nft add table ip x"); say(); run("nft list ruleset"); say();' +
      'run("iptables-nft -A INPUT -j ACCEPT"); say(); run("iptables-nft -S"); say();' +
      'run("nft flush ruleset"); say()',
  );
  const [first, table, listed, rule, shown, flushed] = told.split(',').map(Number);
  assert.ok(Number.isInteger(first), told);
  assert.deepEqual([listed, shown], [table, rule]);
  assert.equal(new Set([first, table, rule, flushed]).size, 4, told);
});

test('without the right to ask, the errno is thrown', { skip: lacking }, () => {
  assert.equal(inNamespace('say()', 'setpriv', '--bounding-set=-net_admin'), 'EPERM');
});
