/** One description of each command, from which help, man page and completions are made. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { SHELLS } from '../../../src/cli/manual/about-weft.js';
import { flagsOf } from '../../../src/cli/manual/command.js';
import { COMMANDS, findCommand, WHAT } from '../../../src/cli/manual/commands.js';
import { completionFor } from '../../../src/cli/manual/completion.js';
import { helpOf, overview, wrap } from '../../../src/cli/manual/help.js';
import { manPage } from '../../../src/cli/manual/man.js';
import { distance, nearest } from '../../../src/cli/manual/nearest.js';

const ALL = COMMANDS.flat();
const PAGE = manPage('1.2.3', null, WHAT, ALL);
const has = (program: string) => spawnSync(program, ['--version']).error === undefined;

test('every help text fits 80 columns, and has examples and exit codes', () => {
  for (const text of [overview('1.2.3', WHAT, COMMANDS), ...ALL.map(helpOf)]) {
    for (const line of text.split('\n')) assert.ok([...line].length <= 80, line);
  }
  for (const command of ALL) {
    assert.ok(command.line.length <= 60, command.line);
    const text = helpOf(command);
    assert.match(text, /\nExamples:\n {2}\S/, command.name);
    assert.match(text, /\nExit codes:\n {2}0 /, command.name);
    for (const { name } of flagsOf(command))
      assert.match(text, new RegExp(`^ {2}-${name}\\b`, 'm'));
  }
});

test('no flag is there twice, and each command has -help', () => {
  for (const command of ALL) {
    const names = flagsOf(command).map(({ name }) => name);
    assert.deepEqual(names, [...new Set(names)], command.name);
    assert.ok(names.includes('help'), command.name);
  }
});

test('an example names only flags that the command has', () => {
  for (const { name, examples } of ALL) {
    for (const { run } of examples) {
      for (const [, called = '', rest = ''] of run.matchAll(/weft ([a-z-]+)([^|&>]*)/g)) {
        const command = findCommand(called);
        assert.ok(command !== undefined, `${name}: ${run}`);
        const known = flagsOf(command).map((flag) => flag.name);
        for (const [, flag = ''] of rest.matchAll(/ --?([a-z][a-z-]*)/g)) {
          assert.ok(known.includes(flag), `${name}: ${run}: -${flag}`);
        }
      }
    }
  }
});

test('a text is broken between words; a word that is too long stands alone', () => {
  const long = 'x'.repeat(90);
  assert.equal(wrap(`a ${long} b`, '  '), `  a\n  ${long}\n  b\n`);
  assert.equal(wrap('a b', '  '), '  a b\n');
});

test('the nearest word: letters swapped, left out, put in, replaced; nothing where none is near', () => {
  const words = ALL.map(({ name }) => name);
  for (const [typed, meant] of [
    ['staus', 'status'],
    ['dwon', 'down'],
    ['Status', 'status'],
    ['relase', 'release'],
    ['docker-otps', 'docker-opts'],
    ['upp', 'up'],
  ] as const) {
    assert.equal(nearest(typed, words), meant, typed);
  }
  for (const typed of ['start', 'frobnicate', 'x', ''])
    assert.equal(nearest(typed, words), undefined);
  assert.equal(distance('dwon', 'down'), 1);
  assert.equal(distance('', 'abc'), 3);
});

test('the man page has each command and flag, and nothing in it is a request by chance', () => {
  for (const command of ALL) {
    assert.ok(PAGE.includes(`.SS weft ${command.name.replaceAll('-', '\\-')}\n`), command.name);
    for (const { name } of flagsOf(command)) {
      assert.ok(PAGE.includes(`\\fB\\-${name.replaceAll('-', '\\-')}\\fR`), name);
    }
  }
  for (const line of PAGE.split('\n')) {
    assert.match(line, /^(?:[^.'].*|\.(?:TH|SH|SS|PP|TP|RS|RE|nf|fi|br)\b.*|)$/, line);
    assert.match(line, /^[\x20-\x7e]*$/, line);
  }
});

test('man finds nothing to warn of', { skip: has('groff') ? false : 'needs groff' }, () => {
  const { status, stdout, stderr } = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-b'], {
    encoding: 'utf8',
    input: PAGE,
    timeout: 20_000,
  });
  assert.deepEqual([status, stderr], [0, '']);
  const text = stripVTControlCharacters(stdout);
  assert.match(text, /-etcd-endpoints/);
  assert.match(text, /FLANNELD_…/);
});

test('completions can be read by their shells', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-completion-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  for (const shell of SHELLS) {
    const text = completionFor(shell, ALL);
    for (const command of ALL) assert.ok(text.includes(command.name), `${shell} ${command.name}`);
    if (!has(shell)) {
      t.diagnostic(`${shell} is not installed: its completion was not read by it`);
      continue;
    }
    const file = path.join(folder, shell);
    fs.writeFileSync(file, text);
    const { status, stderr } = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, ''], shell);
  }
});

/** What bash offers for a command line whose last word is being typed. */
function offered(...words: string[]): string[] {
  const script = `${completionFor('bash', ALL)}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _weft; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = spawnSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line !== '');
}

test('bash completes commands, flags, and the values that it can know', () => {
  assert.deepEqual(offered('weft', 'st'), ['status']);
  assert.deepEqual(offered('weft', 'up', '-etcd-pr'), ['-etcd-prefix']);
  assert.deepEqual(offered('weft', 'up', '--etcd-pr'), ['-etcd-prefix']);
  assert.deepEqual(offered('weft', 'up', '-accept', 's'), ['strict']);
  assert.deepEqual(offered('weft', 'up', '-accept', '=', 's'), ['strict']);
  assert.deepEqual(offered('weft', 'up', '-accept', '='), ['peers', 'strict', 'any']);
  assert.ok(offered('weft', 'up', '-iface', '').includes('lo'));
  assert.deepEqual(
    offered('weft', 'up', '-store-file', '/etc/host').sort(),
    [...fs.readdirSync('/etc').filter((name) => name.startsWith('host'))]
      .sort()
      .map((name) => `/etc/${name}`),
  );
  assert.deepEqual(offered('weft', 'completion', 'z'), ['zsh']);
  assert.deepEqual(offered('weft', 'help', 'rel'), ['release']);
  assert.deepEqual(
    offered('weft', 'replay', '/etc/passw').filter((f) => f === '/etc/passwd'),
    ['/etc/passwd'],
  );
  assert.deepEqual(offered('weft', 'status', ''), ['peers', 'routes', 'drops', 'route']);
  assert.deepEqual(offered('weft', 'down', ''), []);
});
